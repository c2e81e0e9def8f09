"""Puts an image's archive into a cluster on this machine: kind, k3d, minikube, our own test cluster and others."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from ktpy.errors import KtError
from ktpy.laptop.image_run import Say, run

LOAD_SECONDS = 600.0
SCRIPT_VARIABLE = "KTPY_CLUSTER_SCRIPT"

# What loads an archive, by kind of cluster. {name} is the cluster, {file} the archive, {script} our test cluster's.
_LOADERS = {
    "kind": "kind load image-archive {file} --name {name}",
    "k3d": "k3d image import {file} --cluster {name}",
    "minikube": "minikube image load {file} --profile {name}",
    "microk8s": "microk8s images import {file}",
    "docker": "docker load --input {file}",  # its Kubernetes runs on the engine's own images
    "k3s": "k3s ctr images import {file}",
    "ctr": "ctr --namespace k8s.io images import {file}",
    "script": "{script} load --name {name} {file}",
}
KINDS = tuple(_LOADERS)


class LocalCluster(NamedTuple):
    """A cluster whose images can be laid in from this machine: what made it, and its name there."""

    kind: str
    name: str


def cluster_of(context: str) -> LocalCluster | None:
    """The local cluster that a kubeconfig context names, as its maker calls its contexts; None for any other.

    k3s and plain containerd name theirs `default` or anything: those must be said with --cluster.
    """
    maker, _, name = context.partition("-")
    if maker in ("kind", "k3d") and name:
        return LocalCluster(maker, name)
    if context in ("minikube", "microk8s"):
        return LocalCluster(context, context)
    if context in ("docker-desktop", "orbstack") or maker == "colima":
        return LocalCluster("docker", context)
    if maker == "ktpy":  # scripts/cluster: ktpy, or ktpy-NAME for what --name said
        return LocalCluster("script", name or "ktpy")
    return None


def cluster_named(text: str) -> LocalCluster:
    """A cluster as typed: KIND or KIND:NAME.

    Errors: KtError when there is no such kind.
    """
    kind, _, name = text.partition(":")
    if kind not in _LOADERS:
        raise KtError(f"Images cannot be loaded into a cluster of kind {kind!r}.", f"one of: {', '.join(KINDS)}")
    return LocalCluster(kind, name or {"script": "ktpy", "k3d": "k3s-default"}.get(kind, kind))


def expect_local(context: str) -> LocalCluster:
    """The local cluster of CONTEXT.

    Errors: KtError, telling to push, when it is none.
    """
    found = cluster_of(context)
    if found:
        return found
    raise KtError(
        f"Context {context!r} is no local cluster that images can be loaded into.",
        (
            "ktpy images push --prefix REGISTRY/TEAM     to a registry that the cluster can reach",
            f"ktpy images load --cluster KIND:NAME        if it is local; KIND: {', '.join(KINDS)}",
        ),
    )


def cluster_script(environ: Mapping[str, str], kubeconfig: str | None = None) -> Path:
    """scripts/cluster: where the environment or a file beside KUBECONFIG says, else in the checkout around us."""
    beside = Path(kubeconfig).with_name("script") if kubeconfig else None
    if environ.get(SCRIPT_VARIABLE):
        return Path(environ[SCRIPT_VARIABLE])
    if beside and beside.is_file():
        return Path(beside.read_text().strip())
    return Path(__file__).resolve().parents[2] / "scripts" / "cluster"


def load_command(cluster: LocalCluster, archive: Path, *, script: Path) -> tuple[str, ...]:
    words = {"{file}": str(archive), "{name}": cluster.name, "{script}": str(script)}
    return tuple(words.get(word, word) for word in _LOADERS[cluster.kind].split())


def load(cluster: LocalCluster, archive: Path, *, script: Path, say: Say) -> None:
    """Put the image that ARCHIVE holds into the cluster.

    Errors: KtError when its tool is not there or fails.
    """
    command = load_command(cluster, archive, script=script)
    run(command, doing=f"Loading {archive.name} into {cluster.name}", say=say, seconds=LOAD_SECONDS)
