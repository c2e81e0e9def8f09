"""The built wheel in a bare virtual environment that users without rights can run: what a newcomer installs."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[3]
SOURCES = ("ktpy", "router-image", "shadow-image", "setup.cfg", "pyproject.toml", "README.md", "LICENSE")
METADATA = ("setup.cfg", "pyproject.toml")
ANYBODY = 65534
KEEP_SECONDS = 3600.0


def installed() -> Path:
    """The environment's folder with ktpy installed from a wheel of this checkout; cached by the sources' content."""
    root = Path(tempfile.gettempdir()) / f"ktpy-e2e-{os.getuid()}"
    root.mkdir(mode=0o755, exist_ok=True)
    if root.stat().st_uid != os.getuid():
        raise RuntimeError(f"{root} belongs to somebody else.")
    with _locked(root / "lock"):
        sources = Path(tempfile.mkdtemp(dir=root))
        try:
            _copy(sources)
            venv = root / f"ktpy-{_digest(sources)}"
            if not (venv / "complete").exists():
                _install(_bare(root), venv, _wheel(sources))
            (venv / "complete").touch()
            _forget_old(root)
        finally:
            shutil.rmtree(sources)
        return venv


def _forget_old(root: Path) -> None:
    """Environments of earlier states of the checkout, unless another run may still use them."""
    for mark in root.glob("ktpy-*/complete"):
        if time.time() - mark.stat().st_mtime > KEEP_SECONDS:
            shutil.rmtree(mark.parent)


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    with file.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _copy(to: Path) -> None:
    """The sources by themselves: a build leaves things behind, and somebody may be editing."""
    for name in SOURCES:
        source = CHECKOUT / name
        if source.is_dir():
            shutil.copytree(source, to / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.exists():
            shutil.copy(source, to / name)


def _digest(folder: Path) -> str:
    found = hashlib.sha256(sys.version.encode())
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            found.update(str(file.relative_to(folder)).encode() + b"\0" + file.read_bytes())
    return found.hexdigest()[:12]


def _wheel(sources: Path) -> Path:
    _run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(sources / "dist"), str(sources))
    (wheel,) = (sources / "dist").glob("*.whl")
    return wheel


def _bare(root: Path) -> Path:
    """An environment with ktpy's requirements, made once for each state of the metadata; copied from, never run."""
    content = b"".join((CHECKOUT / name).read_bytes() for name in METADATA)
    bare = root / f"bare-{hashlib.sha256(content + _python().encode()).hexdigest()[:12]}"
    if (bare / "complete").exists():
        return bare
    shutil.rmtree(bare, ignore_errors=True)
    _run(_python(), "-m", "venv", "--without-pip", str(bare))
    _pip(bare, *_requirements())
    (bare / "complete").touch()
    return bare


def _requirements() -> list[str]:
    import configparser

    parser = configparser.ConfigParser()
    parser.read(CHECKOUT / "setup.cfg")
    return [line for line in parser["options"]["install_requires"].splitlines() if line]


def _install(bare: Path, venv: Path, wheel: Path) -> None:
    shutil.rmtree(venv, ignore_errors=True)
    shutil.copytree(bare, venv, symlinks=True, copy_function=os.link)  # 200 MB that nobody writes to
    (venv / "complete").unlink()
    _pip(venv, "--no-deps", str(wheel))


def _pip(venv: Path, *words: str) -> None:
    _run(sys.executable, "-m", "pip", "--python", str(venv / "bin/python"), "install", "-q", *words)


def _python() -> str:
    """A Python that every user of this machine may run; this one first, which root may have kept to itself."""
    own = os.path.realpath(Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info[1]}")
    versions = [f"python3.{minor}" for minor in range(11, 16)]
    system = [f"{folder}/{name}" for name in versions for folder in ("/usr/bin", "/usr/local/bin")]
    for python in (own, *system):
        if Path(python).exists() and _anybody_runs(python):
            return python
    raise RuntimeError("There is no Python from 3.11 on that others than root may run. Try: apt-get install python3")


def _anybody_runs(python: str) -> bool:
    who = {"user": ANYBODY, "group": ANYBODY, "extra_groups": []} if os.getuid() == 0 else {}
    try:
        probe = [python, "-c", "import ssl, venv"]
        return subprocess.run(probe, cwd="/", capture_output=True, **who).returncode == 0  # type: ignore[call-overload]
    except OSError:
        return False


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, cwd="/")
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}:\n{done.stdout}{done.stderr}")
