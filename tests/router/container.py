"""Runs the built image for the harness: as uid 10001, without capabilities, on a read-only root, under runc.

The network is the host's, so that tests reach the router on loopback; the run directory is the folder's `run`. The
image is the one of `ktpy images build`.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

UID = 10001
RUN = "/run/ktpy-router"
TABLE = "/etc/ktpy-router/routes.json"


@functools.cache
def buildah() -> tuple[str, ...]:
    """buildah with the store of `ktpy images`."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ktpy" / "images"
    place = ("--root", str(cache / "storage"), "--runroot", str(cache / "storage-run"), "--storage-driver", "overlay")
    return ("buildah", *place)


def ask(*words: str) -> str:
    """What a command says."""
    return subprocess.run(words, check=True, capture_output=True, text=True, timeout=120).stdout.strip()


def name() -> str:
    """The newest build."""
    lines = ask(*buildah(), "images", "--format", "{{.Name}}:{{.Tag}}").splitlines()
    return next(line for line in lines if line.startswith("localhost/ktpy-router:"))


@functools.cache
def image() -> tuple[Path, dict[str, Any]]:
    """The root of the image, mounted until this process ends, and its configuration."""
    container = ask(*buildah(), "from", "--pull-never", "--name", f"ktpy-router-test-{os.getpid()}", name())
    atexit.register(subprocess.run, (*buildah(), "rm", container), capture_output=True)
    config = json.loads(ask(*buildah(), "inspect", "--type", "image", name()))["OCIv1"]["config"]
    return Path(ask(*buildah(), "mount", container)), config


def bundle(folder: Path, words: Sequence[str]) -> dict[str, Any]:
    """The OCI runtime's config.json."""
    root, config = image()
    return {
        "ociVersion": "1.0.2",
        "process": {
            "user": dict.fromkeys(("uid", "gid"), int(config["User"].partition(":")[0])),
            "args": [*config["Entrypoint"], *words],
            "env": config["Env"],
            "cwd": "/",
            "noNewPrivileges": True,
            "capabilities": {},
        },
        "root": {"path": str(root), "readonly": True},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
            {"destination": RUN, "type": "none", "source": str(folder / "run"), "options": ["bind", "rw"]},
            {"destination": TABLE, "type": "none", "source": str(folder / "routes.json"), "options": ["bind", "ro"]},
        ],
        "linux": {"namespaces": [{"type": "mount"}, {"type": "pid"}, {"type": "ipc"}, {"type": "uts"}]},
    }


def container(folder: Path, words: Sequence[str], options: Sequence[str]) -> tuple[list[str], Callable[[], None]]:
    """The command that runs the image until it ends, and what ends it for certain."""
    os.chown(folder / "run", UID, UID)
    (folder / "routes.json").chmod(0o644)
    where = folder / "bundle"
    where.mkdir(exist_ok=True)
    given = ["--table", TABLE, *words, *(["--", *options] if options else [])]
    (where / "config.json").write_text(json.dumps(bundle(folder, given)))
    runc = ["runc", "--root", str(folder / "runc")]
    run_id = f"ktpy-router-{os.getpid()}-{folder.name}"

    def end() -> None:
        with contextlib.suppress(subprocess.SubprocessError):
            subprocess.run([*runc, "delete", "--force", run_id], capture_output=True, timeout=30)

    return [*runc, "run", "--bundle", str(where), run_id], end
