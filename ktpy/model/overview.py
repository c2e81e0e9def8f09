"""A namespace as its people see it: each Service, in what state, who has which requests of it, and what flows there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ktpy.model import names
from ktpy.model.liveness import Holder, Life, lost_holder
from ktpy.model.marks import EVERYTHING, Match
from ktpy.model.names import SessionId
from ktpy.model.routes import Routes, is_links
from ktpy.model.traffic import Carried, Traffic
from ktpy_router.table import Row

EXCHANGED, MESHED, PREVIEWED, NATURAL = "exchanged", "meshed", "previewed", "natural"  # KT-Connect's four
KTCTL = "ktctl"  # its own doing
ABANDONED = "abandoned"  # diverted by a session that is no more
GONE = "gone"  # a session is for it, and it is not there
CONNECTED = "connected"  # a session that is for no Service
UNWRITTEN: Mapping[str, tuple[str, Match | None, str]] = {  # mode → what of it is in force, and the Service's status
    names.MODE_MANUAL: ("pod", None, MESHED),
    names.MODE_SCALE: ("direct", EVERYTHING, EXCHANGED),
    names.ROLE_PREVIEW: ("direct", EVERYTHING, PREVIEWED),
}
STATUSES = (ABANDONED, EXCHANGED, MESHED, PREVIEWED, KTCTL, GONE, CONNECTED, NATURAL)


@dataclass(frozen=True)
class Share:
    """What one session has of a Service. STATE: alive, silent, ended. Times in seconds.

    MARK and MATCH say which requests. ROUTE is what of it is in force: `row` (a router's), `direct` (all to its
    shadow), `pod` (one more pod of the Service), or nothing: it is starting or ending, or died then. HEALTH: up, or
    down where a router worker takes the laptop for down; empty where no router tells. STRICT: nobody answers then.
    LINK: the Service whose requests need no mark.
    """

    session: str
    mode: str
    owner: str = ""
    host: str = ""
    state: str = ""
    ended_by: str = ""
    for_seconds: float | None = None
    seen_seconds: float | None = None
    route: str = ""
    mark: str = ""
    match: str = ""
    ports: tuple[int, ...] = ()
    strict: bool = False
    mirror: bool = False
    link: str = ""
    health: str = ""
    traffic: Traffic | None = None


@dataclass(frozen=True)
class RouterSeen:
    """A router: its PODS, and by pod why one does not say what it carries (SILENT). CLOSING: by which session.

    WHY its table cannot be read, if so.
    """

    session: str
    ktpy: str
    version: int
    pods: tuple[str, ...]
    silent: Mapping[str, str]
    closing: str = ""
    why: str = ""


@dataclass(frozen=True)
class Line:
    """One Service, or what a session is for that has none. REST is the traffic that no row took."""

    target: str
    status: str
    shares: tuple[Share, ...] = ()
    router: RouterSeen | None = None
    rest: Traffic | None = None
    seen_seconds: float | None = None

    @property
    def is_taken(self) -> bool:
        return self.status != NATURAL or bool(self.shares)


def share_of(holder: Holder, now: float, *, route: str = "", match: Match | None = None) -> Share:
    """What HOLDER has, as far as its Lease tells."""
    lost = holder.age == float("inf")
    return Share(
        holder.session, holder.mode, holder.owner, holder.host, holder.life.value, holder.ended_by,
        for_seconds=None if lost else max(0.0, now - holder.since), seen_seconds=None if lost else holder.age,
        route=route, mark=match.mark if match else "", match=str(match) if match else "",
    )  # fmt: skip


def share_of_row(row: Row, holder: Holder, now: float, carried: Carried | None) -> Share:
    """What ROW gives to HOLDER. CARRIED: None where no router pod says."""
    base = share_of(holder, now, route="row", match=Match(row.mark, row.conditions))
    down = carried is not None and bool(carried.down & set(row.to.values()))
    return replace(
        base, ports=tuple(sorted(row.to)), strict=row.strict, mirror=row.mirror,
        health="" if carried is None else "down" if down else "up",
        traffic=None if carried is None else carried.rows.get(row.id, Traffic()),
    )  # fmt: skip


def _linked(share: Share, link: Row | None, target: str, carried: Carried | None) -> Share:
    """SHARE with what came by its share LINK."""
    if link is None:
        return share
    more = carried.rows.get(link.id, Traffic()) if carried else Traffic()
    name = names.link_name(target.partition("/")[2], share.mark)
    return replace(share, link=name, traffic=None if share.traffic is None else share.traffic + more)


def routed(
    target: str, found: Routes, holders: Mapping[SessionId, Holder], now: float, *, router: RouterSeen,
    carried: Carried | None,
) -> Line:  # fmt: skip
    """A Service behind a router."""
    links = {row.owner: row for row in found.table.rows if is_links(row)}
    rows = sorted((row for row in found.table.rows if not is_links(row)), key=lambda row: row.since)
    shares = [
        _linked(
            share_of_row(row, holders.get(SessionId(row.owner)) or lost_holder(SessionId(row.owner)), now, carried),
            links.get(row.owner), target, carried,
        )
        for row in rows
    ]  # fmt: skip
    catches_all = any(not row.conditions and not row.mirror for row in rows)
    status = EXCHANGED if catches_all else MESHED
    return Line(target, status, tuple(shares), router, carried.rest if carried else None)


def held(target: str, holder: Holder, now: float) -> Line:
    """A Service that a session has taken whole, without a router."""
    status = ABANDONED if holder.life is Life.ENDED else EXCHANGED
    return Line(target, status, (share_of(holder, now, route="direct", match=EVERYTHING),))


def with_others(line: Line, others: Sequence[Holder], now: float) -> Line:
    """LINE with the sessions that are for it and wrote nothing on it: in modes that need not, or that are starting."""
    shares, status = list(line.shares), line.status
    for holder in others:
        route, match, becomes = UNWRITTEN.get(holder.mode, ("", None, NATURAL))
        shares.append(share_of(holder, now, route=route, match=match))
        status = becomes if status == NATURAL else status
    return replace(line, status=status, shares=tuple(shares))


def status_without(target: str) -> str:
    """The status of sessions that are for TARGET where no such Service is."""
    if not target:
        return ABANDONED
    return GONE if target.startswith("service/") else CONNECTED


def in_order(lines: Sequence[Line], *, by_name: bool) -> list[Line]:
    """By status, the taken ones first, and then by name; or BY_NAME alone."""
    return sorted(lines, key=lambda line: (0 if by_name else STATUSES.index(line.status), line.target))
