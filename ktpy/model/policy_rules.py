"""What a NetworkPolicy's selectors, ports and peers mean, and a pod as they see it. NetworkPolicy v1's reference tells.

A port name is looked up in the pod that receives, as most plug-ins do.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ktpy.model.ports import ServicePort
from ktpy.model.ref import Object, labels_of

INGRESS, EGRESS = "Ingress", "Egress"


@dataclass(frozen=True)
class Endpoint:
    """A pod: the LABELS it wears, DOORS from a Service's port to the number it answers at, and its NAMED ports.

    PULSE: the number at which a router asks a shadow whether its laptop is awake; 0 for other pods.
    """

    labels: Mapping[str, str]
    doors: Mapping[int, int]
    named: Mapping[str, int] = field(default_factory=dict)
    pulse: int = 0

    def numbers(self, doors: Iterable[int]) -> Iterator[int]:
        """Of DOORS, and of the pulse: whoever may ask at the former asks there too."""
        yield from (self.doors[door] for door in doors)
        if self.pulse:
            yield self.pulse


def endpoint(pod: Object, ports: Sequence[ServicePort]) -> Endpoint:
    """POD as it answers PORTS. A name that it does not declare has no door: Kubernetes sends it nothing there."""
    spec = pod["spec"]
    stay = [c for c in spec.get("initContainers") or [] if c.get("restartPolicy") == "Always"]
    named: dict[str, int] = {}
    for container in [*(spec.get("containers") or []), *stay]:
        for port in container.get("ports") or []:
            if port.get("name") and port.get("protocol", "TCP") == "TCP":
                named.setdefault(port["name"], port["containerPort"])
    targets = {p.port: p.target for p in ports if p.protocol == "TCP"}
    numbers = {port: int(to) if to.isdigit() else named.get(to) for port, to in targets.items()}
    return Endpoint(labels_of(pod), {port: number for port, number in numbers.items() if number is not None}, named)


def selects(selector: Object | None, labels: Mapping[str, str]) -> bool:
    """A LabelSelector; an absent or empty one selects everything."""
    wanted = selector or {}
    if not (wanted.get("matchLabels") or {}).items() <= labels.items():
        return False
    return all(_holds(expression, labels) for expression in wanted.get("matchExpressions") or [])


def _holds(expression: Object, labels: Mapping[str, str]) -> bool:
    """NotIn also holds where the key is absent."""
    key, values = expression["key"], expression.get("values") or []
    is_one, has = labels.get(key) in values, key in labels
    return {"In": is_one, "NotIn": not is_one, "Exists": has, "DoesNotExist": not has}[expression["operator"]]


def types_of(policy: Object) -> frozenset[str]:
    """As the API server fills policyTypes in: always Ingress, and Egress where there is an egress rule."""
    spec = policy["spec"]
    return frozenset(spec.get("policyTypes") or (INGRESS, *([EGRESS] if spec.get("egress") else [])))


def isolates(policy: Object, labels: Mapping[str, str], kind: str) -> bool:
    """Whether a pod with LABELS is open no more in the direction KIND."""
    return kind in types_of(policy) and selects(policy["spec"].get("podSelector"), labels)


def covers(rule: Object, number: int, named: Mapping[str, int]) -> bool:
    """Whether RULE's ports mean TCP port NUMBER of a pod that has these NAMED ports. No ports: all of them."""
    return any(_is_port(port, number, named) for port in rule.get("ports") or [{}])


def _is_port(port: Object, number: int, named: Mapping[str, int]) -> bool:
    if (port.get("protocol") or "TCP") != "TCP":
        return False
    wanted = port.get("port")
    if isinstance(wanted, str):
        return named.get(wanted) == number
    return wanted is None or wanted <= number <= (port.get("endPort") or wanted)


def is_peer(peer: Object | None, labels: Mapping[str, str], namespace: Mapping[str, str]) -> bool:
    """Whether PEER means a pod of the policy's own namespace. An ipBlock never does: a pod to come has no address."""
    if peer is None or peer.get("ipBlock"):
        return peer is None
    space = peer.get("namespaceSelector")
    return (space is None or selects(space, namespace)) and selects(peer.get("podSelector"), labels)
