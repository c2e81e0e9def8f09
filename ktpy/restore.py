"""A Service that was pointed elsewhere, given back to its owner: by the session that holds it, or for a router."""

from __future__ import annotations

from ktpy.cluster.gateway import Cluster
from ktpy.model import names
from ktpy.model.diversion import given_back, holder_of, touched
from ktpy.model.names import SessionId
from ktpy.model.ref import Object, Ref, labels_of


def put_back(cluster: Cluster, ref: Ref, session: SessionId, *, start: Object | None = None) -> Object | None:
    """Undo SESSION's change of one Service. Doing it twice, or too late, changes nothing. START: as last read."""
    return cluster.change(ref, lambda now: given_back(now, session), start=start)


def touch(cluster: Cluster, ref: Ref, session: SessionId) -> None:
    """Move the Service's resourceVersion, so that a late write of a dead SESSION meets 409 and not its old version.

    With our marks: were we killed in between, `clean` would find them like those of any dead session.
    """
    cluster.change(ref, lambda now: now if names.SESSION in labels_of(now) else touched(now, session))


def give(cluster: Cluster, service: Object, session: SessionId, ref: Ref, *, late_writes: bool) -> bool:
    """True if it was changed. Somebody else's Service is not touched, but for the version that a late write needs."""
    was_held = given_back(service, session) != service
    if not was_held and late_writes and holder_of(service) is None:
        touch(cluster, ref, session)
    forget_us(cluster, put_back(cluster, ref, session))
    return was_held


def forget_us(cluster: Cluster, service: Object | None) -> None:
    """Our entry out of a SERVICE that is its owner's again; while another session holds it, it guards his selector."""
    if service is not None and holder_of(service) is None:
        cluster.forget_us(service)
