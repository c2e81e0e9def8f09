"""NetworkPolicies of the namespace: seen before anything is changed, and those of ours made, kept right and dropped.

Where a policy isolates a Service's pods, those who may call them must reach what stands before them (a router, or a
shadow), that must reach them, and nobody else may get anywhere by it. What that takes is decided in model/policies.py.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace

from ktpy.errors import Conflict, Forbidden, KtError
from ktpy.kt import Kt
from ktpy.model import names, policy_plan
from ktpy.model.events import Note, Step
from ktpy.model.front import Front
from ktpy.model.manifests import shadow_labels
from ktpy.model.names import SessionId
from ktpy.model.policy_plan import Due, Part, Walls
from ktpy.model.policy_rules import INGRESS, isolates
from ktpy.model.ref import Object, labels_of, ref_of
from ktpy.model.rights import needed
from ktpy.model.target import original_selector
from ktpy.session import Session
from ktpy.workers import each

log = logging.getLogger(__name__)


def namespace(kt: Kt) -> Object | None:
    """None for the many who may not read it."""
    with contextlib.suppress(Forbidden):
        return kt.cluster.get(kt.cluster.ref("Namespace", kt.cluster.namespace))
    return None


def seen(kt: Kt, front: Front, *, original: Object | None = None) -> Walls:
    """What isolates whom around FRONT's Service. Nothing for who may not list policies: most namespaces have none.

    ORIGINAL: the template of its pods, for one whose pods go.
    """
    try:
        found = kt.cluster.find("NetworkPolicy")
    except Forbidden:
        return Walls()
    if not found:
        return Walls()
    selector = original_selector(kt.cluster.get(front.ref) or front.service)
    space = {"kubernetes.io/metadata.name": kt.cluster.namespace, **labels_of(namespace(kt) or {"metadata": {}})}
    pods = [original] if original else kt.cluster.find("Pod", labels={**selector})
    return Walls(found, space, selector, [pod for pod in pods if names.ROLE not in labels_of(pod)])


def seen_by_router(kt: Kt, front: Front) -> Walls:
    """The same, and the router that is there."""
    walls = seen(kt, front)
    if not walls.policies:
        return walls
    return replace(walls, router=kt.cluster.get(kt.cluster.ref("Deployment", names.router_name(front.name))))


def isolating(kt: Kt, labels: Mapping[str, str]) -> list[str]:
    """The names of the policies that say who may call a pod with LABELS."""
    try:
        found = kt.cluster.find("NetworkPolicy")
    except Forbidden:
        return []
    return sorted(ref_of(one).name for one in found if isolates(one, labels, INGRESS))


def must_admit(kt: Kt, front: Front, due: Due) -> None:
    """Raises KtError where no policies would do what DUE is for, Forbidden where this user may not make them.

    Tells what there is to know about them.
    """
    _must_be_possible(kt, front, due)
    for sentence in due.words:
        kt.tell(Note(sentence))


def _must_be_possible(kt: Kt, front: Front, due: Due) -> None:
    if due.refuse:
        raise KtError(
            f"NetworkPolicies of namespace {kt.cluster.namespace} stand in the way of {front.ref}: {due.refuse}",
            f"kubectl -n {kt.cluster.namespace} describe networkpolicies      and ask who wrote them",
        )
    wanted = [right for right in needed("networkpolicies") if right.verb != "list"] if due.names else []
    allowed = each(kt.cluster.may, wanted)
    missing = [str(right) for right, yes in zip(wanted, allowed, strict=True) if not yes]
    if missing:
        raise Forbidden(
            f"{kt.user.name} may not, in namespace {kt.cluster.namespace}: {', '.join(missing)}. "
            f"{' '.join(due.words[:1])} It takes {due.names}. Nothing was switched.",
            "ktpy doctor --print-role | kubectl apply -f -      by somebody who may",
        )


def admit_router(
    session: Session, front: Front, router: SessionId, *, lease: Object | None = None, deployment: Object | None = None
) -> None:
    """What the ROUTER, and SESSION's shadow behind it, need is there, no more and no less; others may come and go.

    LEASE and DEPLOYMENT are the router's, where they are at hand. Errors: those of `must_admit`.
    """
    kt, walls = session.kt, seen_by_router(session.kt, front)
    if not walls.policies:
        return
    lease = lease or kt.cluster.get(kt.cluster.ref("Lease", names.lease_name(router)))
    deployment = deployment or walls.router
    if lease is None or deployment is None or labels_of(deployment).get(names.SESSION) != router:
        return  # it is being ended: whoever joins it will see
    part = policy_plan.router_part(router, lease, deployment, front)
    _settle(session, front, policy_plan.due(walls, front, _shadow_of(session, front, {}), part))


def admit_shadow(session: Session, front: Front, wears: Mapping[str, str], *, original: Object | None = None) -> None:
    """The same for a shadow that WEARS what the Service will lead to, with no router. ORIGINAL: as `seen` takes it."""
    walls = seen(session.kt, front, original=original)
    _settle(session, front, policy_plan.due(walls, front, _shadow_of(session, front, wears), None))


def _shadow_of(session: Session, front: Front, wears: Mapping[str, str]) -> Part:
    labels = shadow_labels(session.kt.shape, wears, session.id)
    return policy_plan.shadow_part(session.id, session.owner, labels, front)


def _settle(session: Session, front: Front, due: Due) -> None:
    kt = session.kt
    _must_be_possible(kt, front, due)

    def make(policy: Object) -> None:
        with contextlib.suppress(Conflict):  # of a try whose answer was lost, or by another who shares the router
            session.create(policy)

    each(make, due.make)
    for old, new in due.mend:
        kt.cluster.change(
            ref_of(old), lambda now, to=new: {**now, "spec": to["spec"]}, before=session.renew, start=old  # type: ignore[misc]
        )  # fmt: skip
    for old in due.drop:
        session.renew()
        kt.cluster.delete(ref_of(old), uid=old["metadata"]["uid"])
    if due.names:
        kt.tell(Step("policies", due.names))


def keep(session: Session, walls: Walls, admit: Callable[[], None]) -> None:
    """ADMIT again and again while SESSION lasts, where there are WALLS: the team's policies may change under ours.

    One of ours beside a policy that was deleted would else isolate pods that nobody isolates any more.
    """
    if walls.policies:
        session.workers.start("policies", lambda: _keep(session, admit))


def _keep(session: Session, admit: Callable[[], None]) -> None:
    said = ""
    while not session.workers.done.wait(names.HEARTBEAT_SECONDS):
        try:
            admit()
            said = ""
        except KtError as error:
            log.debug("policies: %s", error)
            if str(error.what) != said:
                said = str(error.what)
                session.kt.tell(Note(said))
