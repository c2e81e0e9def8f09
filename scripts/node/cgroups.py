"""The cluster's own cgroup, in every hierarchy that the machine has: v1, mixed or pure v2."""

import time
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
WANTED_BY_V2 = ("cpuset", "cpu", "io", "memory", "hugetlb", "pids")


def hierarchies() -> list[Path]:
    """Where cgroup file systems are mounted; kubelet wants its root in each."""
    mounts = (line.split() for line in Path("/proc/self/mounts").read_text().splitlines())
    points = [Path(point) for _, point, kind, *_ in mounts if kind in {"cgroup", "cgroup2"}]
    return [point for point in points if point.is_relative_to(ROOT)]


def make(name: str) -> None:
    """Make the cgroup; on pure v2 also hand the controllers down to it, which v1 has no notion of."""
    for hierarchy in hierarchies():
        folder = hierarchy / name
        folder.mkdir(exist_ok=True)
        if hierarchy == ROOT:
            _hand_down(hierarchy)
            _hand_down(folder)


def _hand_down(folder: Path) -> None:
    offered = (folder / "cgroup.controllers").read_text().split()
    for controller in WANTED_BY_V2:
        if controller in offered:
            (folder / "cgroup.subtree_control").write_text(f"+{controller}")


def remove(name: str, *, seconds: float = 10) -> None:
    """Remove the cgroup with all below it; the kernel takes a moment to let go of the dead."""
    deadline = time.monotonic() + seconds
    for hierarchy in hierarchies():
        top = hierarchy / name
        while top.exists():
            try:
                for folder in sorted(top.glob("**/"), key=lambda path: len(path.parts), reverse=True):
                    folder.rmdir()
            except FileNotFoundError:
                continue
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
