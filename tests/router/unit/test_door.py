"""New clients: accepted one by one, each given to who serves it, with what it said at once."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvloop

from ktpy_router import door
from ktpy_router.config import Config
from ktpy_router.core import Core
from ktpy_router.door import Entrance, Silence
from tests.router.unit.test_table import raw, read

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
CLOSE = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


class Place:
    """An entrance, its core, and who comes in."""

    def __init__(self, entrance: Entrance, core: Core, listen: int) -> None:
        self.entrance = entrance
        self.core = core
        self.counts = core.ports[listen].stats
        self.address = entrance.sockets[0].getsockname()

    async def says(self, data: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A client that has said so before it is accepted."""
        client = socket.create_connection(self.address)
        client.send(data) if data else None
        return await asyncio.open_connection(sock=client)


class Origin(asyncio.Protocol):
    """Answers each request that comes in one read; greets who says nothing."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(ANSWER * data.count(b"\r\n\r\n") or b"raw: " + data)


@asynccontextmanager
async def place(*, declared_raw: bool = False) -> AsyncIterator[Place]:
    loop = asyncio.get_running_loop()
    origin = await loop.create_server(Origin, "127.0.0.1", 0)
    port = {"listen": 1, "default": f"127.0.0.1:{origin.sockets[0].getsockname()[1]}", "raw": declared_raw}
    core = Core(Config(sniff_seconds=0.05, eager_seconds=0.05), read(raw(ports=[port])))
    entrance = Entrance(core, core.ports[1], socket.create_server(("127.0.0.1", 0)))
    try:
        yield Place(entrance, core, 1)
    finally:
        entrance.close()
        origin.close()
        for client in tuple(core.clients):
            client.abort()
        core.ports[1].default.forget()
        await asyncio.sleep(0.01)


def on_each_loop(check: Callable[[], Awaitable[None]]) -> Callable[..., None]:
    @pytest.mark.parametrize("loop", [uvloop.new_event_loop, asyncio.new_event_loop], ids=["uvloop", "asyncio"])
    def test(loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
        async def main() -> None:
            async with asyncio.timeout(5):
                await check()

        with asyncio.Runner(loop_factory=loop) as runner:
            runner.run(main())

    return test


@on_each_loop
async def test_what_a_client_said_at_once_is_served() -> None:
    async with place() as at:
        reader, writer = await at.says(GET)
        assert await reader.readexactly(len(ANSWER)) == ANSWER
        writer.write(GET + GET)
        assert await reader.readexactly(2 * len(ANSWER)) == 2 * ANSWER
        assert (at.counts.connections, at.counts.http1) == (1, 1)
        writer.transport.abort()


@on_each_loop
async def test_a_client_of_one_request_is_served_and_goes() -> None:
    async with place() as at:
        for _ in range(3):  # the first has no idle upstream connection yet
            reader, writer = await at.says(CLOSE)
            assert await reader.read() == ANSWER.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
            writer.close()
        await asyncio.sleep(0.01)
        assert (at.counts.connections, at.counts.open_connections, at.counts.http1) == (3, 0, 3)
        assert len(at.core.ports[1].default.idle) == 1


@on_each_loop
async def test_a_client_that_speaks_later_or_something_else_is_served() -> None:
    async with place() as at:
        reader, writer = await at.says(b"")
        await asyncio.sleep(0.01)
        writer.write(GET)
        assert await reader.readexactly(len(ANSWER)) == ANSWER
        reader, other = await at.says(b"\0\1\2")
        assert await reader.readexactly(8) == b"raw: \0\1\2"
        assert (at.counts.http1, at.counts.raw) == (1, 1)
        writer.transport.abort()
        other.transport.abort()


@on_each_loop
async def test_a_port_that_is_declared_raw_is_not_read_first() -> None:
    async with place(declared_raw=True) as at:
        reader, writer = await at.says(b"hello")
        assert await reader.readexactly(10) == b"raw: hello"
        assert at.counts.raw == 1
        writer.transport.abort()


@on_each_loop
async def test_a_client_that_has_gone_harms_nobody() -> None:
    async with place() as at:
        gone = socket.create_connection(at.address)
        gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        gone.close()
        reader, writer = await at.says(GET)
        assert await reader.readexactly(len(ANSWER)) == ANSWER
        writer.transport.abort()


@on_each_loop
async def test_a_crowd_does_not_wait_a_turn_each() -> None:
    async with place() as at:
        crowd = [socket.create_connection(at.address) for _ in range(100)]
        turns = 0
        while at.counts.connections < len(crowd):
            await asyncio.sleep(0)
            turns += 1
        assert turns <= 20
        for client in crowd:
            client.close()


class Full:
    """A listening socket for which there are no more open files, for a while."""

    def __init__(self, listening: socket.socket) -> None:
        self.listening = listening
        self.refused = 0

    def _accept(self) -> Any:
        if self.refused < 2:
            self.refused += 1
            raise OSError(errno.EMFILE, "Too many open files")
        return self.listening._accept()  # type: ignore[attr-defined]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.listening, name)


def test_with_too_many_open_files_it_waits(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(door, "PAUSE_SECONDS", 0.02)

    async def main() -> None:
        async with asyncio.timeout(5), place() as at:
            full = at.entrance._listening = Full(at.entrance._listening)  # type: ignore[assignment]
            reader, writer = await at.says(GET)
            assert await reader.readexactly(len(ANSWER)) == ANSWER
            writer.transport.abort()
            assert full.refused == 2  # type: ignore[attr-defined]

    asyncio.run(main())
    assert caplog.text.count("Too many open files") == 2


@on_each_loop
async def test_a_closed_entrance_accepts_no_more() -> None:
    async with place() as at:
        assert at.entrance.is_serving()
        assert len(at.entrance.sockets) == 1
        at.entrance.close()
        at.entrance.close()
        assert not at.entrance.is_serving()
        assert not at.entrance.sockets
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(at.address)


class Waits:
    """A client that is watched."""

    def __init__(self, silent: list[Waits]) -> None:
        self._silent = silent

    def is_silent(self) -> None:
        self._silent.append(self)


def test_who_was_not_heard_is_silent_and_nobody_is_kept() -> None:
    async def main() -> None:
        core = Core(Config(sniff_seconds=0.02, eager_seconds=0.02), read(raw()))
        watch = Silence(core, core.ports[8080])
        silent: list[Waits] = []
        heard, early, late = (Waits(silent) for _ in range(3))
        watch.watch(heard)
        watch.watch(early)
        watch.heard(heard)
        await asyncio.sleep(0.012)
        watch.watch(late)
        begun = core.loop.time()
        async with asyncio.timeout(5):
            while late not in silent:
                await asyncio.sleep(0.001)

        assert silent == [early, late]
        assert core.loop.time() - begun > 0.018, "each has its time"
        assert not watch._waiting
        assert watch._timer is None

    asyncio.run(main())


def test_a_transport_is_given_a_socket_that_uvloop_closes_once() -> None:
    """It asks for this class; one of another it closes, and then closes its number, which may be another's by then."""
    given: list[object] = []

    class Loop(uvloop.Loop):
        async def connect_accepted_socket(self, factory: Any, sock: socket.socket, **more: Any) -> Any:
            given.append(sock)
            return await super().connect_accepted_socket(factory, sock, **more)

    async def main() -> None:
        async with place() as at:
            reader, writer = await at.says(GET)
            assert await reader.readexactly(len(ANSWER)) == ANSWER
            writer.transport.abort()

    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(main())
    assert [isinstance(one, socket.socket) for one in given] == [True]
