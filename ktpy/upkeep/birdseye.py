"""`birdseye`: who has what in a namespace, since when, whether they are alive, and what the routers carry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ktpy import closing, routing, undo
from ktpy.errors import KtError
from ktpy.kt import Kt
from ktpy.model import ktctl, names, ours, traffic
from ktpy.model import overview as seen
from ktpy.model.diversion import holder_of
from ktpy.model.liveness import Holder, Life, lost_holder
from ktpy.model.names import SessionId
from ktpy.model.overview import Line, RouterSeen
from ktpy.model.ref import Object, labels_of, ref_of
from ktpy.model.routes import Routes
from ktpy.model.traffic import Carried
from ktpy.upkeep import ktctl_left
from ktpy.workers import each, within

ASK_SECONDS = 3.0  # for all router pods together: a listing is not to wait for one that hangs


@dataclass(frozen=True)
class _Router:
    """What was read of one: FOUND is None, and WHY_NOT a sentence, where its table cannot be read."""

    found: Routes | None
    why_not: str
    pods: Sequence[Object]
    version: str


def birdseye(kt: Kt) -> list[Line]:
    """A line for each Service of the team, and for each session that has none."""
    services = kt.cluster.find("Service")
    holders = {holder.session: holder for holder in undo.sessions(kt.cluster)}
    routers = _routers(kt)
    carried = _carried(kt, routers)

    def is_helper(service: Object) -> bool:
        return ours.is_stuntman(service) or ours.is_link(service)

    lines = [_line(kt, service, holders, routers, carried) for service in services if not is_helper(service)]
    return _with_the_others(lines, holders, kt.cluster.now())


def _routers(kt: Kt) -> Mapping[SessionId, _Router]:
    leases = {SessionId(labels_of(lease).get(names.SESSION, "")): lease for lease in closing.leases(kt.cluster)}
    if not leases:
        return {}
    pods = [
        pod
        for pod in kt.cluster.find("Pod", labels={names.ROLE: names.ROLE_ROUTER})
        if ours.is_router_pod(pod) and not pod["metadata"].get("deletionTimestamp")
    ]

    def read(router: SessionId) -> _Router:
        lease = leases[router]
        its = [pod for pod in pods if labels_of(pod)[names.SESSION] == router]
        version = str((lease["metadata"].get("annotations") or {}).get(names.VERSION, ""))
        try:
            found = routing.read(kt.cluster, closing.service_of(lease))
        except KtError as error:
            return _Router(None, error.what, its, version)
        return _Router(found if found and found.router == router else None, "", its, version)

    return dict(zip(leases, each(read, list(leases)), strict=True))


def _carried(kt: Kt, routers: Mapping[SessionId, _Router]) -> Mapping[str, Carried | str]:
    """By the name of each router pod what it carries, or why it does not say."""
    asked = [(pod["metadata"]["name"], router.found) for router in routers.values() for pod in router.pods]
    pods = [(name, found.ports.control) for name, found in asked if found]

    def ask(pod: tuple[str, int]) -> Carried | str:
        try:
            status, text = kt.cluster.ask_pod(*pod, "GET", "/stats")
            return traffic.read(text) if status == 200 else text.strip()
        except KtError as error:
            return error.what
        except ValueError as error:
            return str(error)

    answers = within(ASK_SECONDS, ask, pods)
    silence = f"no answer within {ASK_SECONDS:.0f} s"
    return {name: silence if answer is None else answer for (name, _), answer in zip(pods, answers, strict=True)}


def _line(
    kt: Kt, service: Object, holders: Mapping[SessionId, Holder], routers: Mapping[SessionId, _Router],
    carried: Mapping[str, Carried | str],
) -> Line:  # fmt: skip
    target, now = str(ref_of(service)), kt.cluster.now()
    holder = holder_of(service)
    if holder and holder in routers:
        return _routed(target, holder, routers[holder], holders, carried, now)
    if holder:
        return seen.held(target, holders.get(holder) or lost_holder(holder), now)
    if ktctl.holds(service):
        return _ktctls(target, ktctl_left.age(kt.cluster, service))
    return Line(target, seen.PREVIEWED if ours.is_preview(service) else seen.NATURAL)


def _routed(
    target: str, session: SessionId, router: _Router, holders: Mapping[SessionId, Holder],
    carried: Mapping[str, Carried | str], now: float,
) -> Line:  # fmt: skip
    pods = tuple(pod["metadata"]["name"] for pod in router.pods)
    silent = {pod: said for pod in pods if isinstance(said := carried.get(pod), str)}
    view = RouterSeen(session, router.version, 0, pods, silent, why=router.why_not)
    if router.found is None:
        return Line(target, seen.MESHED if router.why_not else seen.ABANDONED, router=view)
    spoken = [said for pod in pods if isinstance(said := carried.get(pod), Carried)]
    view = replace(view, version=router.found.table.version, closing=router.found.closing)
    total = traffic.total(spoken) if spoken else None
    return seen.routed(target, router.found, holders, now, router=view, carried=total)


def _ktctls(target: str, age: float) -> Line:
    alive = Life.ALIVE if age < ktctl.DEAD_SECONDS else Life.SILENT
    seconds = None if age == float("inf") else age
    share = seen.Share("", "ktctl", state=alive.value, seen_seconds=seconds, route="direct")
    return Line(target, seen.KTCTL, (share,), seen_seconds=seconds)


def _with_the_others(lines: Sequence[Line], holders: Mapping[SessionId, Holder], now: float) -> list[Line]:
    """Sessions that nothing shown has, under the Service that they are for, or in a line of their own."""
    shown = {share.session for line in lines for share in line.shares}
    by_target: dict[str, list[Holder]] = {}
    for holder in holders.values():
        if holder.session not in shown:
            by_target.setdefault(holder.target, []).append(holder)
    known = {line.target for line in lines}
    own = [Line(target, seen.status_without(target)) for target in by_target if target not in known]
    return [seen.with_others(line, by_target.get(line.target, ()), now) for line in [*lines, *own]]
