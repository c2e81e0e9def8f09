"""A Relay without sockets: a world that notes what is wished, upstreams as names, and frames as readable tuples."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from hpack import Decoder, Encoder

from ktpy_router.breaker import Breaker
from ktpy_router.config import Config
from ktpy_router.h2 import frames
from ktpy_router.h2.frames import ACK, DATA, END_HEADERS, END_STREAM, HEADERS, SETTINGS, WINDOW_UPDATE
from ktpy_router.h2.link import Link
from ktpy_router.h2.mirror import Copy
from ktpy_router.h2.state import Relay
from ktpy_router.h2.stream import Stream
from ktpy_router.stats import RowStats
from ktpy_router.table import Row, Table

LISTEN = 8080
GET = ((":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "shop"))
POST = ((":method", "POST"), *GET[1:])
GRPC = (*POST, ("content-type", "application/grpc"))
ANA = (*GET, ("version", "ana"))
OK = ((":status", "200"),)


class Frame(NamedTuple):
    kind: int
    flags: int
    stream: int
    payload: bytes


def row(mark: str = "ana", **more: Any) -> dict[str, Any]:
    match = [{"in": "header", "name": "version", "exact": mark}]
    return {
        "id": mark,
        "mark": mark,
        "owner": "o",
        "since": 1,
        "match": match,
        "to": {"8080": f"10.0.0.9:{len(mark)}"},
    } | more


class FakeUpstream:
    """What the machine asks of an upstream."""

    def __init__(self, name: str, closes_to_open: int = 3) -> None:
        self.name = name
        self.breaker = Breaker(closes_to_open)
        self.worked_times = 0

    @property
    def is_open(self) -> bool:
        return self.breaker.is_open

    def closed_early(self) -> None:
        self.breaker.closed_early()

    def worked(self) -> None:
        self.worked_times += 1
        self.breaker.worked()


class FakePort:
    """One listening port, and the counters of its rows."""

    def __init__(self, rows: Sequence[dict[str, Any]]) -> None:
        self.default = FakeUpstream("10.0.0.1:80")
        self.default_stats = RowStats()
        self._upstreams: dict[str, FakeUpstream] = {}
        self._stats: dict[str, RowStats] = {}
        self.set(rows)

    def set(self, rows: Sequence[dict[str, Any]]) -> None:
        ports = [{"listen": LISTEN, "default": self.default.name}]
        self.table = Table.from_json(json.dumps({"format": 1, "version": 1, "ports": ports, "rows": list(rows)}))
        self.chooser = self.table.chooser(LISTEN)

    def upstream(self, row: Row | None) -> FakeUpstream:
        name = row.to[LISTEN] if row else ""
        return self._upstreams.setdefault(name, FakeUpstream(name)) if row else self.default

    def row_stats(self, row: Row | None) -> RowStats:
        return self._stats.setdefault(row.id, RowStats()) if row else self.default_stats


class Peer:
    """The client, or an upstream: writes frames as a plain implementation would, and reads what it is sent."""

    def __init__(self) -> None:
        self.encoder = Encoder()
        self.decoder = Decoder()
        self.seen: list[Frame] = []
        self._left = b""

    def block(self, fields: Sequence[tuple[str, str]], *, huffman: bool = True) -> bytes:
        return bytes(self.encoder.encode(fields, huffman=huffman))

    def head(self, stream: int, fields: Sequence[tuple[str, str]], *, end: bool = True) -> bytes:
        return frames.headers(stream, self.block(fields), end=end)

    def stateless(self) -> None:
        """As after SETTINGS_HEADER_TABLE_SIZE 0."""
        self.encoder.header_table_size = 0

    def take(self, data: bytes) -> list[Frame]:
        """The frames in DATA, the connection's preface apart."""
        data = self._left + data
        data = data.removeprefix(frames.PREFACE)
        new = [Frame(*found) for found in frames.read(data)]
        self._left = data[sum(frames.FRAME_HEAD + len(frame.payload) for frame in new) :]
        self.seen += new
        return new

    def fields(self, frame: Frame) -> list[tuple[str, str]]:
        return [(str(name), str(value)) for name, value in self.decoder.decode(frame.payload)]


class Bench:
    """A relay, its client, and its upstreams by name; `now` is its clock."""

    def __init__(
        self, rows: Sequence[dict[str, Any]] = (), config: Config | None = None, *, forwarded: bytes = b""
    ) -> None:
        self.port = FakePort(rows)
        self.client = Peer()
        self.dialled: list[Link] = []
        self.held: list[tuple[Stream, Any, float]] = []
        self.hung_up: list[Link] = []
        self.copies: list[tuple[Copy, Row]] = []
        self.peers: dict[Link, Peer] = {}
        self.relay = Relay(config or Config(), self.port, self, now=0.0, forwarded=forwarded)  # type: ignore[arg-type]

    # What the relay wishes

    def dial(self, link: Link) -> None:
        self.dialled.append(link)
        self.peers[link] = Peer()

    def hold(self, stream: Stream, upstream: Any, seconds: float) -> None:
        self.held.append((stream, upstream, seconds))

    def hang_up(self, link: Link) -> None:
        self.hung_up.append(link)

    def copy(self, copy: Copy, row: Row) -> None:
        self.copies.append((copy, row))

    # What tests do

    def greet(self, *settings: tuple[int, int], acknowledge: bool = True) -> list[Frame]:
        """The client's preface; with ACKNOWLEDGE its blocks are stateless from here on."""
        self.send(frames.PREFACE + frames.settings(*settings))
        if acknowledge:
            self.client.stateless()
            self.send(frames.SETTINGS_ACK)
        return self.client.seen

    def send(self, data: bytes) -> list[Frame]:
        """Bytes of the client; what it gets for them."""
        self.relay.client_received(data)
        return self.got()

    def got(self) -> list[Frame]:
        out = b"".join(self.relay.to_client)
        self.relay.to_client.clear()
        return self.client.take(out)

    def connect(self, link: Link | None = None, *settings: tuple[int, int], acknowledge: bool = True) -> Link:
        """The connection is there, and the upstream greets."""
        link = link or self.dialled[-1]
        self.relay.connected(link)
        if acknowledge:
            self.peers[link].stateless()
        self.answer(link, frames.settings(*settings) + (frames.SETTINGS_ACK if acknowledge else b""))
        return link

    def answer(self, link: Link, data: bytes) -> list[Frame]:
        """Bytes of an upstream; what the client gets for them."""
        self.relay.link_received(link, data)
        return self.got()

    def at(self, link: Link) -> list[Frame]:
        """What the upstream has got since the last look."""
        out = b"".join(link.out)
        link.out.clear()
        return self.peers[link].take(out)

    def requests(self, link: Link) -> list[Frame]:
        """The same without what is the connection's own."""
        return [frame for frame in self.at(link) if frame.stream]

    def open(self, stream: int = 1, fields: Sequence[tuple[str, str]] = GET, *, end: bool = True) -> list[Frame]:
        return self.send(self.client.head(stream, fields, end=end))


def ready(
    rows: Sequence[dict[str, Any]] = (), *settings: tuple[int, int], config: Config | None = None
) -> tuple[Bench, Link]:
    """A relay with one finished stream: nothing is special any more, frames pass as they are."""
    bench = Bench(rows, config)
    bench.greet()
    bench.open(1)
    link = bench.connect(None, *settings)
    bench.answer(link, bench.peers[link].head(1, OK))
    bench.at(link)
    bench.client.seen.clear()
    return bench, link


__all__ = ["ACK", "DATA", "END_HEADERS", "END_STREAM", "HEADERS", "SETTINGS", "WINDOW_UPDATE"]
