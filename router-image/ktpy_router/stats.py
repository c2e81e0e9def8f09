"""Counters of rows and ports: plain numbers while serving, summed over workers, shown as JSON and for Prometheus."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

BUCKETS = 40
LAST_BUCKET = BUCKETS - 1
"""Holds everything slower than 2^38 µs, three days."""

_SHOWN_BUCKETS = range(6, 33)  # 64 µs to 71 min: Prometheus asks for one line each

Report = dict[str, Any]
"""What one worker, or the sum of several, has counted: {"rows": {id: {...}}, "ports": {listen: {...}}}."""


class RowStats:
    """Of one row, or of a port's unmatched traffic. The protocols add to the attributes themselves.

    HISTOGRAM counts requests by int(microseconds).bit_length() from the complete request to the end of its answer,
    capped at LAST_BUCKET: bucket i holds what took less than 2^i µs and is in no lower one.
    """

    __slots__ = ("bytes_in", "bytes_out", "errors", "fallbacks", "histogram", "open", "requests")

    def __init__(self) -> None:
        self.requests = 0
        self.errors = 0
        self.fallbacks = 0
        self.bytes_in = 0
        self.bytes_out = 0
        self.open = 0
        self.histogram = [0] * BUCKETS

    def took(self, seconds: float) -> None:
        """Count a request by how long it took."""
        self.histogram[min(int(seconds * 1e6).bit_length(), LAST_BUCKET)] += 1

    def to_dict(self) -> dict[str, Any]:
        """As in JSON."""
        return {name: getattr(self, name) for name in self.__slots__}


class PortStats:
    """Of one listening port: what its clients turned out to speak, and how many requests were refused with a 400."""

    __slots__ = ("connections", "h2", "http1", "open_connections", "raw", "refused", "tls")

    def __init__(self) -> None:
        self.connections = 0
        self.open_connections = 0
        self.http1 = 0
        self.h2 = 0
        self.raw = 0
        self.tls = 0
        self.refused = 0

    def to_dict(self) -> dict[str, Any]:
        """As in JSON."""
        return {name: getattr(self, name) for name in self.__slots__}


def report(
    rows: Mapping[str, RowStats], ports: Mapping[int, tuple[PortStats, RowStats]], upstreams: Mapping[str, bool]
) -> Report:
    """One worker's counters; a port's are its connections, and its `default` the traffic that no row took.

    UPSTREAMS are by name, and whether each is taken for down.
    """
    return {
        "rows": {name: row.to_dict() for name, row in rows.items()},
        "ports": {str(port): {**of.to_dict(), "default": rest.to_dict()} for port, (of, rest) in ports.items()},
        "down": {name: int(down) for name, down in upstreams.items()},
    }


def merge(reports: Iterable[Report]) -> Report:
    """The sum. Of `down` it is the number of workers that take an upstream for down."""
    total: Report = {"rows": {}, "ports": {}, "down": {}}
    for each in reports:
        total = _added(total, each)
    return total


def _added(one: Any, other: Any) -> Any:
    if isinstance(one, dict):
        return {
            key: _added(one[key], other[key]) if key in one and key in other else one.get(key, other.get(key))
            for key in {**one, **other}
        }
    if isinstance(one, list):
        return [a + b for a, b in zip(one, other, strict=True)]
    return one + other


_ROW = {
    "requests": ("counter", "Requests, gRPC calls and raw connections."),
    "errors": ("counter", "Of these, the ones that the router itself had to answer, or to break off."),
    "fallbacks": ("counter", "Of these, the ones that the original answered in place of the row."),
    "bytes_in": ("counter", "Bytes from clients."),
    "bytes_out": ("counter", "Bytes to clients."),
    "open": ("gauge", "Requests, calls and raw connections that run now."),
}
_PORT = {
    "connections": ("counter", "Connections accepted."),
    "open_connections": ("gauge", "Connections open now."),
    "http1": ("counter", "Connections that spoke HTTP/1."),
    "h2": ("counter", "Connections that spoke HTTP/2 without TLS."),
    "raw": ("counter", "Connections that spoke neither."),
    "tls": ("counter", "Connections that spoke TLS, whose requests cannot be matched."),
    "refused": ("counter", "Requests refused with a 400."),
}


def prometheus(workers: Mapping[int, Report], marks: Mapping[str, str], version: int) -> str:
    """The text exposition format 0.0.4. Each worker has its own label: one that starts anew then counts as a reset.

    MARKS are the rows' names for people, by id.
    """
    lines = [
        *_family("table_version", "gauge", "Version of the route table in force."),
        f"ktpy_router_table_version {version}",
        *_family("workers", "gauge", "Workers that answer."),
        f"ktpy_router_workers {len(workers)}",
    ]
    rows = [
        (_labels(worker=worker, **names), stats)
        for worker, each in workers.items()
        for names, stats in _row_series(each, marks)
    ]
    ports = [(_labels(worker=w, port=p), stats) for w, each in workers.items() for p, stats in each["ports"].items()]
    for families, series in ((_ROW, rows), (_PORT, ports)):
        for field, (kind, text) in families.items():
            name = f"{'port_' if families is _PORT else ''}{field}{'_total' if kind == 'counter' else ''}"
            lines += _family(name, kind, text)
            lines += [f"ktpy_router_{name}{{{labels}}} {stats[field]}" for labels, stats in series]
    lines += _family("seconds", "histogram", "From the complete request to the end of its answer; the sum is a guess.")
    lines += [line for labels, stats in rows for line in _histogram(labels, stats["histogram"])]
    lines += _family("upstream_down", "gauge", "1 while the breaker is open: the upstream is not tried.")
    for worker, each in workers.items():
        lines += [
            f"ktpy_router_upstream_down{{{_labels(worker=worker, upstream=u)}}} {n}" for u, n in each["down"].items()
        ]
    return "\n".join(lines) + "\n"


def _row_series(each: Report, marks: Mapping[str, str]) -> Iterable[tuple[dict[str, str], dict[str, Any]]]:
    """Each row's, then each port's unmatched traffic under the row name that no row can have."""
    for name, stats in each["rows"].items():
        yield {"row": name, "mark": marks.get(name, ""), "port": ""}, stats
    for port, stats in each["ports"].items():
        yield {"row": "", "mark": "", "port": port}, stats["default"]


def _histogram(labels: str, counts: list[int]) -> Iterable[str]:
    name = "ktpy_router_seconds"
    for i in _SHOWN_BUCKETS:
        yield f'{name}_bucket{{{labels},le="{2**i / 1e6:g}"}} {sum(counts[: i + 1])}'
    yield f'{name}_bucket{{{labels},le="+Inf"}} {sum(counts)}'
    # Nobody adds up durations on the way of a request: take each bucket's middle.
    yield f"{name}_sum{{{labels}}} {sum(n * 0.75 * 2**i for i, n in enumerate(counts)) / 1e6:g}"
    yield f"{name}_count{{{labels}}} {sum(counts)}"


def _family(name: str, kind: str, text: str) -> tuple[str, str]:
    return f"# HELP ktpy_router_{name} {text}", f"# TYPE ktpy_router_{name} {kind}"


def _labels(**labels: object) -> str:
    return ",".join(f'{name}="{_escaped(str(value))}"' for name, value in labels.items())


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
