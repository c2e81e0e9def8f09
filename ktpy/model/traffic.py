"""What a router says that it carries: counters of its rows, of what no row took, and which upstreams are down."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Traffic:
    """REQUESTS, of which FALLBACKS were answered by the originals and ERRORS by nobody. OPEN: those that run now."""

    requests: int = 0
    fallbacks: int = 0
    errors: int = 0
    open: int = 0

    def __add__(self, other: Traffic) -> Traffic:
        return Traffic(
            self.requests + other.requests, self.fallbacks + other.fallbacks, self.errors + other.errors,
            self.open + other.open,
        )  # fmt: skip

    def __str__(self) -> str:
        """`1204 (3 open, 1 fell back, 2 failed)`; what is zero is left out."""
        rest = ((self.open, "open"), (self.fallbacks, "fell back"), (self.errors, "failed"))
        said = ", ".join(f"{number} {what}" for number, what in rest if number)
        return f"{self.requests} ({said})" if said else str(self.requests)


@dataclass(frozen=True)
class Carried:
    """ROWS by id; REST is what no row took; DOWN are upstreams, by address, that a worker takes for down."""

    rows: Mapping[str, Traffic] = field(default_factory=dict)
    rest: Traffic = Traffic()
    down: frozenset[str] = frozenset()


def read(text: str) -> Carried:
    """The answer of one router pod to GET /stats. Errors: ValueError for what is no such answer."""
    try:
        raw = json.loads(text)
        rows = {str(row): _traffic(counted) for row, counted in raw.get("rows", {}).items()}
        rest = [_traffic(port.get("default", {})) for port in raw.get("ports", {}).values()]
        down = frozenset(str(name) for name, workers in raw.get("down", {}).items() if workers)
    except (AttributeError, TypeError) as error:
        raise ValueError("these are no counters of a router") from error
    return Carried(rows, sum(rest, Traffic()), down)


def _traffic(raw: Mapping[str, Any]) -> Traffic:
    return Traffic(*(int(raw.get(name, 0)) for name in ("requests", "fallbacks", "errors", "open")))


def total(parts: Iterable[Carried]) -> Carried:
    """The sum over pods; what one of them takes for down is down."""
    rows: dict[str, Traffic] = {}
    rest, down = Traffic(), frozenset[str]()
    for part in parts:
        for row, counted in part.rows.items():
            rows[row] = rows.get(row, Traffic()) + counted
        rest, down = rest + part.rest, down | part.down
    return Carried(rows, rest, down)
