"""Is a session alive? Decided from its Lease by the API server's own stamps, never by a laptop's clock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum

from ktpy.model.names import (
    DEAD_SECONDS,
    ENDED_BY,
    HOST,
    MANAGER,
    MODE,
    OWNER,
    SESSION,
    TARGET,
    SessionId,
)
from ktpy.model.ref import Object, annotations_of, labels_of


def moment(text: str) -> float:
    """An RFC 3339 time of the API server as seconds since 1970."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def rfc3339(seconds: float) -> str:
    """A MicroTime as Kubernetes writes it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def renewed_at(lease: Object) -> float:
    """When the Lease was last written by ktpy, by the server's stamp in managedFields (whole seconds).

    spec.renewTime is the writer's clock and counts only where the stamps were stripped.
    """
    stamps = [
        moment(entry["time"])
        for entry in lease["metadata"].get("managedFields") or []
        if entry.get("manager") == MANAGER and entry.get("time")
    ]
    if stamps:
        return max(stamps)
    return moment(lease.get("spec", {}).get("renewTime") or lease["metadata"]["creationTimestamp"])


class Life(Enum):
    ALIVE = "alive"
    SILENT = "silent"  # its heartbeat stopped: may be taken over
    ENDED = "ended"  # somebody is giving it back, or its Lease is gone


@dataclass(frozen=True)
class Holder:
    """Whose session it is, as its Lease tells. AGE: seconds since the last heartbeat; SINCE: seconds since 1970."""

    session: SessionId
    owner: str
    host: str
    mode: str
    target: str
    since: float
    age: float
    life: Life
    ended_by: str = ""

    def __str__(self) -> str:
        seen = "no heartbeat" if self.life is Life.ENDED else f"seen {self.age:.0f} s ago"
        return f"session {self.session} ({self.mode}, {self.owner} on {self.host}, {seen})"


def holder_from(lease: Object, now: float) -> Holder:
    """The session behind LEASE, judged at the server's time NOW."""
    notes = annotations_of(lease)
    age = max(0.0, now - renewed_at(lease))
    life = Life.ALIVE if age <= DEAD_SECONDS else Life.SILENT
    if notes.get(ENDED_BY) or lease["metadata"].get("deletionTimestamp"):
        life = Life.ENDED
    return Holder(
        session=SessionId(labels_of(lease).get(SESSION, lease["metadata"]["name"])),
        owner=notes.get(OWNER, "somebody"),
        host=notes.get(HOST, "an unknown machine"),
        mode=notes.get(MODE, "session"),
        target=notes.get(TARGET, ""),
        since=moment(lease["metadata"]["creationTimestamp"]),
        age=age,
        life=life,
        ended_by=notes.get(ENDED_BY, ""),
    )


def lost_holder(session: SessionId) -> Holder:
    """A session that left its mark but whose Lease is gone."""
    return Holder(session, "somebody", "an unknown machine", "session", "", 0.0, float("inf"), Life.ENDED)
