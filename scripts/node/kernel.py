"""The few kernel calls that Python 3.11 lacks: namespaces, mounts, and killing a process that cannot be mistaken."""

import ctypes
import os
import select
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x00020000, 0x04000000, 0x08000000
CLONE_NEWPID, CLONE_NEWNET = 0x20000000, 0x40000000
MS_BIND, MS_REC, MS_PRIVATE, MS_SHARED = 4096, 16384, 1 << 18, 1 << 20
SO_NETNS_COOKIE = 71

_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


def unshare(flags: int) -> None:
    """Move this process (for CLONE_NEWPID: its next child) into new namespaces."""
    _checked(_libc.unshare(flags), "unshare")


def setns(descriptor: int, kind: int) -> None:
    """Move this thread into an existing namespace."""
    _checked(_libc.setns(descriptor, kind), "setns")


def mount(source: str, target: str, *, kind: str = "", flags: int = 0, options: str = "") -> None:
    """mount(2); the mount program would look into /etc/fstab and /run first."""
    call = _libc.mount(source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), options.encode())
    _checked(call, f"mount {source} on {target}")


@contextmanager
def in_network(namespace: Path) -> Iterator[None]:
    """Sockets made and programs started inside the block belong to this network namespace."""
    with open("/proc/thread-self/ns/net") as home, namespace.open() as there:
        setns(there.fileno(), CLONE_NEWNET)
        try:
            yield
        finally:
            setns(home.fileno(), CLONE_NEWNET)


def network_cookie() -> int:
    """A number for the current network namespace that the kernel never gives out twice, unlike its inode."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        return int.from_bytes(probe.getsockopt(socket.SOL_SOCKET, SO_NETNS_COOKIE, 8), "little")


def start_time(pid: int) -> int | None:
    """When the process began, in ticks since boot; together with the pid this names one process for ever."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def kill(pid: int, started: int, *, seconds: float = 10) -> None:
    """kill -9 this very process and wait for its end; a pid that was reused in the meantime is left alone."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if start_time(pid) != started:
            return
        signal.pidfd_send_signal(handle, signal.SIGKILL)
        if not select.select([handle], [], [], seconds)[0]:
            raise TimeoutError(f"process {pid} did not end within {seconds:.0f} s of kill -9")
    except ProcessLookupError:
        return
    finally:
        os.close(handle)


def processes_in_network(cookie: int) -> list[tuple[int, int]]:
    """(pid, start time) of every process that this process can see in the network namespace with this cookie."""
    found: dict[int, bool] = {os.stat("/proc/self/ns/net").st_ino: network_cookie() == cookie}
    inside = []
    for pid in (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()):
        namespace = Path(f"/proc/{pid}/ns/net")
        try:
            inode = namespace.stat().st_ino
            if inode not in found:
                with in_network(namespace):
                    found[inode] = network_cookie() == cookie
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        started = start_time(pid)
        if found[inode] and started is not None:
            inside.append((pid, started))
    return inside
