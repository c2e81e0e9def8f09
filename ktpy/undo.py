"""Giving back what a session changed: the one function behind normal exit, `recover` and `clean`.

Idempotent; touches only what is still ours; goes on past a failure; says what is left.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ktpy.cluster.gateway import Cluster
from ktpy.errors import Conflict, KtError, NotFound, Taken, Unreachable
from ktpy.model import names
from ktpy.model.diversion import given_back, holder_of, marked_by, touched
from ktpy.model.liveness import Holder, Life, holder_from, lost_holder
from ktpy.model.names import SessionId
from ktpy.model.ref import Object, Ref, annotations_of, labels_of, ref_of, uid_of

log = logging.getLogger(__name__)

POD_GRACE_SECONDS = 1  # its traffic is gone already when a session gives back


@dataclass(frozen=True)
class Report:
    """What a give-back DID, and what it could not do (LEFT), a sentence each. AGAIN: a later try may succeed."""

    did: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    again: bool = False


def put_back(cluster: Cluster, ref: Ref, session: SessionId, *, start: Object | None = None) -> Object | None:
    """Undo SESSION's change of one Service. Doing it twice, or too late, changes nothing. START: as last read."""
    return cluster.change(ref, lambda now: given_back(now, session), start=start)


def touch(cluster: Cluster, ref: Ref, session: SessionId) -> None:
    """Move the Service's resourceVersion, so that a late write of a dead SESSION meets 409 and not its old version.

    With our marks: were we killed in between, `clean` would find them like those of any dead session.
    """
    cluster.change(ref, lambda now: now if names.SESSION in labels_of(now) else touched(now, session))


def was_born_ours(thing: Object, session: SessionId) -> bool:
    """Labels are copied by controllers; an owner reference to the session's Lease together with our role is not.

    `kubectl delete lease --cascade=orphan` takes the references off; a pod then still knows its own name, which no
    copy of it shares.
    """
    if names.ROLE not in labels_of(thing) or labels_of(thing).get(names.SESSION) != session:
        return False
    owners = thing["metadata"].get("ownerReferences") or []
    if not owners:
        return annotations_of(thing).get(names.SELF) == str(thing["metadata"]["name"])
    return any(o.get("kind") == "Lease" and o.get("name") == names.lease_name(session) for o in owners)


def end_by(cluster: Cluster, session: SessionId, who: str, *, may: Callable[[Holder], bool]) -> Object | None:
    """Take another's Lease before giving back for him: from here on his own heartbeat is refused.

    MAY judges the Lease as last read; no means Taken. Returns the Lease, None where there is none.
    """
    lease = cluster.get(cluster.ref("Lease", names.lease_name(session)))
    for _ in range(3):
        if lease is None:
            return None
        holder = holder_from(lease, cluster.now())
        if not may(holder):
            raise Taken(f"{holder} is alive.", "ktpy birdseye")
        marked = {**annotations_of(lease), names.ENDED_BY: who}
        try:
            return cluster.patch(
                lease,
                [
                    {"op": "add", "path": "/metadata/annotations", "value": marked},
                    {"op": "add", "path": "/spec/holderIdentity", "value": who},
                ],
            )
        except NotFound:  # its owner, or another cleaner, was quicker
            return None
        except Conflict:  # he woke up, or another cleaner is at it: judge again
            lease = cluster.get(cluster.ref("Lease", names.lease_name(session)))
    raise Taken(f"Session {session} is written by somebody else all the time.")


class _Deeds:
    """Each deed on its own: a failure is remembered and the next one goes on."""

    def __init__(self) -> None:
        self.did: list[str] = []
        self.left: list[str] = []
        self.again = False

    def do(self, what: str, deed: Callable[[], bool]) -> None:
        try:
            if deed():
                self.did.append(what)
        except (Unreachable, Conflict) as error:
            self.again = True
            self.left.append(f"{what}: {error.what}")
        except KtError as error:
            self.left.append(f"{what}: {error.what}")


def services_of(cluster: Cluster, session: SessionId, lease: Object | None) -> Sequence[Object]:
    """The Services that SESSION holds, and the one it was made for (whose switch may still be on its way).

    A copy of one, label and note and all, is its owner's alone.
    """
    labelled = cluster.find("Service", labels={names.SESSION: session})
    found = {s["metadata"]["name"]: s for s in labelled if marked_by(s) == session}
    target = annotations_of(lease).get(names.TARGET, "") if lease else ""
    name = target.partition("/")[2]
    if name and name not in found:
        service = cluster.get(cluster.ref("Service", name))
        if service:
            found[name] = service
    return list(found.values())


def give_back(cluster: Cluster, session: SessionId, *, late_writes: bool = True) -> Report:
    """Everything of SESSION: Services to their owners, then shadow pods, Secret, and the Lease last.

    LATE_WRITES: the session may still be there and write (it is not, when it gives back itself). The Lease stays while
    a Service could not be given back, so that the next `clean` finds it.
    """
    deeds = _Deeds()
    lease_ref = cluster.ref("Lease", names.lease_name(session))
    seen: dict[str, Sequence[Object]] = {}
    lease: Object | None = None

    def look() -> bool:
        nonlocal lease
        lease = cluster.get(lease_ref)
        seen["services"] = services_of(cluster, session, lease)
        seen["pods"] = cluster.find("Pod", labels={names.SESSION: session})
        return False

    deeds.do("looked for what it holds", look)
    for service in seen.get("services", ()):
        deeds.do(f"{ref_of(service)} given back", lambda s=service: _give_service(cluster, s, session, late_writes))  # type: ignore[misc]
    if deeds.left:
        return Report(tuple(deeds.did), tuple(deeds.left), deeds.again)
    for pod in seen.get("pods", ()):
        if was_born_ours(pod, session):
            deeds.do(f"{ref_of(pod)} deleted", lambda p=pod: _delete_pod(cluster, p))  # type: ignore[misc]
    deeds.do(f"secret/{lease_ref.name} deleted", lambda: cluster.delete(cluster.ref("Secret", lease_ref.name)))
    if lease is not None and not deeds.left:
        uid = uid_of(lease)
        deeds.do(f"{lease_ref} deleted", lambda: cluster.delete(lease_ref, uid=uid))
    return Report(tuple(deeds.did), tuple(deeds.left), deeds.again)


def _delete_pod(cluster: Cluster, pod: Object) -> bool:
    if (
        pod["metadata"].get("deletionTimestamp")
        and pod["metadata"].get("deletionGracePeriodSeconds", 0) <= POD_GRACE_SECONDS
    ):
        return False
    return cluster.delete(ref_of(pod), uid=uid_of(pod), grace=POD_GRACE_SECONDS)


def _give_service(cluster: Cluster, service: Object, session: SessionId, late_writes: bool) -> bool:
    """True if it was changed. Somebody else's Service is not touched, but for the version that a late write needs."""
    ref = ref_of(service)
    was_held = given_back(service, session) != service
    if not was_held and late_writes and holder_of(service) is None:
        touch(cluster, ref, session)
    forget_us(cluster, put_back(cluster, ref, session))
    return was_held


def forget_us(cluster: Cluster, service: Object | None) -> None:
    """Our entry out of a SERVICE that is its owner's again; while another session holds it, it guards his selector."""
    if service is not None and holder_of(service) is None:
        cluster.forget_us(service)


def sessions(cluster: Cluster) -> list[Holder]:
    """Every session that has a Lease here, and those that left only a mark on a Service."""
    leases = cluster.find("Lease", labels={names.ROLE: names.ROLE_SESSION})
    holders = [holder_from(lease, cluster.now()) for lease in leases if is_a_sessions(lease)]
    found = {holder.session: holder for holder in holders}
    left = {marked_by(service) for service in cluster.find("Service", labels={names.SESSION: None})}
    for pod in cluster.find("Pod", labels={names.ROLE: names.ROLE_SHADOW, names.SESSION: None}):
        session = SessionId(labels_of(pod)[names.SESSION])
        if was_born_ours(pod, session) and not pod["metadata"].get("deletionTimestamp"):
            left.add(session)
    found |= {session: lost_holder(session) for session in left if session and session not in found}
    return sorted(found.values(), key=lambda holder: holder.session)


def is_a_sessions(lease: Object) -> bool:
    """Whether LEASE is the one that its label names, and no copy of it."""
    return bool(lease["metadata"]["name"] == names.lease_name(labels_of(lease).get(names.SESSION, "")))


def holder_named(cluster: Cluster, session: SessionId) -> Holder:
    """The session called SESSION, alive or not."""
    lease = cluster.get(cluster.ref("Lease", names.lease_name(session)))
    return holder_from(lease, cluster.now()) if lease else lost_holder(session)


def is_dead(holder: Holder, older_than: float) -> bool:
    """No heartbeat for OLDER_THAN seconds, no Lease at all, or its end was begun by somebody."""
    return holder.life is Life.ENDED or holder.age >= older_than


def end(
    cluster: Cluster, holder: Holder, who: str, *, force: bool = False, older_than: float = names.DEAD_SECONDS
) -> Report:
    """End another's session: take its Lease, then give back. Raises Taken if it is alive after all, unless FORCE."""
    end_by(cluster, holder.session, who, may=lambda now: force or is_dead(now, older_than))
    return give_back(cluster, holder.session)
