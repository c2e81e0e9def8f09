"""Brings the node's namespaces to life and ends them again, with everything in them."""

import json
import os
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

from . import cgroups, kernel, network, state
from .state import Born, Cluster

ALL_NEW = kernel.CLONE_NEWNS | kernel.CLONE_NEWUTS | kernel.CLONE_NEWIPC | kernel.CLONE_NEWPID | kernel.CLONE_NEWNET


def give_birth(cluster: Cluster) -> Born:
    """Start the node's first process in namespaces of its own and wait until it takes orders."""
    leash, hand = os.pipe()
    try:
        pid = _spawn(cluster, leash, hand)
        started = kernel.start_time(pid)
        if started is None:
            raise RuntimeError("the node's first process ended at once")
        state.remember(cluster, Born(pid, started, laptop_cookie=0))
        os.write(hand, b"go")
    finally:
        os.close(leash)
        os.close(hand)
    cookie = cluster.folder / "laptop-cookie"
    wait_until(lambda: cookie.exists() or kernel.start_time(pid) != started, "its first process", seconds=10)
    if not cookie.exists():
        raise RuntimeError("the node's first process ended while it made its mounts")
    life = Born(pid, started, int(cookie.read_text()))
    state.remember(cluster, life)
    return life


def _spawn(cluster: Cluster, leash: int, hand: int) -> int:
    """Fork twice: the first child enters the new namespaces and ends, the second is PID 1 of the node."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setsid()
            kernel.unshare(ALL_NEW)
            grandchild = os.fork()
            if grandchild == 0:
                os.close(writer)
                os.close(hand)
                # If we are killed before its pid is on disk, nobody could ever end it: then it ends by itself.
                if os.read(leash, 1):
                    _become_init(cluster)
                os._exit(1)
            os.write(writer, str(grandchild).encode())
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with open(reader) as answer:
        text = answer.read()
    if not text:
        raise state.Refused("New namespaces are refused here. Try: as root, outside an unprivileged container")
    return int(text)


def _become_init(cluster: Cluster) -> None:
    log = os.open(cluster.logs / "init.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open("/dev/null", os.O_RDONLY)
    for source, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    # What whoever started us has open would stay open as long as the cluster lives: a lock, or a pipe that is read.
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    os.chdir("/")
    scripts = str(Path(__file__).resolve().parent.parent)
    env = {"PYTHONPATH": scripts, "PYTHONDONTWRITEBYTECODE": "1", "PATH": os.defpath, "LANG": "C.UTF-8"}
    os.execve(sys.executable, [sys.executable, "-m", "node.init", str(cluster.folder)], env)


def send(cluster: Cluster, order: dict[str, object]) -> None:
    """Tell the node's first process to start a component."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as mouth:
        mouth.connect(str(cluster.init_socket))
        mouth.send(json.dumps(order).encode())


def wait_until(question: Callable[[], bool], what: str, *, seconds: float) -> None:
    """Ask again and again until the answer is yes."""
    deadline = time.monotonic() + seconds
    while not question():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} is not ready after {seconds:.0f} s")
        time.sleep(0.02)


def end(cluster: Cluster, *, keep_logs: bool = False) -> None:
    """End all that lives in the cluster's namespaces and remove what it leaves: link, cgroups, files."""
    life = state.born(cluster)
    if life and kernel.network_cookie() == life.laptop_cookie:
        raise state.Refused(
            "The laptop cannot take its cluster down. Try: the same outside of `scripts/cluster laptop`"
        )
    if life:
        _end_laptop_processes(life)
        kernel.kill(life.pid, life.started)  # the kernel ends the whole PID namespace with it
    network.disconnect(cluster)
    cgroups.remove(cluster.cgroup)
    state.forget(cluster, keep_logs=keep_logs)


def _end_laptop_processes(life: Born) -> None:
    """Commands on the laptop's side are outside the node's PID namespace, so each is ended by itself."""
    if life.laptop_cookie:
        for pid, started in kernel.processes_in_network(life.laptop_cookie):
            kernel.kill(pid, started)
