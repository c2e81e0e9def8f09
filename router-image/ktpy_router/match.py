"""Which row a request goes to: conditions, and their order."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from ktpy_router.request import (
    Request,
    baggage_values,
    cookie_values,
    header_values,
    host_of,
    path_of,
    query_values,
)

if TYPE_CHECKING:
    from ktpy_router.table import Row

PLACES = ("header", "cookie", "query", "path", "host", "baggage")
NAMELESS = ("path", "host")
WAYS = ("exact", "prefix", "regex")

_HEADER_OF = {"cookie": b"cookie", "baggage": b"baggage"}


class _Pattern(Protocol):
    def fullmatch(self, text: bytes, /) -> object | None: ...


def compiled(pattern: str) -> _Pattern:
    """An expression that takes linear time, whatever it is matched with (RE2's syntax: no look-around, no
    back-references).

    Errors: ValueError with RE2's reason. Where RE2 is not installed, which is no router, the pattern's syntax is
    checked by Python's own `re`.
    """
    try:
        import re2
    except ImportError:
        try:
            return re.compile(pattern.encode())
        except re.error as error:
            raise ValueError(str(error)) from error
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.log_errors = False
    options.max_mem = 1 << 20
    try:
        found: _Pattern = re2.compile(pattern.encode(), options)
    except re2.error as error:
        raise ValueError(_words(error)) from error
    return found


def _words(error: Exception) -> str:
    said = error.args[0] if error.args else error
    return said.decode(errors="replace") if isinstance(said, bytes) else str(said)


@dataclass(frozen=True)
class Condition:
    """PLACE is one of PLACES, WAY one of WAYS; NAME is empty for path and host, and in lower case for a header."""

    place: str
    name: str
    way: str
    value: str

    def values(self, request: Request) -> Iterator[bytes]:
        """What of the request is compared."""
        name = self.name.encode("latin-1", "replace")
        if self.place == "header":
            return header_values(request, name)
        if self.place == "cookie":
            return cookie_values(request, name)
        if self.place == "query":
            return query_values(request, self.name.encode())
        if self.place == "baggage":
            return baggage_values(request, name)
        return iter((path_of(request) if self.place == "path" else host_of(request),))

    @property
    def header(self) -> bytes | None:
        """The header without which this cannot hold; None when it may hold without any."""
        return self.name.encode("latin-1", "replace") if self.place == "header" else _HEADER_OF.get(self.place)

    def test(self) -> Callable[[Request], bool]:
        """Made once for a table; any of several values is enough."""
        value = self.value.encode()
        if self.way == "exact":
            return lambda request: value in self.values(request)
        if self.way == "prefix":
            return lambda request: any(found.startswith(value) for found in self.values(request))
        pattern = compiled(self.value)
        return lambda request: any(pattern.fullmatch(found) is not None for found in self.values(request))


def specificity(conditions: Sequence[Condition]) -> tuple[int, int, int]:
    """Larger goes first: more conditions, then more exact ones, then longer values. A catch-all is the least."""
    exact = sum(condition.way == "exact" for condition in conditions)
    return len(conditions), exact, sum(len(c.value) for c in conditions if c.way != "regex")


class Chooser:
    """The rows of one listening port, compiled. Immutable: a change of routes makes a new one.

    `names` are lower-case header names; when `by_name` holds and none of them is in a head, no row matches it, which
    is found out without parsing the head. `simple` is (name, value → row) when all that rows ask is one value of the
    same header.
    """

    def __init__(self, rows: Sequence[Row]) -> None:
        ordered = sorted(rows, key=lambda row: (*(-part for part in specificity(row.conditions)), row.since, row.id))
        self.rows: tuple[Row, ...] = tuple(row for row in ordered if not row.mirror)
        self.catch_all: Row | None = next((row for row in self.rows if not row.conditions), None)
        self._tests = [(row, _all(row)) for row in self.rows]
        self._mirrors = [(row, _all(row)) for row in ordered if row.mirror]
        self.has_mirrors = bool(self._mirrors)
        needed = [[c.header for c in row.conditions if c.header] for row in ordered]
        self.by_name = all(needed)
        self.names: tuple[bytes, ...] = tuple(dict.fromkeys(names[0] for names in needed if names))
        self.simple = None if self.has_mirrors else _simple(self.rows)
        self.only_one = not any(row.conditions for row in self.rows)
        """Every request of this port goes to the same upstream."""

    def choose(self, request: Request) -> Row | None:
        """The first row that matches; None: the original answers."""
        return next((row for row, test in self._tests if test(request)), None)

    def mirrors(self, request: Request) -> tuple[Row, ...]:
        """The rows that get a copy."""
        return tuple(row for row, test in self._mirrors if test(request))


def _all(row: Row) -> Callable[[Request], bool]:
    tests = [condition.test() for condition in row.conditions]
    if len(tests) == 1:
        return tests[0]
    return lambda request: all(test(request) for test in tests)


def _simple(rows: Sequence[Row]) -> tuple[bytes, dict[bytes, Row]] | None:
    found: dict[bytes, Row] = {}
    names: set[bytes | None] = set()
    for row in rows:
        if len(row.conditions) != 1 or row.conditions[0].place != "header" or row.conditions[0].way != "exact":
            return None
        names.add(row.conditions[0].header)
        found.setdefault(row.conditions[0].value.encode(), row)
    name = next(iter(names), None)
    return (name, found) if len(names) == 1 and name else None
