"""Gives back what a dead ktctl left: the Service's selector, and its own pods, ConfigMaps and Services."""

from __future__ import annotations

from collections.abc import Sequence

from ktpy.cluster.gateway import Cluster
from ktpy.errors import Forbidden, KtError
from ktpy.model import ktctl
from ktpy.model.ref import Object, ref_of, uid_of
from ktpy.undo import Report


def age(cluster: Cluster, service: Object) -> float:
    """Seconds since ktctl's last sign of life for SERVICE, by the server's clock; infinite where there is none."""
    seen = ktctl.last_seen(_pods(cluster), service)
    return float("inf") if seen is None else max(0.0, cluster.now() - seen)


def give_back(cluster: Cluster, service: Object) -> Report:
    """The selector first, then ktctl's pods that served it. Idempotent; says what it has no rights for."""
    did: list[str] = []
    left: list[str] = []
    pods = [pod for pod in _pods(cluster) if ktctl.belongs_to(pod, service)]
    try:
        after = cluster.change(ref_of(service), ktctl.restored)
        if after is not None:
            cluster.forget_us(after)
            did.append(f"{ref_of(service)} given back from ktctl's note")
        if after is not None and ktctl.holds(after):
            left.append(f"{ref_of(service)} has a kt-selector that cannot be read: set its selector by hand")
    except KtError as error:
        return Report((), (f"{ref_of(service)}: {error.what}",))
    for thing in [*pods, *_beside(cluster, service)]:
        try:
            if cluster.delete(ref_of(thing), uid=uid_of(thing)):
                did.append(f"{ref_of(thing)} deleted")
        except Forbidden as error:
            left.append(f"{ref_of(thing)}: {error.what} (kubectl delete {ref_of(thing)})")
    for pod in pods:  # the Role has no say over ConfigMaps, and a shadow's holds ktctl's private key
        did.append(f"its ConfigMap stays, if it has one: kubectl delete configmap {ref_of(pod).name}")
    return Report(tuple(did), tuple(left))


def scaled_to_zero(cluster: Cluster) -> list[str]:
    """Deployments that a dead `ktctl exchange --mode scale` left at zero, each with the line that brings them back."""
    lines = []
    for pod in _pods(cluster):
        found, beat = ktctl.scaled(pod), ktctl.beat_of(pod)
        if found and (beat is None or cluster.now() - beat > ktctl.DEAD_SECONDS):
            scale = f"kubectl scale deployment/{found.deployment} --replicas={found.replicas}"
            lines.append(f"{scale} && kubectl delete {ref_of(pod)}")
    return lines


def _pods(cluster: Cluster) -> Sequence[Object]:
    return cluster.find("Pod", labels={ktctl.CONTROL: ktctl.KT})


def _beside(cluster: Cluster, service: Object) -> Sequence[Object]:
    """The stuntman and version Services of a mesh; deleting them needs a right that not everybody has."""
    name = service["metadata"]["name"]
    found = cluster.find("Service", labels={ktctl.CONTROL: ktctl.KT})
    return [s for s in found if s["metadata"]["name"].startswith((f"{name}-kt-stuntman", f"{name}-kt-mesh-"))]
