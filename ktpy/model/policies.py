"""Which NetworkPolicies let a router stand before isolated pods, so that just those get in who got in before.

Facts, from kubernetes.io/docs/concepts/services-networking/network-policies and the reference of NetworkPolicy v1:
policies add up; a pod that none selects for a direction is open in it, else it lets through what any rule of those
that select it names; a connection needs the sender's egress and the receiver's ingress; a pod's own node always gets
in, so port-forward and probes do. Most plug-ins look a port name up in the receiver, and look behind a ClusterIP.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ktpy.model.ours import is_policy
from ktpy.model.policy_rules import EGRESS, INGRESS, Endpoint, covers, is_peer, isolates, types_of
from ktpy.model.ref import Object

Peers = frozenset[str]  # each peer as the JSON text of its policy; `null` stands for everybody
ANYBODY: Peers = frozenset({"null"})


@dataclass(frozen=True)
class Stage:
    """Who is to talk with whom. NAMESPACE: its labels. SELECTOR: the owner's, by which ORIGINAL pods are found.

    ROUTER and SHADOW are selected by all the labels given here, so give none that their pods do not keep. No SHADOW:
    what stands before the callers is no router but a shadow itself, which sends nothing on.
    """

    service: str
    selector: Mapping[str, str]
    namespace: Mapping[str, str]
    original: tuple[Endpoint, ...]
    router: Endpoint
    shadow: Endpoint | None

    @property
    def front(self) -> str:
        """What ROUTER is, in a word."""
        return "router" if self.shadow else "shadow"

    @property
    def ours(self) -> tuple[tuple[str, Endpoint], ...]:
        """The pods of ours."""
        return ((f"the {self.front}", self.router), *((("a shadow", self.shadow),) if self.shadow else ()))


@dataclass(frozen=True)
class Verdict:
    """NetworkPolicies to MAKE, or why none would do (REFUSE), and WORDS for the user.

    The `metadata.name` of each is only a tail, to be put behind a name of ours. SHADOWS live as long as the session's
    shadow, the others (`router-in`, `router-out`, `in-POLICY`, `out-POLICY`) as long as what stands before the callers.
    """

    make: tuple[Object, ...] = ()
    refuse: str | None = None
    words: tuple[str, ...] = ()


SHADOWS = ("shadow-in", "shadow-out")


def _on(policies: Sequence[Object], labels: Mapping[str, str], kind: str) -> list[Object]:
    """The policies that isolate a pod with LABELS in one direction."""
    return [policy for policy in policies if isolates(policy, labels, kind)]


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
    some, every = _isolating(policies, stage)
    for door in dict.fromkeys(door for _, pod in stage.ours for door in pod.doors) if some else ():
        if len({pod.doors.get(door, 0) for pod in stage.original}) > 1 or door not in stage.original[0].doors:
            yield f"The pods of {shop} do not answer port {door} at one number, and NetworkPolicies go by numbers."
        if len({_accepted(policies, pod, door) for pod in stage.original}) > 1:
            part = [policy for policy in some if policy not in every] or some
            yield f"NetworkPolicy {_names(part)} does not hold for all pods of {shop}; a {stage.front} stands for all."
    for who, pod in stage.ours:
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
                who = f"the {stage.front} but not the pods of {shop}"
                yield f"NetworkPolicy {_names([policy])} lets its pods call {who}."


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
    yield _policy(f"{stage.front}-in", router.labels, INGRESS, rules)


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
    for _, shadow in stage.ours[1:]:
        heard = [(_accepted(policies, shadow, door), _wanted(policies, stage, door)) for door in shadow.doors]
        if any(here == ANYBODY != wanted or not _lets_in(here, stage.router.labels, stage) for here, wanted in heard):
            rule = _rule("from", _pods(stage.router.labels), shadow.numbers(shadow.doors))
            yield _policy("shadow-in", shadow.labels, INGRESS, [rule])


def _router_out(policies: Sequence[Object], stage: Stage) -> Iterator[Object]:
    """Where the router may not send, it may to the original pods and the shadow."""
    on = _on(policies, stage.router.labels, EGRESS)
    ways: list[tuple[str, Mapping[str, str], tuple[Endpoint, ...]]]
    ways = [("router-out", stage.selector, stage.original)]
    ways += [("shadow-out", shadow.labels, (shadow,)) for _, shadow in stage.ours[1:]]
    for tail, to, pods in ways if on else ():
        doors = [(pod, door) for pod in pods for door in pod.doors if door in stage.router.doors]
        if not all(any(_lets_out(policy, pod, door, stage) for policy in on) for pod, door in doors):
            numbers = (n for pod in pods for n in pod.numbers(door for one, door in doors if one is pod))
            yield _policy(tail, stage.router.labels, EGRESS, [_rule("to", _pods(to), numbers)])


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
        parted = f"would part the {stage.front} from {shop}"
        yield f"NetworkPolicies here ({_names(policies)}) {parted}; ktpy adds {len(make)}."
        yield "Policies of other namespaces that name the pods they may call are not visible from here."
    blocks = [policy for policy in policies if any(_is_by_address(policy, d, stage) for d in stage.router.doors)]
    if blocks:
        yield f"Pods that call {shop} by grace of addresses in {_names(blocks)} may not reach the {stage.front}'s."


def _without_pods(policies: Sequence[Object], stage: Stage) -> Verdict:
    """Nothing to do where nothing would be for pods with just the labels that are selected; else nobody can tell."""
    if needed(policies, replace(stage, original=(Endpoint(stage.selector, stage.router.doors),))) == Verdict():
        return Verdict()
    why = f"no pod of service/{stage.service} runs, so nobody can tell what {_names(policies)} mean for it."
    return Verdict(refuse=why)


def needed(policies: Sequence[Object], stage: Stage) -> Verdict:
    """What must be made among the namespace's POLICIES before the Service is switched. Those born ours do not count."""
    theirs = [policy for policy in policies if not is_policy(policy)]
    if theirs and not stage.original:
        return _without_pods(theirs, stage)
    refuse = next(_refusals(theirs, stage), None) if theirs else None
    if refuse:
        return Verdict(refuse=refuse)
    sends_on = (_original_in, _router_out, _shadow_in) if stage.shadow else ()
    steps = (_router_in, *sends_on, _callers_out)
    make = tuple(made for step in steps for made in step(theirs, stage))
    return Verdict(make, None, tuple(_words(theirs, make, stage)))
