"""Giving back what a session changed: the one function behind normal exit, `recover` and `clean`.

Idempotent; touches only what is still ours; goes on past a failure; says what is left.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ktpy import closing, passes, restore
from ktpy.cluster.gateway import Cluster
from ktpy.errors import Conflict, Forbidden, KtError, NotFound, Taken, Unreachable
from ktpy.model import names, preview
from ktpy.model.diversion import WORKLOADS, marked_by
from ktpy.model.liveness import Holder, Life, holder_from, lost_holder
from ktpy.model.names import SessionId
from ktpy.model.ref import Object, annotations_of, labels_of, ref_of, uid_of

log = logging.getLogger(__name__)

POD_GRACE_SECONDS = 1  # its traffic is gone already when a session gives back


@dataclass(frozen=True)
class Report:
    """What a give-back DID, and what it could not do (LEFT), a sentence each. AGAIN: a later try may succeed."""

    did: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    again: bool = False


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


def target_of(lease: Object | None) -> str:
    """The name of the Service that a session's LEASE is for, and that is not its own: a preview changes nobody's."""
    if lease is None or _is_a_previews(lease):
        return ""
    return annotations_of(lease).get(names.TARGET, "").partition("/")[2]


def _is_a_previews(lease: Object) -> bool:
    return annotations_of(lease).get(names.MODE) == names.ROLE_PREVIEW


def published_by(cluster: Cluster, session: SessionId, lease: Object | None) -> Sequence[Object]:
    """The Service that SESSION published, if it did; what has its name or its labels and is not it is its owner's."""
    if lease is None:
        found = cluster.find("Service", labels={names.SESSION: session})
    elif _is_a_previews(lease):
        service = cluster.get(cluster.ref("Service", annotations_of(lease)[names.TARGET].partition("/")[2]))
        found = [service] if service else []
    else:
        return []
    return [service for service in found if preview.is_published_by(service, session, lease)]


def take_away(cluster: Cluster, service: Object, session: SessionId) -> bool:
    """Delete the SERVICE that SESSION published. Where somebody has applied one of his own over it, it is his now."""
    if service["metadata"].get("deletionTimestamp"):
        return False
    if not preview.is_adopted(service, session):
        return cluster.delete(ref_of(service), uid=uid_of(service))

    def his(now: Object) -> Object:
        return preview.handed_over(now, session) if uid_of(now) == uid_of(service) else now

    restore.forget_us(cluster, cluster.change(ref_of(service), his, start=service))
    return True


def services_of(cluster: Cluster, session: SessionId, lease: Object | None) -> Sequence[Object]:
    """The Services that SESSION holds, the one it was made for (whose switch may still be on its way), and its link.

    A copy of one, label and note and all, is its owner's alone.
    """
    labelled = cluster.find("Service", labels={names.SESSION: session})
    found = {s["metadata"]["name"]: s for s in labelled if marked_by(s) == session or is_link_of(s, session)}
    name = target_of(lease)
    if name and name not in found:
        service = cluster.get(cluster.ref("Service", name))
        if service:
            found[name] = service
    return list(found.values())


def is_link_of(service: Object, session: SessionId) -> bool:
    """Whether SERVICE is SESSION's share link, and no copy of it."""
    return labels_of(service).get(names.ROLE) == names.ROLE_LINK and was_born_ours(service, session)


def scaled_by(cluster: Cluster, session: SessionId, lease: Object | None) -> Sequence[Object]:
    """The workload that SESSION scales, by its LEASE; where that is gone, what wears its marks."""
    if lease is None:
        return [workload for workload in workloads(cluster) if marked_by(workload) == session]
    kind, _, name = annotations_of(lease).get(names.SCALED, "").partition("/")
    found = [cluster.get(cluster.ref(one, name)) for one in WORKLOADS if one.lower() == kind]
    return [workload for workload in found if workload]


def workloads(cluster: Cluster) -> list[Object]:
    """The Deployments and StatefulSets that wear a session's label; none of a kind that this user may not list."""
    found: list[Object] = []
    for kind in WORKLOADS:
        try:
            found += cluster.find(kind, labels={names.SESSION: None})
        except Forbidden:
            log.debug("this user may not list %ss: what a lost session scaled is not looked for", kind)
    return found


def give_back(
    cluster: Cluster, session: SessionId, *, late_writes: bool = True, linger: float = names.LINGER_SECONDS
) -> Report:
    """Everything of SESSION: its rows, Services to their owners, then shadow pods, policies, Secret; the Lease last.

    LATE_WRITES: the session may still be there and write (it is not, when it gives back itself). The Lease stays while
    a Service could not be given back, so that the next `clean` finds it. LINGER: seconds between a Service's return
    and the end of its router.
    """
    deeds = _Deeds()
    lease_ref = cluster.ref("Lease", names.lease_name(session))
    seen: dict[str, Sequence[Object]] = {}
    lease: Object | None = None

    def look() -> bool:
        nonlocal lease
        lease = cluster.get(lease_ref)
        seen["services"] = [*scaled_by(cluster, session, lease), *services_of(cluster, session, lease)]
        seen["published"] = published_by(cluster, session, lease)
        seen["pods"] = cluster.find("Pod", labels={names.SESSION: session})
        seen["passes"] = passes.made_for(cluster, session)
        return False

    def leave() -> bool:
        def alive(other: str) -> bool:
            return is_alive(cluster, SessionId(other))

        target = target_of(lease)
        return bool(target) and closing.leave(
            cluster, target, session, linger=linger, alive=alive, late_writes=late_writes
        )

    def give(service: Object) -> bool:
        if is_link_of(service, session):
            return cluster.delete(ref_of(service), uid=uid_of(service))
        return restore.give(cluster, service, session, ref_of(service), late_writes=late_writes)

    deeds.do("looked for what it holds", look)
    deeds.do("its routes struck", leave)
    for service in seen.get("services", ()):
        deeds.do(f"{ref_of(service)} given back", lambda s=service: give(s))  # type: ignore[misc]
    for service in seen.get("published", ()):
        deeds.do(f"{ref_of(service)} taken away", lambda s=service: take_away(cluster, s, session))  # type: ignore[misc]
    if deeds.left:
        return Report(tuple(deeds.did), tuple(deeds.left), deeds.again)
    for pod in seen.get("pods", ()):
        if was_born_ours(pod, session):
            deeds.do(f"{ref_of(pod)} deleted", lambda p=pod: _delete_pod(cluster, p))  # type: ignore[misc]
    for policy in seen.get("passes", ()):
        if was_born_ours(policy, session):
            deeds.do(f"{ref_of(policy)} deleted", lambda p=policy: _delete_pass(cluster, p))  # type: ignore[misc]
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


def _delete_pass(cluster: Cluster, policy: Object) -> bool:
    """Whoever has an older Role leaves it to the garbage collector: it goes with the Lease."""
    with contextlib.suppress(Forbidden):
        return cluster.delete(ref_of(policy), uid=uid_of(policy))
    return False


def sessions(cluster: Cluster) -> list[Holder]:
    """Every session that has a Lease here, and those that left a mark on a Service or workload, a pod or a policy."""
    leases = cluster.find("Lease", labels={names.ROLE: names.ROLE_SESSION})
    holders = [holder_from(lease, cluster.now()) for lease in leases if is_a_sessions(lease)]
    found = {holder.session: holder for holder in holders}
    services = cluster.find("Service", labels={names.SESSION: None})
    left = {marked_by(thing) for thing in [*services, *workloads(cluster)]}
    left |= {session for s in services if is_link_of(s, session := SessionId(labels_of(s)[names.SESSION]))}
    left |= {preview.publisher(s) for s in services if not s["metadata"].get("deletionTimestamp")}
    shadows = cluster.find("Pod", labels={names.ROLE: names.ROLE_SHADOW, names.SESSION: None})
    for thing in [*shadows, *passes.made_for(cluster)]:
        session = SessionId(labels_of(thing)[names.SESSION])
        if was_born_ours(thing, session) and not thing["metadata"].get("deletionTimestamp"):
            left.add(session)
    routers = {labels_of(lease).get(names.SESSION) for lease in closing.leases(cluster)}
    found |= {session: lost_holder(session) for session in left - routers if session and session not in found}
    return sorted(found.values(), key=lambda holder: holder.session)


def is_a_sessions(lease: Object) -> bool:
    """Whether LEASE is the one that its label names, and no copy of it."""
    return bool(lease["metadata"]["name"] == names.lease_name(labels_of(lease).get(names.SESSION, "")))


def holder_named(cluster: Cluster, session: SessionId) -> Holder:
    """The session called SESSION, alive or not."""
    lease = cluster.get(cluster.ref("Lease", names.lease_name(session)))
    return holder_from(lease, cluster.now()) if lease else lost_holder(session)


def is_alive(cluster: Cluster, session: SessionId, older_than: float = names.DEAD_SECONDS) -> bool:
    """Whether the session called SESSION is there and beats."""
    return not is_dead(holder_named(cluster, session), older_than)


def is_dead(holder: Holder, older_than: float) -> bool:
    """No heartbeat for OLDER_THAN seconds, no Lease at all, or its end was begun by somebody."""
    return holder.life is Life.ENDED or holder.age >= older_than


def end(
    cluster: Cluster, holder: Holder, who: str, *, force: bool = False, older_than: float = names.DEAD_SECONDS,
    linger: float = names.LINGER_SECONDS,
) -> Report:  # fmt: skip
    """End another's session: take its Lease, then give back. Raises Taken if it is alive after all, unless FORCE."""
    end_by(cluster, holder.session, who, may=lambda now: force or is_dead(now, older_than))
    return give_back(cluster, holder.session, linger=linger)
