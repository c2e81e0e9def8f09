"""The route table of a shared Service as its ConfigMap keeps it: whose rows, in which generation of the router."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from ktpy import __version__
from ktpy.errors import KtError
from ktpy.model.names import SessionId
from ktpy.model.ref import Object
from ktpy_router.match import Condition
from ktpy_router.table import BadTable, Port, Row, Table

FORMAT = 1
TABLE_KEY, STATE_KEY = "routes.json", "router.json"
CONTROL_PORT = 9901
LINK_PORTS = 8  # that a router binds at its start, and share links claim
LINK_TAIL = "-link"  # of the id of a link's row; a session's ends with hex digits


@dataclass(frozen=True)
class Ports:
    """Where a router listens besides the Service's own ports: control on loopback, health for the kubelet.

    LINKS are for share links, each of which has some for itself: the port is what tells its requests from others.
    """

    control: int
    health: int
    inspect: int
    web: int
    links: tuple[int, ...] = ()


def spare_ports(taken: Sequence[int]) -> Ports:
    """Some that the Service's pods do not have; from 9901 on, or what is next."""
    most = CONTROL_PORT + 4 + LINK_PORTS + len(taken)
    control, inspect, web, health, *links = [port for port in range(CONTROL_PORT, most) if port not in taken]
    return Ports(control, health, inspect, web, tuple(links[:LINK_PORTS]))


@dataclass(frozen=True)
class Routes:
    """The TABLE of ROUTER, which is one generation: a Service that is meshed again later has another.

    OPENING: the session that sets the router up and has no row yet; others who leave meanwhile do not close it.
    CLOSING: the session that struck the last row and is giving the Service back; nobody may join any more.
    KTPY: the version that set the router up, and so the version of its image.
    """

    router: SessionId
    ktpy: str
    ports: Ports
    table: Table
    closing: str = ""
    opening: str = ""

    @property
    def sessions(self) -> tuple[SessionId, ...]:
        """Whose rows there are."""
        return tuple(dict.fromkeys(SessionId(row.owner) for row in self.table.rows))


def first_table(defaults: Mapping[int, str], links: Sequence[int] = ()) -> Table:
    """Everything to the originals: listening port → stuntman's address. LINKS lead somewhere until they are claimed."""
    somewhere = dict.fromkeys(links, defaults[min(defaults)]) if links else {}
    to = sorted({**somewhere, **defaults}.items())
    return Table(1, tuple(Port(listen, default, raw=True) for listen, default in to))


def _with_rows(routes: Routes, rows: Sequence[Row]) -> Routes:
    """The next version. A port that no row takes is not looked into: it may speak what it likes."""
    table = routes.table
    ports = tuple(replace(port, raw=not any(port.listen in row.to for row in rows)) for port in table.ports)
    return replace(routes, table=Table(table.version + 1, ports, tuple(rows)))


def with_row(routes: Routes, row: Row) -> Routes:
    """ROW put in, or put in the place of the row with its id; one that is new counts as younger than all others."""
    at = {old.id: number for number, old in enumerate(routes.table.rows)}.get(row.id)
    rows = list(routes.table.rows)
    if at is None:
        rows.append(replace(row, since=routes.table.version))
    elif replace(row, since=rows[at].since) == rows[at]:
        return routes
    else:
        rows[at] = replace(row, since=rows[at].since)
    opening = "" if routes.opening == row.owner else routes.opening
    return replace(_with_rows(routes, rows), opening=opening)


def is_links(row: Row) -> bool:
    """Whether ROW is a share link's, beside the row that has the mark."""
    return row.id.endswith(LINK_TAIL)


def with_link(routes: Routes, row: Row, add: Sequence[tuple[bytes, bytes]]) -> Routes | None:
    """ROUTES with the share link of ROW: all requests of link ports of its own go where ROW's do, with the headers ADD.

    What the laptop does not answer goes where ROW's would. None where too few ports are left.
    """
    table = routes.table
    claimed = claims(routes, row)
    if claimed is None:
        return None
    default = {port.listen: port.default for port in table.ports}
    moved = {link: default[listen] for listen, link in claimed.items()}
    ports = tuple(replace(port, default=moved.get(port.listen, port.default)) for port in table.ports)
    to = {claimed[listen]: address for listen, address in row.to.items()}
    link = replace(row, id=f"{row.id}{LINK_TAIL}", conditions=(), to=to, add=tuple(add))
    return with_row(replace(routes, table=Table(table.version, ports, table.rows)), link)


def free_links(routes: Routes) -> list[int]:
    """The link ports that nobody has claimed."""
    taken = {port for row in routes.table.rows for port in row.to}
    return [port for port in routes.ports.links if port not in taken]


def claims(routes: Routes, row: Row) -> Mapping[int, int] | None:
    """The link port for each listening port of ROW: those that its link has, else free ones; None: too few are left."""
    mine = sorted(port for other in routes.table.rows if other.id == f"{row.id}{LINK_TAIL}" for port in other.to)
    free = mine or free_links(routes)
    return dict(zip(sorted(row.to), free, strict=False)) if len(free) >= len(row.to) else None


def without(routes: Routes, *sessions: str) -> Routes:
    """No row of SESSIONS; the same when there is none."""
    rows = [row for row in routes.table.rows if row.owner not in sessions]
    left = routes if len(rows) == len(routes.table.rows) else _with_rows(routes, rows)
    return replace(left, opening="") if routes.opening in sessions else left


def renewed(routes: Routes) -> Routes:
    """The same rows as the next version: a late write meets another version than it read."""
    return _with_rows(routes, routes.table.rows)


def struck(routes: Routes, *sessions: str) -> Routes:
    """Without the rows of SESSIONS, and closed by the first of them in the same write where no row is left."""
    left = without(routes, *sessions)
    return left if left.table.rows or left.closing or left.opening else replace(left, closing=sessions[0])


def same_requests(routes: Routes, conditions: Sequence[Condition], listens: Sequence[int]) -> Row | None:
    """The row that asks for exactly the same requests on one of the ports: only one of the two could have them."""
    for row in routes.table.rows:
        if frozenset(row.conditions) == frozenset(conditions) and set(listens) & set(row.to):
            return row
    return None


def written(routes: Routes, thing: Object) -> Object:
    """The ConfigMap THING with ROUTES in it."""
    new = copy.deepcopy(thing)
    ports = routes.ports
    state = {
        "v": FORMAT,
        "ktpy": routes.ktpy,
        "router": routes.router,
        "ports": asdict(ports),
        "closing": routes.closing,
        "opening": routes.opening,
    }
    new["data"] = {**(thing.get("data") or {}), TABLE_KEY: routes.table.to_json(), STATE_KEY: json.dumps(state)}
    return new


def read(thing: Object) -> Routes:
    """What the ConfigMap THING holds, nothing of it taken on trust.

    Errors: KtError where a newer ktpy wrote it, or it is no table.
    """
    name, data = f"configmap/{thing['metadata']['name']}", thing.get("data") or {}
    try:
        state = json.loads(data[STATE_KEY])
        if state["v"] > FORMAT:
            raise _newer(name, str(state["ktpy"]))
        return Routes(
            SessionId(_text(state["router"])), _text(state["ktpy"]), _ports(state["ports"]),
            Table.from_json(data[TABLE_KEY]), _text(state.get("closing", "")),
            _text(state.get("opening", "")),
        )  # fmt: skip
    except (KeyError, ValueError, TypeError, BadTable) as error:
        raise KtError(
            f"{name} holds no route table that this ktpy can read: {error}.",
            f"kubectl get {name} -o yaml      and, if it is nobody's any more, ktpy recover",
        ) from error


def _ports(raw: Any) -> Ports:
    """A router that an older ktpy set up has none for links."""
    control, health, inspect, web = (_port(raw[key]) for key in ("control", "health", "inspect", "web"))
    return Ports(control, health, inspect, web, tuple(map(_port, raw.get("links", ()))))


def _newer(name: str, theirs: str) -> KtError:
    return KtError(
        f"{name} was written by ktpy {theirs}, which is newer than this ktpy {__version__}.",
        f"pip install ktpy=={theirs}",
    )


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no text")
    return value


def _port(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 65536:
        raise ValueError(f"{value!r} is no port")
    return value
