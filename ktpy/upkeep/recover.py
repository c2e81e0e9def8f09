"""`recover`: end sessions that are dead, one's own, or, with force, another's; and what a dead ktctl left."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from ktpy import closing, routing, telling, undo
from ktpy.errors import KtError, NotFound, Taken
from ktpy.kt import Kt
from ktpy.model import ktctl, scaling
from ktpy.model.diversion import marked_by
from ktpy.model.liveness import Holder
from ktpy.model.names import DEAD_SECONDS, SessionId
from ktpy.model.ref import Object, ref_of
from ktpy.undo import Report
from ktpy.upkeep import ktctl_left


@dataclass(frozen=True)
class Result:
    """One session, or one Service of ktctl's, that was ended."""

    what: str
    report: Report


def recover(kt: Kt, service: str | None, *, force: bool, ask: Callable[[str], bool]) -> list[Result]:
    """End the dead sessions of SERVICE (None: of the namespace). Living ones: one's own after ASK, others' with FORCE.

    Raises NotFound where there is no such Service, Taken where a living session of somebody else holds it.
    """
    thing = _service(kt, service) if service else None
    marks = _marks(kt, thing) if thing else set()
    found = [one for one in undo.sessions(kt.cluster) if service is None or _is_for(one, service, marks)]
    results = [
        Result(str(holder), _end(kt, holder, force)) for holder in found if _may_end(kt, holder, service, force, ask)
    ]
    swept = closing.sweep(kt.cluster, lambda s: undo.is_alive(kt.cluster, SessionId(s)), linger=kt.settings.linger)
    results += [Result("routers", Report(did=(deed,))) for deed in swept]
    services = [thing] if thing else kt.cluster.find("Service")
    return results + [
        Result(str(ref_of(s)), ktctl_left.give_back(kt.cluster, s)) for s in services if _is_ktctls(kt, s, service)
    ]


def _service(kt: Kt, name: str) -> Object:
    thing = kt.cluster.get(kt.cluster.ref("Service", name))
    if thing is None:
        raise NotFound(f"There is no service/{name} in namespace {kt.cluster.namespace}.", "ktpy birdseye")
    return thing


def _marks(kt: Kt, service: Object) -> set[SessionId | None]:
    """The sessions that left their marks on SERVICE itself, on a workload behind it, or in its router's table."""
    behind = [workload for workload in undo.workloads(kt.cluster) if scaling.selects(service, workload)]
    found = {marked_by(thing) for thing in (service, *behind)}
    with contextlib.suppress(KtError):  # a table that cannot be read has nobody's marks
        table = routing.read(kt.cluster, service["metadata"]["name"])
        found |= set(table.sessions) if table else set()
    return found


def _is_for(holder: Holder, service: str, marks: Collection[SessionId | None]) -> bool:
    """By what its Lease says, or by MARKS."""
    return holder.target == f"service/{service}" or holder.session in marks


def _may_end(kt: Kt, holder: Holder, service: str | None, force: bool, ask: Callable[[str], bool]) -> bool:
    if force or undo.is_dead(holder, DEAD_SECONDS):
        return True
    if holder.owner == kt.user.name:
        return ask(f"{holder} is alive and yours. End it?")
    if service:
        raise Taken(
            f"service/{service} is held by {holder}.", [f"ask {holder.owner}", f"ktpy recover {service} --force"]
        )
    return False


def _end(kt: Kt, holder: Holder, force: bool) -> Report:
    who = f"{kt.user.name} on {kt.user.host} (ktpy recover)"
    # The owner's own living session was asked for, so it is forced as well.
    force = force or holder.owner == kt.user.name
    try:
        report = undo.end(kt.cluster, holder, who, force=force, linger=kt.settings.linger)
        telling.ended(kt, holder, who)
        return report
    except Taken as error:
        return Report(did=(f"left alone: {error.what}",))
    except KtError as error:  # the others are not to wait for this one
        return Report(left=(error.what,))


def _is_ktctls(kt: Kt, service: Object, named: str | None) -> bool:
    if not ktctl.holds(service):
        return False
    age = ktctl_left.age(kt.cluster, service)
    if age >= ktctl.DEAD_SECONDS:
        return True
    if named:
        raise Taken(f"service/{named} is held by a running ktctl, seen {age:.0f} s ago; ktpy does not touch it.")
    return False


def left_of(results: Iterable[Result]) -> Sequence[str]:
    """What could not be given back, over all RESULTS."""
    return [left for result in results for left in result.report.left]
