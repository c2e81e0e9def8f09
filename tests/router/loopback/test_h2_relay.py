"""HTTP/2 through real sockets: upstreams that fail in each way, back-pressure, mirrors, and the way to the end."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import cast

import pytest
from harness import wait_for

from ktpy_router.h2 import frames
from ktpy_router.h2.frames import DATA, GOAWAY, RST_STREAM, data, goaway_of, settings, window_update
from tests.router.loopback.h2kit import Loop, Origin, Wire, closed_port, router, row
from tests.router.loopback.rawkit import LISTEN, QUICK

ANA = ("version", "ana")


@pytest.fixture
def loop() -> Iterator[Loop]:
    with Loop() as found:
        yield found


@contextlib.contextmanager
def swallowing() -> Iterator[int]:
    """A port whose queue is full: SYNs get no answer."""
    with contextlib.ExitStack() as stack:
        full = stack.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        yield int(full.getsockname()[1])


class Closing(asyncio.Protocol):
    """Accepts, and closes: the end of a tunnel that leads nowhere."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.close()


class Http1(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
        self.transport.close()


def test_requests_of_one_connection_go_where_their_marks_say(loop: Loop) -> None:
    original, mine = loop.listen(lambda: Origin("original")), loop.listen(lambda: Origin("mine"))
    with router(original, [row(mine)], loop=loop) as running, Wire(running.port) as wire:
        for stream in range(1, 80, 2):
            wire.head(stream, *([ANA] if stream % 4 == 1 else []))
        for stream in range(1, 80, 2):
            assert wire.answer(stream)[1] == (b"mine" if stream % 4 == 1 else b"original")


@pytest.mark.parametrize("way", ["refuses", "swallows", "closes"])
@pytest.mark.parametrize("size", [0, 60_000])
def test_the_original_answers_for_a_row_that_is_down(loop: Loop, way: str, size: int) -> None:
    original = loop.listen(lambda: Origin("original"))
    with contextlib.ExitStack() as stack:
        down = {
            "refuses": closed_port,
            "swallows": lambda: stack.enter_context(swallowing()),
            "closes": lambda: loop.listen(Closing),
        }[way]()
        running = stack.enter_context(router(original, [row(down)], QUICK, loop))
        wire = stack.enter_context(Wire(running.port))
        before = running.fallbacks()
        for stream in (1, 3, 5, 7, 9):
            body = bytes([stream]) * size
            wire.head(stream, ANA, method="POST", path="/echo", end=False)
            wire.send(data(stream, body, end=True))
            head, got = wire.answer(stream)
            assert (head[":status"], head["ktpy-fallback"], head["x-trailer"]) == ("200", "ana", "1")
            assert got == body
            wire.send(window_update(0, size + 1))
        assert running.fallbacks() == before + 5


def test_an_upstream_that_speaks_http1_is_named(loop: Loop) -> None:
    original = loop.listen(lambda: Origin("original"))
    with router(original, [row(loop.listen(Http1))], loop=loop) as running, Wire(running.port) as wire:
        wire.head(1, ANA)
        head, text = wire.answer(1)
        assert head[":status"] == "502"
        assert b"HTTP/1" in text
        wire.head(3)
        assert wire.answer(3)[1] == b"original"


def test_a_row_that_holds_waits_until_its_upstream_is_back(loop: Loop) -> None:
    port, original = closed_port(), loop.listen(lambda: Origin("original"))
    with router(original, [row(port, hold=5)], QUICK, loop) as running, Wire(running.port) as wire:
        wire.head(1, ANA)
        wire.sync()
        loop.listen(lambda: Origin("mine"), port)

        head, body = wire.answer(1)
        assert body == b"mine"
        assert "ktpy-fallback" not in head


def test_mirrors_get_copies_and_nobody_waits_for_them(loop: Loop) -> None:
    seen: list[Origin] = []
    come = threading.Event()

    class Mirror(Origin):
        def answer(self, stream: int) -> None:
            seen.append(self)
            come.set()
            super().answer(stream)

    original, mirror = loop.listen(lambda: Origin("original")), loop.listen(lambda: Mirror("mirror"))
    with router(original, [row(mirror, mirror=True)], loop=loop) as running, Wire(running.port) as wire:
        wire.head(1, ANA, method="POST", path="/echo", end=False)
        wire.send(data(1, b"body", end=True))
        assert wire.answer(1)[1] == b"body"
        assert come.wait(15)
        assert loop.call(lambda: (seen[0].requests[1]["version"], bytes(seen[0].echo[1]))) == ("ana", b"body")


@pytest.mark.in_process
def test_a_client_that_does_not_read_holds_its_upstream_and_no_memory(loop: Loop) -> None:
    size = 8_000_000
    origins: list[Origin] = []

    def origin() -> Origin:
        origins.append(Origin("original"))
        return origins[-1]

    with router(loop.listen(origin), loop=loop) as running:
        slow = Wire(running.port)
        slow.send(settings((4, 2**31 - 1)) + window_update(0, 2**30))
        slow.head(1, path=f"/big?{size}")
        with Wire(running.port) as other:
            for stream in (1, 3, 5):
                other.head(stream)
                assert other.answer(stream)[1] == b"original"
            client = wait_for(lambda: [c for c in running.core.clients if getattr(c, "is_congested", False)])[0]
            assert loop.call(lambda: client.transport.get_write_buffer_size()) < 2_000_000  # type: ignore[attr-defined]

        total = 0
        while total < size:
            slow.seen.clear()
            slow.until(lambda seen: any(f.kind == DATA for f in seen))
            total += sum(len(f.payload) for f in slow.seen if f.kind == DATA)
        assert total == size
        slow.socket.close()


def test_an_upload_arrives_whole(loop: Loop) -> None:
    with router(loop.listen(lambda: Origin("original")), loop=loop) as running, Wire(running.port) as wire:
        wire.send(settings((4, 1 << 24)) + window_update(0, 1 << 24))
        wire.head(1, method="POST", path="/echo", end=False)
        body = bytes(range(256)) * 8000
        sent, room = 0, 65535
        while sent < len(body):
            part = body[sent : sent + min(16384, room)]
            if part:
                wire.send(data(1, part, end=sent + len(part) == len(body)))
                sent, room = sent + len(part), room - len(part)
            else:
                wire.until(lambda seen: any(f.kind == frames.WINDOW_UPDATE and f.stream == 1 for f in seen))
            room += sum(frames.word(f.payload) for f in wire.seen if f.kind == frames.WINDOW_UPDATE and f.stream == 1)
            wire.seen[:] = [f for f in wire.seen if f.kind != frames.WINDOW_UPDATE]
        assert wire.answer(1)[1] == body


@pytest.mark.in_process
def test_draining_finishes_what_runs_and_then_ends(loop: Loop) -> None:
    with router(loop.listen(lambda: Origin("original")), loop=loop) as running, Wire(running.port) as wire:
        wire.head(1, method="POST", path="/echo", end=False)
        wire.sync()
        running.drain()
        wire.until(lambda seen: [f for f in seen if f.kind == GOAWAY])
        wire.head(3)
        assert wire.answer(3)[1] == b"original"

        def named(seen: list[object]) -> list[int]:
            running.tick()
            threading.Event().wait(0.02)
            wire.send(frames.frame(frames.PING, 0, 0, bytes(8)))
            return [goaway_of(f.payload)[0] for f in seen if f.kind == GOAWAY][1:]  # type: ignore[attr-defined]

        assert wire.until(named) == [3]
        wire.head(5)
        wire.until(lambda seen: any(f.kind == RST_STREAM and f.stream == 5 for f in seen))
        wire.send(data(1, b"late", end=True))
        assert wire.answer(1)[1] == b"late"
        wire.until(lambda _: wire.closed)
        wire.socket.close()
        wait_for(lambda: not running.core.clients)


@pytest.mark.in_process
def test_a_client_that_goes_away_leaves_nothing(loop: Loop) -> None:
    origins: list[Origin] = []
    lost = threading.Event()

    class Watched(Origin):
        def connection_lost(self, error: Exception | None) -> None:
            lost.set()

    def origin() -> Origin:
        origins.append(Watched("original"))
        return origins[-1]

    with router(loop.listen(origin), loop=loop) as running:
        wire = Wire(running.port)
        wire.head(1, path="/silent")
        wire.head(3)
        assert wire.answer(3)[1] == b"original"
        wire.socket.close()
        assert lost.wait(15)
        stats = running.core.ports[LISTEN]
        assert (stats.default_stats.open, stats.stats.open_connections) == (0, 0)


@pytest.mark.in_process
def test_a_connection_that_was_made_ahead_is_used(loop: Loop) -> None:
    """A client that was silent at first: the router has connected, to see whether the server speaks first."""
    made: list[Origin] = []

    class Quiet(Origin):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = cast(asyncio.Transport, transport)

        def data_received(self, data: bytes) -> None:
            if data.startswith(frames.PREFACE):
                self.h2.initiate_connection()
            super().data_received(data)

    def origin() -> Origin:
        made.append(Quiet("original"))
        return made[-1]

    with router(loop.listen(origin), loop=loop) as running, Wire(running.port, b"") as wire:
        wait_for(lambda: [c for c in running.core.clients if getattr(c, "dialled", None)])
        wire.send(frames.PREFACE + settings() + frames.SETTINGS_ACK)
        wire.head(1)
        assert wire.answer(1)[1] == b"original"
        assert len(made) == 1
