"""`birdseye`: who holds what in a namespace, since when, and whether they are alive."""

from __future__ import annotations

from dataclasses import dataclass

from ktpy import undo
from ktpy.kt import Kt
from ktpy.model import ktctl
from ktpy.model.diversion import holder_of
from ktpy.model.liveness import Holder, Life
from ktpy.model.ref import ref_of
from ktpy.upkeep import ktctl_left


@dataclass(frozen=True)
class Row:
    """One Service. HELD: exchange, free, ktctl; STATE: alive, silent, ended. Times in seconds."""

    service: str
    held: str
    owner: str = ""
    host: str = ""
    session: str = ""
    state: str = ""
    for_seconds: float | None = None
    seen_seconds: float | None = None


def birdseye(kt: Kt, *, only_taken: bool = False) -> list[Row]:
    """A row for each Service, those that are held first."""
    holders = {holder.session: holder for holder in undo.sessions(kt.cluster)}
    rows, shown = [], set()
    for service in kt.cluster.find("Service"):
        session = holder_of(service)
        if session:
            shown.add(session)
            rows.append(_held(str(ref_of(service)), holders.get(session), kt.cluster.now()))
        elif ktctl.holds(service):
            rows.append(_ktctl(kt, str(ref_of(service)), ktctl_left.age(kt.cluster, service)))
        elif not only_taken:
            rows.append(Row(str(ref_of(service)), "free"))
    rows += [_starting(holder, kt.cluster.now()) for holder in holders.values() if holder.session not in shown]
    return sorted(rows, key=lambda row: (row.held == "free", row.service))


def _held(service: str, holder: Holder | None, now: float) -> Row:
    if holder is None:
        return Row(service, "held", state=Life.ENDED.value)
    lost = holder.age == float("inf")
    return Row(
        service, holder.mode, holder.owner, holder.host, holder.session, holder.life.value,
        for_seconds=None if lost else max(0.0, now - holder.since), seen_seconds=None if lost else holder.age,
    )  # fmt: skip


def _starting(holder: Holder, now: float) -> Row:
    """A session that holds nothing: it is starting or ending, or died then."""
    return _held(f"({holder.target or 'nothing'})", holder, now)


def _ktctl(kt: Kt, service: str, age: float) -> Row:
    alive = Life.ALIVE if age < ktctl.DEAD_SECONDS else Life.SILENT
    return Row(service, "ktctl", state=alive.value, seen_seconds=None if age == float("inf") else age)
