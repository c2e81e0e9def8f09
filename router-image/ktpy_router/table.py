"""The route table: who gets which requests. Frozen values, read from JSON with nothing taken on trust."""

from __future__ import annotations

import ipaddress
import json
import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ktpy_router.match import NAMELESS, PLACES, WAYS, Chooser, Condition, compiled

FORMAT = 1
MOST_ROWS = 1000
MOST_TEXT = 4096
MOST_HOLD_SECONDS = 600.0

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 section 5.6.2
_VALUE = re.compile(r"[^\x00-\x1f\x7f]*")
_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_.])?")
_FRAMING = ("host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer", "keep-alive")


class BadTable(ValueError):
    """The table is not used; the text is a sentence for whoever sent it."""


@dataclass(frozen=True)
class Row:
    """Requests that meet all CONDITIONS go TO an address, by the listening port they came in at.

    OWNER is the session that put it in. MARK is its name for people and for the `ktpy-fallback` header. SINCE orders
    rows that are equally specific: the older first. HOLD is in seconds. PULSE is where the laptop itself answers,
    whatever its programs do; empty where nothing does.
    """

    id: str
    mark: str
    owner: str
    since: int
    conditions: tuple[Condition, ...]
    to: Mapping[int, str]
    strict: bool = False
    hold: float = 0.0
    add: tuple[tuple[bytes, bytes], ...] = ()
    mirror: bool = False
    inspect: bool = False
    pulse: str = ""


@dataclass(frozen=True)
class Port:
    """A listening port, where its traffic goes that no row takes, and whether it is declared to be no HTTP."""

    listen: int
    default: str
    raw: bool = False


@dataclass(frozen=True)
class Table:
    """A newer one has a greater VERSION."""

    version: int
    ports: tuple[Port, ...]
    rows: tuple[Row, ...] = ()
    _choosers: dict[int, Chooser] = field(default_factory=dict, compare=False, repr=False)

    def chooser(self, listen: int) -> Chooser:
        """The rows that take traffic of that port, compiled once."""
        if listen not in self._choosers:
            self._choosers[listen] = Chooser([row for row in self.rows if listen in row.to])
        return self._choosers[listen]

    def without(self, ids: Collection[str]) -> Table:
        """The same version with no row of these IDS."""
        rows = tuple(row for row in self.rows if row.id not in ids)
        return self if len(rows) == len(self.rows) else Table(self.version, self.ports, rows)

    @staticmethod
    def from_json(text: str | bytes) -> Table:
        """Errors: BadTable, with the place and what is wrong there."""
        try:
            raw = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise BadTable(f"The table is not JSON: {error}.") from error
        return _table(raw)

    def to_json(self) -> str:
        """One line, always the same for the same table."""
        table = {
            "format": FORMAT,
            "version": self.version,
            "ports": [{"listen": p.listen, "default": p.default, "raw": p.raw} for p in self.ports],
            "rows": [_row_to_raw(row) for row in self.rows],
        }
        return json.dumps(table, separators=(",", ":"), sort_keys=True)


def address(text: object, where: str) -> str:
    """`10.0.0.1:80`, `[fd00::1]:80` or `name:80`, unchanged.

    Errors: BadTable for anything else.
    """
    host, colon, port = text.rpartition(":") if isinstance(text, str) else ("", "", "")
    if colon and port.isascii() and port.isdigit() and 0 < int(port[:6]) < 65536 and _is_host(host):
        return str(text)
    raise BadTable(f"{where}: {_shown(text)} is no address; it should look like 10.0.0.1:80, [fd00::1]:80 or name:80.")


def split(address: str) -> tuple[str, int]:
    """Host and port of an address that `address` let through."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def _is_host(host: str) -> bool:
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else ""
    try:
        ipaddress.IPv6Address(bare) if bare else ipaddress.IPv4Address(host)
    except ValueError:
        # A name that looks like numbers is a mistyped address.
        return not bare and _HOST.fullmatch(host) is not None and not host.replace(".", "").isdigit()
    return True


def _table(raw: Any) -> Table:
    raw = _object(raw, "The table", {"format", "version", "ports"}, {"rows"})
    if raw["format"] != FORMAT:
        raise BadTable(f"The table has format {_shown(raw['format'])}; this router reads format {FORMAT}. Upgrade it.")
    ports = tuple(_port(port, f"ports[{i}]") for i, port in enumerate(_list(raw["ports"], "ports")))
    if len({port.listen for port in ports}) != len(ports):
        raise BadTable("ports: the same listening port is there twice.")
    if not ports:
        raise BadTable("ports: there is none.")
    rows = _list(raw.get("rows", []), "rows")
    if len(rows) > MOST_ROWS:
        raise BadTable(f"rows: {len(rows)} of them, and {MOST_ROWS} are the most.")
    listens = {port.listen for port in ports}
    made = tuple(_row(row, f"rows[{i}]", listens) for i, row in enumerate(rows))
    if len({row.id for row in made}) != len(made):
        raise BadTable("rows: the same id is there twice.")
    return Table(_whole(raw["version"], "version", 0, 2**63), ports, made)


def _port(raw: Any, where: str) -> Port:
    raw = _object(raw, where, {"listen", "default"}, {"raw"})
    listen = _whole(raw["listen"], f"{where}.listen", 1, 65536)
    return Port(listen, address(raw["default"], f"{where}.default"), _bool(raw.get("raw", False), f"{where}.raw"))


def _row(raw: Any, where: str, listens: set[int]) -> Row:
    optional = {"strict", "hold", "add", "mirror", "inspect", "pulse"}
    raw = _object(raw, where, {"id", "mark", "owner", "since", "match", "to"}, optional)
    to: dict[int, str] = {}
    for key, value in _object(raw["to"], f"{where}.to").items():
        if not key.isascii() or not key.isdigit() or int(key[:6]) not in listens:
            raise BadTable(f"{where}.to: {_shown(key)} is none of the listening ports.")
        to[int(key)] = address(value, f"{where}.to.{key}")
    conditions = tuple(
        _condition(c, f"{where}.match[{i}]") for i, c in enumerate(_list(raw["match"], f"{where}.match"))
    )
    flags = {name: _bool(raw.get(name, False), f"{where}.{name}") for name in ("strict", "mirror", "inspect")}
    return Row(
        id=_text(raw["id"], f"{where}.id", least=1),
        mark=_text(raw["mark"], f"{where}.mark"),
        owner=_text(raw["owner"], f"{where}.owner"),
        since=_whole(raw["since"], f"{where}.since", 0, 2**63),
        conditions=conditions,
        to=to,
        hold=_seconds(raw.get("hold", 0), f"{where}.hold"),
        add=tuple(_header(k, v, f"{where}.add") for k, v in _object(raw.get("add", {}), f"{where}.add").items()),
        pulse=address(raw["pulse"], f"{where}.pulse") if "pulse" in raw else "",
        **flags,
    )


def _condition(raw: Any, where: str) -> Condition:
    raw = _object(raw, where, {"in"}, {"name", *WAYS})
    place, ways = raw["in"], [way for way in WAYS if way in raw]
    if place not in PLACES:
        raise BadTable(f"{where}.in: {_shown(place)} is none of {', '.join(PLACES)}.")
    if len(ways) != 1:
        raise BadTable(f"{where}: exactly one of {', '.join(WAYS)} is needed.")
    if (place in NAMELESS) == ("name" in raw):
        raise BadTable(f"{where}: {place} {'has no' if place in NAMELESS else 'needs a'} name.")
    name = _text(raw.get("name", ""), f"{where}.name", least=0 if place in NAMELESS else 1)
    if place == "header":
        name = name.lower()
    if place in ("header", "cookie", "baggage") and not _TOKEN.fullmatch(name):
        raise BadTable(f"{where}.name: {_shown(name)} is no name of a {place}.")
    value = _text(raw[ways[0]], f"{where}.{ways[0]}")
    if place == "host" and ways[0] != "regex":
        value = value.lower()  # RFC 9110 section 4.2.3
    if ways[0] == "regex":
        try:
            compiled(value)
        except ValueError as error:
            raise BadTable(f"{where}.regex: {_shown(value)}: {error}.") from error
    return Condition(place, name, ways[0], value)


def may_be_added(name: str) -> bool:
    """Whether a row may give requests a header of that name: one that frames a message is not its affair."""
    return _TOKEN.fullmatch(name) is not None and name.lower() not in _FRAMING


def _header(name: str, value: Any, where: str) -> tuple[bytes, bytes]:
    text = _text(value, f"{where}.{name}")
    if not may_be_added(name) or not _VALUE.fullmatch(text):
        raise BadTable(f"{where}: {_shown(name)} with {_shown(text)} is no header that may be added.")
    return name.lower().encode(), text.strip().encode()


def _row_to_raw(row: Row) -> dict[str, object]:
    raw: dict[str, object] = {
        "id": row.id,
        "mark": row.mark,
        "owner": row.owner,
        "since": row.since,
        "match": [{"in": c.place, **({"name": c.name} if c.name else {}), c.way: c.value} for c in row.conditions],
        "to": {str(listen): to for listen, to in row.to.items()},
    }
    more: dict[str, object] = {
        "strict": row.strict,
        "hold": row.hold,
        "mirror": row.mirror,
        "inspect": row.inspect,
        "pulse": row.pulse,
    }
    raw |= {name: value for name, value in more.items() if value}
    if row.add:
        raw["add"] = {name.decode(): value.decode() for name, value in row.add}
    return raw


def _object(raw: Any, where: str, needed: set[str] | None = None, more: set[str] | None = None) -> dict[str, Any]:
    if not isinstance(raw, dict):
        raise BadTable(f"{where}: an object is needed, not {_shown(raw)}.")
    if needed is not None:
        if missing := sorted(needed - raw.keys()):
            raise BadTable(f"{where}: {', '.join(missing)} is missing.")
        if unknown := sorted(raw.keys() - needed - (more or set())):
            raise BadTable(f"{where}: {_shown(unknown[0])} is not known to this router.")
    return raw


def _list(raw: Any, where: str) -> Sequence[Any]:
    if not isinstance(raw, list):
        raise BadTable(f"{where}: a list is needed, not {_shown(raw)}.")
    return raw


def _text(raw: Any, where: str, *, least: int = 0) -> str:
    if not isinstance(raw, str) or not least <= len(raw) <= MOST_TEXT or not raw.isprintable():
        raise BadTable(f"{where}: {_shown(raw)} is no text of {least} to {MOST_TEXT} printable characters.")
    return raw


def _whole(raw: Any, where: str, least: int, below: int) -> int:
    if not isinstance(raw, int) or isinstance(raw, bool) or not least <= raw < below:
        raise BadTable(f"{where}: {_shown(raw)} is no whole number from {least} to {below - 1}.")
    return raw


def _seconds(raw: Any, where: str) -> float:
    if isinstance(raw, bool) or not isinstance(raw, int | float) or not math.isfinite(raw):
        raise BadTable(f"{where}: {_shown(raw)} is no number of seconds.")
    if not 0 <= raw <= MOST_HOLD_SECONDS:
        raise BadTable(f"{where}: {_shown(raw)} is not from 0 to {MOST_HOLD_SECONDS:.0f} seconds.")
    return float(raw)


def _bool(raw: Any, where: str) -> bool:
    if not isinstance(raw, bool):
        raise BadTable(f"{where}: true or false is needed, not {_shown(raw)}.")
    return raw


def _shown(raw: object) -> str:
    text = json.dumps(raw, default=str)
    return text if len(text) <= 60 else text[:57] + "..."
