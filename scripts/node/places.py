"""Runs commands where somebody else would: inside the node, on the laptop, or as the cluster's administrator."""

import ctypes
import os
from typing import NoReturn

from . import kernel
from .components import Programs
from .state import Born, Cluster

PR_CAPBSET_DROP = 24
MOST_CAPABILITIES = 64


def on_laptop(life: Born, command: list[str], *, uid: int | None) -> NoReturn:
    """Become the command in the laptop's network; mounts and all else stay the caller's."""
    with life.laptop_network.open() as namespace:
        kernel.setns(namespace.fileno(), kernel.CLONE_NEWNET)
    if uid is not None:
        _drop_to(uid)
    _run(command, dict(os.environ))


def in_node(cluster: Cluster, life: Born, programs: Programs, command: list[str]) -> NoReturn:
    """Become the command inside the node, with its tools at hand."""
    env = {
        **os.environ,
        "PATH": f"{programs.path}:{os.environ.get('PATH', '')}",
        "LD_LIBRARY_PATH": programs.tools.libraries,
        "KUBECONFIG": str(cluster.kubeconfig),
        "CONTAINERD_ADDRESS": str(cluster.containerd_socket),
        "CONTAINERD_NAMESPACE": "k8s.io",
    }
    # nsenter forks for the PID namespace, and passes the command's exit code on.
    namespaces = ["--mount", "--net", "--pid", "--uts", "--ipc"]
    _run(["nsenter", "--target", str(life.pid), *namespaces, "--", *(command or ["bash"])], env)


def as_admin(cluster: Cluster, programs: Programs, arguments: list[str]) -> NoReturn:
    """Become kubectl with the administrator's kubeconfig."""
    env = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig)}
    _run([str(programs.program("kubectl")), *arguments], env)


def _drop_to(uid: int) -> None:
    """Give up root for good: no groups, no capabilities, and none to be had from a file."""
    libc = ctypes.CDLL(None, use_errno=True)
    for capability in range(MOST_CAPABILITIES):
        if libc.prctl(PR_CAPBSET_DROP, ctypes.c_ulong(capability), 0, 0, 0) != 0:
            break  # the kernel knows no more
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def _run(command: list[str], env: dict[str, str]) -> NoReturn:
    try:
        os.execvpe(command[0], command, env)
    except OSError as error:
        print(f"{command[0]}: {error.strerror}", flush=True)
        raise SystemExit(127 if isinstance(error, FileNotFoundError) else 126) from None
