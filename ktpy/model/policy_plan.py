"""Which NetworkPolicies of ours are to stand around a Service: the objects, and what of them is to be done.

They are born with a role, their own name and a Lease as owner. Those of a router's generation are its Lease's, and
select its pods, or pods that somebody's policy isolates already; those of a shadow are its session's and select it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ktpy.model import names, policies
from ktpy.model.front import Front
from ktpy.model.manifests import owned_by
from ktpy.model.names import SessionId
from ktpy.model.ours import is_policy
from ktpy.model.policies import SHADOWS, Stage
from ktpy.model.policy_rules import Endpoint, endpoint
from ktpy.model.ports import pulse_port
from ktpy.model.ref import Object, labels_of, ref_of


@dataclass(frozen=True)
class Walls:
    """What was seen around a Service: all POLICIES of its namespace, the labels of that (SPACE), the original PODS.

    SELECTOR is the owner's, by which PODS were found. There is nothing else where there are no policies. ROUTER: the
    Deployment that stands there already.
    """

    policies: Sequence[Object] = ()
    space: Mapping[str, str] = field(default_factory=dict)
    selector: Mapping[str, str] = field(default_factory=dict)
    pods: Sequence[Object] = ()
    router: Object | None = None


@dataclass(frozen=True)
class Part:
    """Whose policies: a session's or router's ID, the Lease that owns them, and its POD."""

    id: SessionId
    lease: Object
    pod: Endpoint


@dataclass(frozen=True)
class Due:
    """What is to be done, so that what stands is what is needed; or why nothing would do (REFUSE). WORDS: for the user.

    MEND: one that stands, and how it should be.
    """

    make: tuple[Object, ...] = ()
    mend: tuple[tuple[Object, Object], ...] = ()
    drop: tuple[Object, ...] = ()
    refuse: str = ""
    words: tuple[str, ...] = ()

    @property
    def ready(self) -> tuple[str, ...]:
        """What the user reads when all is in force."""
        if len(self.make) == 1:
            return ("1 NetworkPolicy made, which ends with it",)
        return (f"{len(self.make)} NetworkPolicies made, which end with it",) if self.make else ()

    @property
    def names(self) -> str:
        """Those that are not as they should be."""
        return ", ".join(str(ref_of(one)) for one in (*self.make, *(new for _, new in self.mend), *self.drop))


def router_part(router: SessionId, lease: Object, deployment: Object, front: Front) -> Part:
    """The router whose pods DEPLOYMENT makes."""
    return Part(router, lease, endpoint(deployment["spec"]["template"], front.ports))


def shadow_part(session: SessionId, lease: Object, labels: Mapping[str, str], front: Front) -> Part:
    """SESSION's shadow, which wears LABELS and answers what FRONT says that it takes."""
    named = {route.pod.name: route.pod.number for route in front.taken if route.pod.name}
    doors = {route.service.port: route.pod.number for route in front.taken}
    return Part(session, lease, Endpoint(labels, doors, named, pulse_port(front.taken)))


def due(walls: Walls, front: Front, shadow: Part, router: Part | None) -> Due:
    """What is to be done for the ROUTER of FRONT and a SHADOW behind it; no ROUTER: the Service leads to the shadow."""
    if not walls.policies:
        return Due()
    first = router or shadow
    original = tuple(endpoint(pod, front.ports) for pod in walls.pods)
    stage = Stage(front.name, walls.selector, walls.space, original, first.pod, shadow.pod if router else None)
    verdict = policies.needed(walls.policies, stage)
    if verdict.refuse:
        return Due(refuse=verdict.refuse)
    wanted = [_born(one, shadow if one["metadata"]["name"] in SHADOWS else first) for one in verdict.make]
    ids = {shadow.id, first.id}
    mine = [one for one in walls.policies if is_policy(one) and labels_of(one)[names.SESSION] in ids]
    standing = {one["metadata"]["name"]: one for one in mine}
    kept = [(standing[name], new) for new in wanted if (name := new["metadata"]["name"]) in standing]
    return Due(
        make=tuple(new for new in wanted if new["metadata"]["name"] not in standing),
        mend=tuple((old, new) for old, new in kept if _meaning(old) != _meaning(new)),
        drop=tuple(old for old in mine if old not in [stays for stays, _ in kept]),
        words=verdict.words,
    )


def _born(policy: Object, part: Part) -> Object:
    """POLICY, of which the decision gave only the tail of the name, as PART's."""
    name = names.policy_name(part.id, policy["metadata"]["name"])
    meta = {
        "name": name,
        "namespace": part.lease["metadata"]["namespace"],
        "labels": {names.ROLE: names.ROLE_POLICY, names.SESSION: part.id},
        "annotations": {names.SELF: name},
        "ownerReferences": owned_by(part.lease),
    }
    return {**policy, "metadata": meta}


def _meaning(policy: Object) -> Object:
    """Its spec without the empty lists of rules, which the API server does not keep."""
    return {key: value for key, value in policy["spec"].items() if value or key == "podSelector"}
