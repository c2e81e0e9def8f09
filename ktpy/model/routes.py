"""The route table of a shared Service as its ConfigMap keeps it: whose rows, in which generation of the router."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
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


@dataclass(frozen=True)
class Ports:
    """Where a router listens besides the Service's own ports: control on loopback, health for the kubelet."""

    control: int
    health: int
    inspect: int
    web: int


def spare_ports(taken: Sequence[int]) -> Ports:
    """Four that the Service's pods do not have; from 9901 on, or what is next."""
    free = [port for port in range(CONTROL_PORT, CONTROL_PORT + 4 + len(taken)) if port not in taken]
    control, inspect, web, health = free[:4]
    return Ports(control, health, inspect, web)


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


def first_table(defaults: Mapping[int, str]) -> Table:
    """Everything to the originals: listening port → stuntman's address."""
    return Table(1, tuple(Port(listen, default, raw=True) for listen, default in sorted(defaults.items())))


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
        "ports": {"control": ports.control, "health": ports.health, "inspect": ports.inspect, "web": ports.web},
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
        ports = state["ports"]
        return Routes(
            SessionId(_text(state["router"])), _text(state["ktpy"]),
            Ports(*(_port(ports[key]) for key in ("control", "health", "inspect", "web"))),
            Table.from_json(data[TABLE_KEY]), _text(state.get("closing", "")),
            _text(state.get("opening", "")),
        )  # fmt: skip
    except (KeyError, ValueError, TypeError, BadTable) as error:
        raise KtError(
            f"{name} holds no route table that this ktpy can read: {error}.",
            f"kubectl get {name} -o yaml      and, if it is nobody's any more, ktpy recover",
        ) from error


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
