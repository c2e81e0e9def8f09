"""The map in ktpy/__init__.py is true: who imports what, who prints, who may start fast, and who has a test."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "ktpy").rglob("*.py"))
MODULES = {file: ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for file in FILES}

# layer → the layers that it may import, besides its own
BASE = {"errors", "stop", "workers"}
WORLDS = {"cluster", "net", "laptop"}
MAY: dict[str, set[str]] = {
    "errors": set(),
    "model": {"errors"},
    "stop": {"errors"},
    "workers": {"errors", "stop"},
    **{world: BASE | {"model"} for world in WORLDS},
    "kt": BASE | {"model"} | WORLDS,
    "watching": BASE | {"model", "cluster", "kt"},
    "restore": BASE | {"model", "cluster"},
    "routing": BASE | {"model", "cluster"},
    "permission": BASE | {"model", "cluster"},
    "passes": BASE | {"model", "cluster"},
    "closing": BASE | {"model", "cluster", "restore", "routing", "passes"},
    "undo": BASE | {"model", "cluster", "kt", "restore", "closing", "passes"},
    "session": BASE | {"model", "cluster", "kt", "undo"},
    "telling": BASE | {"model", "cluster", "kt", "session"},
    "policing": BASE | {"model", "kt", "session"},
    "opening": BASE | {"model", "kt", "routing", "closing", "undo", "session", "policing"},
    "keeping": BASE | {"model", "routing", "watching", "router"},
    "conflicts": BASE | {"model", "kt", "undo"},
    "hearing": BASE | {"model", "routing", "router"},
    "router": BASE
    | {"model", "kt", "routing", "closing", "undo", "session", "watching", "opening", "keeping", "hearing"}
    | {"conflicts"},
    "rehearsal": BASE | {"model", "kt", "session"},
    "upkeep": BASE
    | {"model", "telling", "cluster", "kt", "undo", "session", "restore", "routing", "closing"}
    | {"rehearsal", "permission", "passes"},
    "modes": BASE
    | {"model", "kt", "undo", "session", "watching", "net", "policing"}
    | {"restore", "routing", "closing", "opening", "router", "telling", "rehearsal", "permission", "conflicts"},
    "cli": BASE | {"model", "kt", "undo", "session", "watching", "upkeep", "modes"} | WORLDS,
    "__main__": {"cli"},
}
# package → the files that may import it
ONLY_IN = {
    "click": "ktpy/cli/",
    "rich": "ktpy/cli/",
    "kubernetes": "ktpy/cluster/login.py",
    "urllib3": "ktpy/cluster/",
    "paramiko": "ktpy/net/",
    "sshtunnel": "ktpy/net/",
    "uvloop": "ktpy/net/",
    "socks": "ktpy/net/",
    "cryptography": "ktpy/net/",
    "mitmproxy": "nowhere",
}
MAY_CATCH_ALL = {"ktpy/workers.py", "ktpy/cli/main.py"}
TESTED_ELSEWHERE = {
    "ktpy/cluster/http.py": "sockets: tests/cluster runs it against the real API server",
    "ktpy/cluster/endpoint.py": "a dataclass; test_login.py makes it",
    "ktpy/cli/images.py": "parses and calls laptop/builder and image_load, which have tests",
}
HEAVY = ("kubernetes", "paramiko", "sshtunnel", "cryptography", "yaml", "urllib3", "asyncio", "rich")
NOT_EVERYWHERE = ("uvloop", "fcntl", "termios", "pwd", "resource")  # Linux or Unix only, or not built for it


def rel(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


def layer(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def imports(file: Path) -> Iterator[str]:
    """Every module that FILE names in an import, inside functions and under TYPE_CHECKING too."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{file} has a relative import"
            yield from (f"{node.module}.{a.name}" if node.module == "ktpy" else node.module for a in node.names)


@pytest.mark.parametrize("file", FILES, ids=rel)
def test_imports_point_down(file: Path) -> None:
    here = layer(MODULES[file])
    below = MAY.get(here, set()) | {here, "__version__"}

    assert {name for name in imports(file) if name.startswith("ktpy.") and layer(name) not in below} == set()


@pytest.mark.parametrize("file", FILES, ids=rel)
def test_each_library_has_its_place(file: Path) -> None:
    for name in imports(file):
        place = ONLY_IN.get(name.split(".")[0])
        assert place is None or rel(file).startswith(place), f"{name} is for {place} only"


@pytest.mark.parametrize("file", [file for file in FILES if "/model/" in rel(file)], ids=rel)
def test_the_model_needs_the_standard_library_only(file: Path) -> None:
    tops = {name.split(".")[0] for name in imports(file)} - {"ktpy"}

    assert tops - {"ktpy_router"} <= sys.stdlib_module_names  # its table and match need no more either
    assert not tops & {"os", "time", "random", "secrets", "socket", "subprocess", "pathlib"}


@pytest.mark.parametrize("file", FILES, ids=rel)
def test_nobody_prints_sleeps_or_catches_everything(file: Path) -> None:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called != "print" or rel(file) == "ktpy/cli/say.py"
            assert called not in ("time.sleep", "sleep", "atexit.register")
        if isinstance(node, ast.ExceptHandler):
            caught = ast.unparse(node.type) if node.type else "everything"
            assert caught not in ("Exception", "everything") or rel(file) in MAY_CATCH_ALL


@pytest.mark.parametrize("file", FILES, ids=rel)
def test_every_module_says_what_it_does(file: Path) -> None:
    assert ast.get_docstring(ast.parse(file.read_text()))


@pytest.mark.parametrize("file", FILES, ids=rel)
def test_every_file_has_its_unit_tests(file: Path) -> None:
    if file.name == "__init__.py" or rel(file) in TESTED_ELSEWHERE:
        return
    mirror = ROOT / "tests" / "unit" / file.relative_to(ROOT / "ktpy").with_name(f"test_{file.name}")

    assert mirror.exists()


def test_every_exception_from_that_rule_is_still_there() -> None:
    assert {name for name in TESTED_ELSEWHERE if not (ROOT / name).exists()} == set()


def test_every_unit_test_file_belongs_to_a_source_file() -> None:
    """`test_exchange_killed.py` belongs to exchange.py."""
    for test in (ROOT / "tests" / "unit").rglob("test_*.py"):
        folder = ROOT / "ktpy" / test.parent.relative_to(ROOT / "tests" / "unit")
        name = test.stem.removeprefix("test_")
        assert any(name == file.stem or name.startswith(f"{file.stem}_") for file in folder.glob("*.py")), rel(test)


def python(code: str) -> str:
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_the_command_line_starts_without_anything_heavy() -> None:
    loaded = python(f"import sys, ktpy.cli.main; print([name for name in {HEAVY} if name in sys.modules])")

    assert loaded == "[]\n"


def test_every_module_can_be_imported_where_linux_and_its_libraries_are_not() -> None:
    names = [name for name in MODULES.values() if not name.endswith("__main__")]
    python(
        f"""
import importlib, importlib.abc, sys
class Blocked(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.split(".")[0] in {NOT_EVERYWHERE}:
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Blocked())
for name in {NOT_EVERYWHERE}:
    sys.modules.pop(name, None)
for name in {names}:
    importlib.import_module(name)
"""
    )
