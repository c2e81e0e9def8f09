"""An upstream that breaks HTTP/2 on one stream, and a client that ends its connection at the first thing amiss."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from typing import Any, cast

import h2.config
import h2.connection
import h2.events
import pytest

from ktpy_router.h2 import frames, hpack
from ktpy_router.h2.frames import HEADERS, data, headers
from tests.router.loopback.h2kit import SECONDS, Loop, Router, router, row

OK = b"\x88"
HINTS = b"\x08\x03103"
TRAILERS = b"\x00\x01a\x01b"
FAULTS = {
    "DATA first": lambda s: data(s, b"x", end=True),
    "DATA after an interim answer": lambda s: headers(s, HINTS, end=False) + data(s, b"x", end=True),
    "an interim answer that ends": lambda s: headers(s, HINTS, end=True),
    "an interim answer after the head": lambda s: headers(s, OK, end=False) + headers(s, HINTS, end=False),
    "two heads": lambda s: headers(s, OK, end=False) * 2,
    "trailers that end nothing": lambda s: headers(s, OK, end=False) + headers(s, TRAILERS, end=False),
    "no status": lambda s: headers(s, TRAILERS, end=True),
    "more than the window": lambda s: headers(s, OK, end=False) + data(s, bytes(65536), end=True),
    "HEADERS after the end": lambda s: headers(s, OK, end=True) * 2,
    "DATA after the end": lambda s: headers(s, OK, end=True) + data(s, b"x", end=True),
    "an idle stream": lambda s: headers(s + 1000, OK, end=True),
    "a promise": lambda s: frames.frame(frames.PUSH_PROMISE, 4, s, b"\0\0\0\2" + OK),
}


class Wrong(asyncio.Protocol):
    """Answers a request with `x-fault` in the way that it names, others rightly but late."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(frames.settings() + frames.SETTINGS_ACK)
        self.left = b""
        self.waiting: list[int] = []

    def data_received(self, received: bytes) -> None:
        self.left = (self.left + received).removeprefix(frames.PREFACE)
        for kind, _, stream, block in frames.read(self.left):
            self.left = self.left[frames.FRAME_HEAD + len(block) :]
            if kind == HEADERS:
                self.asked(stream, block)

    def asked(self, stream: int, block: bytes) -> None:
        names = [value.decode() for _, value in hpack.fields(block, (b"x-fault",))]
        if not names:
            self.waiting.append(stream)
            return
        self.transport.write(FAULTS[names[0]](stream))
        for one in self.waiting:
            self.transport.write(headers(one, OK, end=False) + data(one, b"late but right", end=True))
        self.waiting.clear()


class Strict:
    """A client that is the `h2` library: whatever it refuses is an exception."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), SECONDS)
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.h2.initiate_connection()
        self.h2.increment_flow_control_window(1 << 20)  # of the connection: the streams' are what is overrun
        self.status: dict[int, str] = {}
        self.body: dict[int, bytes] = {}
        self.over: dict[int, str] = {}

    def ask(self, stream: int, *more: tuple[str, str]) -> None:
        fields = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "shop"), *more]
        self.h2.send_headers(stream, fields, end_stream=True)
        self.socket.sendall(self.h2.data_to_send())

    def until_over(self, *streams: int) -> None:
        deadline = time.monotonic() + SECONDS
        while not self.over.keys() >= set(streams):
            self.socket.settimeout(max(0.001, deadline - time.monotonic()))
            received = self.socket.recv(65536)
            assert received, "the router ended the connection"
            for event in self.h2.receive_data(received):
                self.saw(event)
            self.socket.sendall(self.h2.data_to_send())

    def saw(self, event: Any) -> None:
        assert not isinstance(event, h2.events.ConnectionTerminated), event
        if isinstance(event, h2.events.ResponseReceived):
            self.status[event.stream_id] = str(dict(event.headers)[":status"])
        elif isinstance(event, h2.events.DataReceived):
            self.body[event.stream_id] = self.body.get(event.stream_id, b"") + event.data
        elif isinstance(event, h2.events.StreamEnded):
            self.over.setdefault(event.stream_id, "ended")
        elif isinstance(event, h2.events.StreamReset):
            self.over.setdefault(event.stream_id, "reset")


class Right(Wrong):
    """Answers at once."""

    def asked(self, stream: int, block: bytes) -> None:
        self.transport.write(headers(stream, OK, end=False) + data(stream, b"right", end=True))


@pytest.fixture(scope="module", params=["unmarked", "marked"])
def running(request: pytest.FixtureRequest) -> Iterator[tuple[Router, list[tuple[str, str]], list[tuple[str, str]]]]:
    """A router, the header that leads to the wrong upstream, and the one that leads to the right one."""
    with Loop() as loop:
        wrong, right = loop.listen(Wrong), loop.listen(Right)
        marked = request.param == "marked"
        mine, rest = (wrong, right) if marked else (right, wrong)
        mark = [("version", "ana")]
        with router(rest, [row(mine)], loop=loop) as found:
            yield (found, mark, []) if marked else (found, [], mark)


@pytest.mark.parametrize("name", FAULTS)
def test_a_strict_client_keeps_its_connection(running: Any, name: str) -> None:
    """Streams at another upstream always go on, those at the same one where the fault is one of the stream."""
    routed, to_wrong, to_right = running
    client = Strict(routed.port)
    with client.socket:
        client.ask(1, *to_wrong)
        client.ask(3, *to_right)
        client.until_over(3)
        client.ask(5, *to_wrong, ("x-fault", name))
        client.until_over(1, 5)
        client.ask(7, *to_right)
        client.until_over(7)

    assert [client.body[stream] for stream in (3, 7)] == [b"right", b"right"]
    if name not in ("an idle stream", "a promise"):
        assert (client.status[1], client.body[1]) == ("200", b"late but right")
    ended_well = client.over[5] == "ended" and client.status[5] == "200"
    assert ended_well == name.endswith("after the end")
