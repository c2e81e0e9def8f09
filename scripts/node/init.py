"""The node's first process: makes its mounts, holds the laptop's network, starts what it is told, buries the dead."""

import json
import os
import selectors
import signal
import socket
import sys
from pathlib import Path

from . import kernel
from .state import LAPTOP_DESCRIPTOR

# kubelet insists on these; the files that it writes to are ours, the machine keeps its own values.
KUBELET_SYSCTLS = {
    "vm/overcommit_memory": "1",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}


def make_mounts(folder: Path) -> None:
    """A /proc, /run, /var and resolver of the node's own; all else is the machine's."""
    kernel.mount("none", "/", flags=kernel.MS_REC | kernel.MS_PRIVATE)
    kernel.mount("proc", "/proc", kind="proc")
    for name, value in KUBELET_SYSCTLS.items():
        stand_in = folder / "sysctl" / name.replace("/", ".")
        stand_in.parent.mkdir(exist_ok=True)
        stand_in.write_text(f"{value}\n")
        kernel.mount(str(stand_in), f"/proc/sys/{name}", flags=kernel.MS_BIND)
    upper, work = folder / "var" / "upper", folder / "var" / "work"
    for layer in (upper, work):
        layer.mkdir(parents=True)
    kernel.mount("overlay", "/var", kind="overlay", options=f"lowerdir=/var,upperdir={upper},workdir={work}")
    kernel.mount("tmpfs", "/run", kind="tmpfs", options="mode=755")
    resolver = Path("/etc/resolv.conf").resolve()  # often a link into /run, which is empty now
    if not resolver.exists():
        resolver.parent.mkdir(parents=True, exist_ok=True)
        resolver.touch()
    kernel.mount(str(folder / "resolv.conf"), str(resolver), flags=kernel.MS_BIND)
    kernel.mount("none", "/", flags=kernel.MS_REC | kernel.MS_SHARED)


def hold_laptop_network() -> int:
    """Make the laptop's network namespace, keep it open, come back; its cookie tells it from all others."""
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    kernel.unshare(kernel.CLONE_NEWNET)
    laptop = os.open("/proc/self/ns/net", os.O_RDONLY)
    cookie = kernel.network_cookie()
    os.dup2(laptop, LAPTOP_DESCRIPTOR, inheritable=False)
    os.close(laptop)
    kernel.setns(home, kernel.CLONE_NEWNET)
    os.close(home)
    return cookie


def start(folder: Path, order: dict[str, object]) -> int:
    """Start one component with its output in its log."""
    argv, env = order["argv"], order["env"]
    if not isinstance(argv, list) or not isinstance(env, dict):
        raise TypeError(f"not an order: {order}")
    log = str(folder / "log" / f"{order['name']}.log")
    appending = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, log, appending, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    return os.posix_spawn(argv[0], argv, env, file_actions=actions, setsid=True, setsigmask=[])


def bury(folder: Path, names: dict[int, str]) -> None:
    """Reap every dead child; the end of a component is written down for those who wait for it."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        if pid in names:
            (folder / "ended" / names.pop(pid)).write_text(str(os.waitstatus_to_exitcode(status)))


def obey(folder: Path, ears: socket.socket) -> None:
    """Serve orders and deaths until the node is killed."""
    names: dict[int, str] = {}
    alarm, bell = socket.socketpair()
    for end in (alarm, bell):
        end.setblocking(False)
    signal.set_wakeup_fd(bell.fileno())
    signal.signal(signal.SIGCHLD, lambda *_: None)  # a handler must stand for the bell to ring
    with selectors.DefaultSelector() as waiting:
        waiting.register(alarm, selectors.EVENT_READ)
        waiting.register(ears, selectors.EVENT_READ)
        while True:
            for key, _ in waiting.select():
                if key.fileobj is alarm:
                    alarm.recv(4096)
                    continue
                order = json.loads(ears.recv(1 << 16))
                names[start(folder, order)] = str(order["name"])
            bury(folder, names)


def main(folder: Path) -> None:
    """Be PID 1 of the node whose files are in this folder."""
    make_mounts(folder)
    (folder / "ended").mkdir()
    socket.sethostname("node")
    cookie = hold_laptop_network()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ears:
        ears.bind(str(folder / "init.sock"))
        # Whoever waits for this file may give orders from here on.
        draft = folder / ".laptop-cookie"
        draft.write_text(str(cookie))
        draft.replace(folder / "laptop-cookie")
        obey(folder, ears)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
