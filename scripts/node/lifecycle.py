"""Brings a cluster up step by step, tells how it is, and takes it down."""

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from . import api, birth, build, certs, cgroups, components, debs, images, network, state
from .components import Programs
from .state import Born, Cluster, Refused

NOT_UP = 3  # the exit code of status
NEEDED = ("ip", "tc", "openssl", "nsenter")


class Failed(Exception):
    """A component ended or did not become ready; carries the component's name."""

    def __init__(self, component: str, why: str) -> None:
        super().__init__(why)
        self.component = component


class Start:
    """One start of one cluster: the steps, and the clock that they are told by."""

    def __init__(self, cluster: Cluster, programs: Programs, min_sync_period: str) -> None:
        self._cluster = cluster
        self._programs = programs
        self._min_sync_period = min_sync_period
        self._begun = time.monotonic()

    def run(self) -> None:
        """The whole way from nothing to a node that runs pods."""
        cluster = self._cluster
        life = self._namespaces()
        self._start("etcd", "containerd")
        self._wait("etcd", lambda: api.answers_tcp(life, 2379))
        self._start("kube-apiserver")
        self._wait("containerd", lambda: api.answers_unix(cluster.containerd_socket))
        images.load_pause(cluster, self._programs)
        self._say("containerd")
        server = api.Api(cluster)
        self._wait("kube-apiserver", server.is_ready)
        api.give_dns_its_place(server, cluster)
        self._start("kube-controller-manager", "kubelet", "kube-proxy", "coredns", "kube-scheduler")
        self._say("kube-apiserver")
        self._wait("kubelet", server.is_node_ready)
        self._wait("kube-controller-manager", server.has_default_account)
        self._say("kubelet")
        self._wait("coredns", lambda: api.resolves(life))
        state.write(cluster.folder / "complete", "")
        self._say("coredns")

    def _namespaces(self) -> Born:
        cluster = self._cluster
        components.write_files(cluster, self._programs, min_sync_period=self._min_sync_period)
        cgroups.make(cluster.cgroup)
        try:
            life = birth.give_birth(cluster)
        except (RuntimeError, TimeoutError) as error:
            raise Failed("init", str(error)) from error
        network.connect(cluster, life, self._programs.tools)
        certs.make_all(cluster)
        state.write(cluster.folder / "programs.json", _to_json(self._programs))
        self._say("namespaces")
        return life

    def _start(self, *names: str) -> None:
        known = components.components(self._cluster)
        for name in names:
            birth.send(self._cluster, components.order(self._cluster, known[name], self._programs))

    def _wait(self, name: str, question: Callable[[], bool], *, seconds: float = 60) -> None:
        def answer() -> bool:
            for dead in ended(self._cluster):
                raise Failed(dead, f"{dead} ended")
            if not is_alive(self._cluster):
                raise Failed("init", "the node's first process ended")
            return question()

        try:
            birth.wait_until(answer, name, seconds=seconds)
        except TimeoutError as error:
            raise Failed(name, str(error)) from error

    def _say(self, what: str) -> None:
        print(f"{time.monotonic() - self._begun:5.1f} s  {what}", flush=True)


def up(name: str, *, min_sync_period: str) -> int:
    """Bring the cluster up, or say that it is."""
    _check_machine()
    with state.locked(f"cluster-{state.checked_name(name)}"):
        cluster = state.find(name)
        # One that lives but was never completed is the wreck of an `up` that was killed: we hold its lock.
        if cluster and is_alive(cluster) and _is_complete(cluster):
            return status(name)
        programs = get_programs()
        if cluster:
            birth.end(cluster)
        cluster = state.claim(name)
        shutil.rmtree(cluster.logs, ignore_errors=True)  # of a start that failed
        try:
            Start(cluster, programs, min_sync_period).run()
        except Failed as failure:
            tail = components.last_lines(cluster, failure.component)
            birth.end(cluster, keep_logs=True)
            print(f"{failure}; its log ends:\n{tail}\n\nAll logs: {cluster.logs}")
            return 1
        except BaseException:
            birth.end(cluster, keep_logs=True)
            raise
        return status(name)


def down(name: str) -> int:
    """Take the cluster down; nothing of it stays."""
    with state.locked(f"cluster-{state.checked_name(name)}"):
        cluster = state.find(name)
        if cluster is None:
            shutil.rmtree(state.state_root() / name, ignore_errors=True)  # the logs of a start that failed
            print(f"{name} is not up.")
            return 0
        birth.end(cluster)
    print(f"{name} is down.")
    return 0


def status(name: str) -> int:
    """Say what there is of the cluster."""
    cluster = state.find(state.checked_name(name))
    if cluster is None or not is_alive(cluster):
        print(f"{name} is not up." + (f" Try: scripts/cluster down --name {name}" if cluster else ""))
        return NOT_UP
    if not _is_complete(cluster):
        print(f"{name} is coming up, or the run that did so was killed. Try: scripts/cluster up --name {name}")
        return NOT_UP
    dead = ended(cluster)
    code, version = api.Api(cluster).ask("/version")
    ready = not dead and code == 200 and api.Api(cluster).is_node_ready()
    for label, value in (
        ("cluster", f"{name}, {'ready' if ready else 'NOT READY'}"),
        ("ended", ", ".join(dead)),
        ("kubernetes", version["gitVersion"] if code == 200 else "(does not answer)"),
        ("containerd", build.CONTAINERD),
        ("server", cluster.server),
        ("machine", f"{cluster.machine_address} on {cluster.link}"),
        ("laptop", cluster.laptop_address),
        ("kubeconfig", cluster.kubeconfig),
        ("logs", cluster.logs),
    ):
        if value:
            print(f"{label + ':':<12}{value}")
    return 0 if ready else NOT_UP


def _is_complete(cluster: Cluster) -> bool:
    return (cluster.folder / "complete").exists()


def _check_machine() -> None:
    _check_root()
    missing = [program for program in NEEDED if not shutil.which(program)]
    if missing:
        raise Refused(f"This machine lacks {', '.join(missing)}. Try: apt-get install iproute2 openssl util-linux")


def _check_root() -> None:
    if os.geteuid() != 0:
        raise Refused("A cluster needs root for its namespaces, mounts and cgroups. Try: sudo")


def is_alive(cluster: Cluster) -> bool:
    """Whether its namespaces live."""
    life = state.born(cluster)
    return life is not None and life.alive


def ended(cluster: Cluster) -> list[str]:
    """The components that have ended, though they never should."""
    folder = cluster.folder / "ended"
    return sorted(file.name for file in folder.iterdir()) if folder.exists() else []


def get_programs() -> Programs:
    """Build and fetch what is not there yet."""
    return Programs(build.build_all(), debs.fetch_all())


def running(name: str) -> tuple[Cluster, Born, Programs]:
    """The cluster, if it is up."""
    _check_root()
    cluster = state.find(state.checked_name(name))
    life = state.born(cluster) if cluster else None
    if cluster is None or life is None or not life.alive:
        raise Refused(f"{name} is not up. Try: scripts/cluster up --name {name}")
    return cluster, life, _from_json((cluster.folder / "programs.json").read_text())


def _to_json(programs: Programs) -> str:
    return json.dumps({"built": {k: str(v) for k, v in programs.built.items()}, "tools": str(programs.tools.folder)})


def _from_json(text: str) -> Programs:
    data = json.loads(text)
    return Programs({k: Path(v) for k, v in data["built"].items()}, debs.Tools(Path(data["tools"])))
