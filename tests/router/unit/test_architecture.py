"""The router's files: small, each with a test, and each library in its place."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PACKAGE = ROOT / "router-image" / "ktpy_router"
FILES = sorted(PACKAGE.rglob("*.py"))
MOST_LINES = 300

PURE = (
    "breaker.py",
    "config.py",
    "fallback.py",
    "framing.py",
    "head.py",
    "match.py",
    "request.py",
    "stats.py",
    "table.py",
    *(f"h2/{name}.py" for name in ("answer", "blocks", "client", "client_frames", "find", "flow", "frames", "hpack")),
    *(f"h2/{name}.py" for name in ("limits", "link", "link_reader", "rescue", "state", "world")),
)
"""No sockets, no clock, no files: decided and tested without."""

WORLD = ("asyncio", "os", "pathlib", "random", "signal", "socket", "ssl", "subprocess", "threading", "time")
ONLY_IN = {"mitmproxy": ("worker.py", "mode.py", "inspector.py", "life.py"), "tornado": ("control.py",)}
FOR_THE_COMMAND_LINE = ("breaker.py", "config.py", "match.py", "request.py", "table.py")
"""ktpy reads and writes tables too, where nothing of the router's libraries is installed."""


def rel(file: Path) -> str:
    return file.relative_to(PACKAGE).as_posix()


def imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import"
            yield node.module or ""


@pytest.mark.parametrize("file", FILES, ids=rel)
def test_every_file_is_small_and_says_what_it_does(file: Path) -> None:
    text = file.read_text()

    assert ast.get_docstring(ast.parse(text))
    assert text.count("\n") <= MOST_LINES


@pytest.mark.parametrize("name", PURE)
def test_decisions_are_made_without_the_world(name: str) -> None:
    assert not {found.split(".")[0] for found in imports(ast.parse((PACKAGE / name).read_text()))} & set(WORLD)


@pytest.mark.parametrize("name", FOR_THE_COMMAND_LINE)
def test_the_table_needs_the_standard_library_only(name: str) -> None:
    tops = {found.split(".")[0] for found in imports(ast.parse((PACKAGE / name).read_text()))}

    assert not tops & {"mitmproxy", "tornado", "uvloop", "httptools", "dns", "hpack", "h2"}


@pytest.mark.parametrize("file", FILES, ids=rel)
def test_each_library_has_its_place(file: Path) -> None:
    for found in imports(ast.parse(file.read_text())):
        places = ONLY_IN.get(found.split(".")[0])
        assert places is None or rel(file) in places, f"{found} is for {places} only"


@pytest.mark.parametrize("file", FILES, ids=rel)
def test_nobody_sleeps_or_catches_everything(file: Path) -> None:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Call):
            assert ast.unparse(node.func) not in ("time.sleep", "sleep")
        if isinstance(node, ast.ExceptHandler):
            caught = ast.unparse(node.type) if node.type else "everything"
            assert caught not in ("Exception", "BaseException", "everything"), f"{rel(file)}:{node.lineno}"
