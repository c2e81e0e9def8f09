"""The router's processes as /proc shows them."""

from __future__ import annotations

import contextlib
from pathlib import Path


def title(pid: int) -> str:
    """What the process calls itself: main, control, worker0, inspect."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip().removeprefix("router-")
    return ""


def pid_inside(pid: int) -> int:
    """As its own namespace numbers it."""
    with contextlib.suppress(OSError):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return next(int(line.split()[-1]) for line in lines if line.startswith("NSpid:"))
    return 0


def descendants(pid: int) -> list[int]:
    """Children and theirs. A runtime's threads have children of their own."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in task.read_text().split():
                found += [int(child), *descendants(int(child))]
    return found
