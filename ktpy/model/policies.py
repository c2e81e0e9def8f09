"""Which NetworkPolicies let a router stand before isolated pods, so that just those get in who got in before.

Facts, from kubernetes.io/docs/concepts/services-networking/network-policies and the reference of NetworkPolicy v1:
policies add up; a pod that none selects for a direction is open in it, else it lets through what any rule of those
that select it names; a connection needs the sender's egress and the receiver's ingress; a pod's own node always gets
in, so port-forward and probes do. Most plug-ins look a port name up in the receiver, and look behind a ClusterIP.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ktpy.model.names import ROLE
from ktpy.model.ports import ServicePort
from ktpy.model.ref import Object, labels_of

INGRESS, EGRESS = "Ingress", "Egress"

Peers = frozenset[str]  # each peer as the JSON text of its policy; `null` stands for everybody
ANYBODY: Peers = frozenset({"null"})


@dataclass(frozen=True)
class Endpoint:
    """A pod: the LABELS it wears, DOORS from a Service's port to the number it answers at, and its NAMED ports."""

    labels: Mapping[str, str]
    doors: Mapping[int, int]
    named: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Stage:
    """Who is to talk with whom. NAMESPACE: its labels. SELECTOR: the owner's, by which ORIGINAL pods are found.

    ROUTER and SHADOW are selected by all the labels given here, so give none that their pods do not keep.
    """

    service: str
    selector: Mapping[str, str]
    namespace: Mapping[str, str]
    original: tuple[Endpoint, ...]
    router: Endpoint
    shadow: Endpoint


@dataclass(frozen=True)
class Verdict:
    """NetworkPolicies to MAKE, or why none would do (REFUSE), and WORDS for the user.

    The `metadata.name` of each is only a tail, to be put behind a name of ours: `router-in`, `router-out`,
    `in-POLICY` and `out-POLICY` live as long as the router; `shadow-in` and `shadow-out` as long as the shadow.
    """

    make: tuple[Object, ...] = ()
    refuse: str | None = None
    words: tuple[str, ...] = ()


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


def is_ours(policy: Object) -> bool:
    """Born ours: what `needed` answers must not change once it stands."""
    owners = policy["metadata"].get("ownerReferences") or []
    return ROLE in labels_of(policy) and any(owner["kind"] == "Lease" for owner in owners)


def _on(policies: Sequence[Object], labels: Mapping[str, str], kind: str) -> list[Object]:
    """The policies that isolate a pod with LABELS in one direction."""
    return [p for p in policies if kind in types_of(p) and selects(p["spec"].get("podSelector"), labels)]


def _isolating(policies: Sequence[Object], stage: Stage) -> tuple[list[Object], list[Object]]:
    """The policies that isolate some of the original pods, and those that isolate every one."""
    on = [_on(policies, pod.labels, INGRESS) for pod in stage.original]
    some = [policy for policy in policies if any(policy in each for each in on)]
    return some, [policy for policy in some if all(policy in each for each in on)]


def _accepted(policies: Sequence[Object], pod: Endpoint, door: int) -> Peers:
    """From whom POD takes connections at DOOR."""
    on = _on(policies, pod.labels, INGRESS)
    if not on:
        return ANYBODY
    rules = [rule for policy in on for rule in policy["spec"].get("ingress") or []]
    heard = [rule for rule in rules if covers(rule, pod.doors[door], pod.named)]
    peers = frozenset(json.dumps(peer, sort_keys=True) for rule in heard for peer in rule.get("from") or [None])
    return ANYBODY if peers >= ANYBODY else peers


def _wanted(policies: Sequence[Object], stage: Stage, door: int) -> Peers:
    """From whom the original pods take connections; they agree, or were refused before."""
    return next((_accepted(policies, pod, door) for pod in stage.original if door in pod.doors), ANYBODY)


def _lets_in(peers: Peers, labels: Mapping[str, str], stage: Stage) -> bool:
    return any(is_peer(json.loads(peer), labels, stage.namespace) for peer in peers)


def _lets_out(policy: Object, pod: Endpoint, door: int, stage: Stage) -> bool:
    """Whether POLICY lets the pods that it selects go to POD's DOOR."""
    return any(is_peer(peer, pod.labels, stage.namespace) for peer in _goals(policy, pod, door))


def _goals(policy: Object, pod: Endpoint, door: int) -> Iterator[Object | None]:
    """Where to POLICY lets its pods go at the number of POD's DOOR; None: anywhere."""
    for rule in (policy["spec"].get("egress") or []) if EGRESS in types_of(policy) else []:
        if covers(rule, pod.doors[door], pod.named):
            yield from rule.get("to") or [None]


def _names(policies: Sequence[Object]) -> str:
    return ", ".join(sorted(policy["metadata"]["name"] for policy in policies))


def _refusals(policies: Sequence[Object], stage: Stage) -> Iterator[str]:
    """Where policies, which only add, cannot give the router exactly what the original pods have. One is asked for."""
    shop = f"service/{stage.service}"
    if not stage.original:
        yield f"No pod of {shop} runs, so nobody can tell what the NetworkPolicies {_names(policies)} mean for it."
    some, every = _isolating(policies, stage)
    for door in dict.fromkeys([*stage.router.doors, *stage.shadow.doors]) if some else ():
        if len({pod.doors.get(door, 0) for pod in stage.original}) > 1 or door not in stage.original[0].doors:
            yield f"The pods of {shop} do not answer port {door} at one number, and NetworkPolicies go by numbers."
        if len({_accepted(policies, pod, door) for pod in stage.original}) > 1:
            part = [policy for policy in some if policy not in every] or some
            yield f"NetworkPolicy {_names(part)} does not hold for all pods of {shop}, but a router stands for all."
    for who, pod in (("the router", stage.router), ("a shadow", stage.shadow)):
        isolating = _on(policies, pod.labels, INGRESS)
        for door in pod.doors if isolating else ():
            wanted = _wanted(policies, stage, door)
            if wanted != ANYBODY and not _accepted(policies, pod, door) <= wanted:
                yield f"NetworkPolicy {_names(isolating)} lets callers reach {who} that the pods of {shop} do not take."
    for policy in policies:
        for door in stage.router.doors:
            seen = {_lets_out(policy, pod, door, stage) for pod in stage.original if door in pod.doors}
            if len(seen) > 1:
                yield f"NetworkPolicy {_names([policy])} lets its pods call some pods of {shop} but not all."
            if seen == {False} and _lets_out(policy, stage.router, door, stage):
                yield f"NetworkPolicy {_names([policy])} lets its pods call the router but not the pods of {shop}."


def _policy(tail: str, labels: Mapping[str, str], kind: str, rules: list[Object], also: Object | None = None) -> Object:
    """For pods that wear LABELS and are selected by ALSO."""
    who = also or {}
    selector = {**who, "matchLabels": {**(who.get("matchLabels") or {}), **labels}}
    spec = {"podSelector": selector, "policyTypes": [kind], kind.lower(): rules}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": tail}, "spec": spec}


def _pods(labels: Mapping[str, str]) -> list[Object]:
    return [{"podSelector": {"matchLabels": dict(labels)}}]


def _rule(key: str, peers: list[Object], numbers: Iterable[int]) -> Object:
    """No peers: anybody."""
    ports = [{"protocol": "TCP", "port": number} for number in sorted(set(numbers))]
    return {key: peers, "ports": ports} if peers else {"ports": ports}


def _router_in(policies: Sequence[Object], stage: Stage) -> Iterator[Object]:
    """The router takes exactly the callers of the original pods; where it would be open, this isolates it too."""
    router = stage.router
    wanted = {door: _wanted(policies, stage, door) for door in router.doors}
    if all(_accepted(policies, router, door) == wanted[door] for door in wanted):
        return
    rules = []
    for peers in dict.fromkeys(filter(None, wanted.values())):
        numbers = [number for door, number in router.doors.items() if wanted[door] == peers]
        rules.append(_rule("from", [json.loads(peer) for peer in sorted(peers - ANYBODY)], numbers))
    yield _policy("router-in", router.labels, INGRESS, rules)


def _original_in(policies: Sequence[Object], stage: Stage) -> Iterator[Object]:
    """The original pods take the router. Ours select only what theirs do, or they would isolate what is open."""
    doors = [(pod, door) for pod in stage.original for door in stage.router.doors if door in pod.doors]
    if all(_lets_in(_accepted(policies, pod, door), stage.router.labels, stage) for pod, door in doors):
        return
    some, every = _isolating(policies, stage)
    rule = _rule("from", _pods(stage.router.labels), (pod.doors[door] for pod, door in doors))
    for policy in every[:1] or some:
        name, also = policy["metadata"]["name"], policy["spec"].get("podSelector")
        yield _policy(f"in-{name}", stage.selector, INGRESS, [rule], also)


def _shadow_in(policies: Sequence[Object], stage: Stage) -> Iterator[Object]:
    """A shadow takes the router, and nobody whom the original pods do not take."""
    heard = [(_accepted(policies, stage.shadow, d), _wanted(policies, stage, d)) for d in stage.shadow.doors]
    if any(here == ANYBODY != wanted or not _lets_in(here, stage.router.labels, stage) for here, wanted in heard):
        rule = _rule("from", _pods(stage.router.labels), stage.shadow.doors.values())
        yield _policy("shadow-in", stage.shadow.labels, INGRESS, [rule])


def _router_out(policies: Sequence[Object], stage: Stage) -> Iterator[Object]:
    """Where the router may not send, it may to the original pods and the shadow."""
    on = _on(policies, stage.router.labels, EGRESS)
    ways = (("router-out", stage.selector, stage.original), ("shadow-out", stage.shadow.labels, (stage.shadow,)))
    for tail, to, pods in ways if on else ():
        doors = [(pod, door) for pod in pods for door in pod.doors if door in stage.router.doors]
        if not all(any(_lets_out(policy, pod, door, stage) for policy in on) for pod, door in doors):
            rule = _rule("to", _pods(to), (pod.doors[door] for pod, door in doors))
            yield _policy(tail, stage.router.labels, EGRESS, [rule])


def _callers_out(policies: Sequence[Object], stage: Stage) -> Iterator[Object]:
    """Callers that a policy of this namespace lets out to the original pods may go to the router too."""
    router = stage.router
    for policy in policies:
        seen = {door for pod in stage.original for door in pod.doors if _lets_out(policy, pod, door, stage)}
        shut = [door for door in router.doors if door in seen and not _lets_out(policy, router, door, stage)]
        if shut:
            rule = _rule("to", _pods(router.labels), (router.doors[door] for door in shut))
            name, also = policy["metadata"]["name"], policy["spec"].get("podSelector")
            yield _policy(f"out-{name}", {}, EGRESS, [rule], also)


def _is_by_address(policy: Object, door: int, stage: Stage) -> bool:
    """Whether POLICY may let callers go to an original pod by an ipBlock only, and so perhaps not to the router."""
    pods = [pod for pod in (*stage.original, stage.router) if door in pod.doors]
    goals = [goal for pod in pods[:-1] for goal in _goals(policy, pod, door)]
    known = any(_lets_out(policy, pod, door, stage) for pod in pods)
    return not known and any(goal and goal.get("ipBlock") for goal in goals)


def _words(policies: Sequence[Object], make: Sequence[Object], stage: Stage) -> Iterator[str]:
    shop = f"service/{stage.service}"
    if make:
        yield f"NetworkPolicies here ({_names(policies)}) would part the router from {shop}; ktpy adds {len(make)}."
        yield "Policies of other namespaces that name the pods they may call are not visible from here."
    blocks = [policy for policy in policies if any(_is_by_address(policy, d, stage) for d in stage.router.doors)]
    if blocks:
        yield f"Pods that call {shop} by grace of addresses in {_names(blocks)} may not reach the router's."


def needed(policies: Sequence[Object], stage: Stage) -> Verdict:
    """What must be made among the namespace's POLICIES before the Service is switched. Those born ours do not count."""
    theirs = [policy for policy in policies if not is_ours(policy)]
    refuse = next(_refusals(theirs, stage), None) if theirs else None
    if refuse:
        return Verdict(refuse=refuse)
    steps = (_router_in, _original_in, _router_out, _shadow_in, _callers_out)
    make = tuple(made for step in steps for made in step(theirs, stage))
    return Verdict(make, None, tuple(_words(theirs, make, stage)))
