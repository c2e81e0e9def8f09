"""A share link beside a mesh: its Service and Ingress, there as long as the row is, and gone before it."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping

from ktpy.errors import Conflict, Forbidden, KtError, Taken, Unreachable
from ktpy.kt import Kt
from ktpy.model import names, sharelink
from ktpy.model.events import Note, Step
from ktpy.model.front import Front, wears
from ktpy.model.names import SessionId
from ktpy.model.policy_rules import INGRESS, selects, types_of
from ktpy.model.ref import Object, ref_of, uid_of
from ktpy.model.sharelink import Link
from ktpy.router import Router
from ktpy.session import Session, persist

log = logging.getLogger(__name__)

FOLLOW_SECONDS = 3.0
KNOCK_SECONDS = 0.05


def objects(
    link: Link, front: Front, claimed: Mapping[int, int], session: SessionId, owner: Object, *, router: SessionId
) -> tuple[Object, ...]:
    """The Service, and the Ingress where a host is wanted."""
    service = sharelink.service(link, front, claimed, session, owner, router=router)
    first = next(port["port"] for port in service["spec"]["ports"] if port["targetPort"] in claimed.values())
    return (service, sharelink.ingress(link, first, session, owner)) if link.host else (service,)


def must_be_new(kt: Kt, link: Link) -> None:
    """Raises Taken where something has the name of the Service of LINK."""
    found = kt.cluster.get(kt.cluster.ref("Service", link.name))
    if found is not None:
        raise _taken(found)


def tell_of_policies(kt: Kt, front: Front) -> None:
    """Say where NetworkPolicies may keep other pods from the link's port, which the target's pods do not have.

    Who may not list them is told nothing, as for the router.
    """
    try:
        found = kt.cluster.find("NetworkPolicy")
    except Forbidden:
        return
    worn = {**kt.router.pod.labels, **wears(front, SessionId("any")), names.ROLE: names.ROLE_ROUTER}
    isolating = [
        policy["metadata"]["name"]
        for policy in found
        if INGRESS in types_of(policy) and selects(policy["spec"].get("podSelector"), worn)
    ]
    if isolating:
        kt.tell(
            Note(
                f"networkpolicy/{isolating[0]} is for the router's pods too: other pods may not reach the link, whose "
                "port is one of its own; kubectl port-forward does."
            )
        )


def _taken(thing: Object) -> Taken:
    return Taken(
        f"{ref_of(thing)} exists already, and the share link of this mark would have that name.",
        ["ktpy mesh … --version-mark ANOTHER", f"kubectl delete {ref_of(thing)}      if nobody needs it"],
    )


@contextlib.contextmanager
def offered(
    kt: Kt, session: Session, shared: Router, link: Link | None, *, knock: Callable[[str, int], bool]
) -> Iterator[None]:
    """What LINK needs is there while the block lasts; nothing where it is None. KNOCK connects from a pod."""
    if link is None:
        yield
        return
    started = time.monotonic()
    made: list[Object] = []
    try:
        wanted = objects(link, shared.front, shared.claimed(), session.id, session.owner, router=shared.id)
        for thing in wanted:
            made.append(_created(session, thing))
        _follow(kt, made[0], knock)
        kt.tell(Step("link", " and ".join(str(ref_of(thing)) for thing in made), time.monotonic() - started))
        yield
    finally:
        persist(kt, lambda: _is_gone(kt, made))


def _created(session: Session, thing: Object) -> Object:
    try:
        return session.create(thing)
    except Conflict as error:  # somebody was quicker by a moment
        raise _taken(thing) from error


def _follow(kt: Kt, service: Object, knock: Callable[[str, int], bool]) -> None:
    """Ready is when the link's own address leads somewhere."""
    until = time.monotonic() + FOLLOW_SECONDS
    while not knock(service["spec"]["clusterIP"], service["spec"]["ports"][0]["port"]):
        kt.stop.check()
        if time.monotonic() > until:
            kt.tell(Note(f"{ref_of(service)} was not yet seen to answer; nodes may need some more seconds."))
            return
        kt.stop.wait(KNOCK_SECONDS)


def _is_gone(kt: Kt, made: list[Object]) -> bool:
    """The Ingress first. False: the API server did not answer, and it is worth another try."""
    try:
        while made:
            kt.cluster.delete(ref_of(made[-1]), uid=uid_of(made[-1]))
            made.pop()
    except (Unreachable, Conflict) as error:
        log.debug("taking a link away: %s", error)
        return False
    except KtError as error:  # the session's own give-back says what is left; an Ingress goes with its owner, the Lease
        log.debug("taking a link away: %s", error)
    return True
