"""A listening port of the router in the test's own event loop, origins of raw bytes, and plain sockets as clients."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import uvloop

from ktpy_router.config import Config
from ktpy_router.core import Core, PortState
from ktpy_router.door import Door
from ktpy_router.table import Table

LISTEN = 8080
SECONDS = 5.0
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def run(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """On the loop that the router has, within a deadline."""

    async def bounded() -> None:
        async with asyncio.timeout(SECONDS):
            await scenario()

    uvloop.run(bounded())


async def until(condition: Callable[[], object], seconds: float = 5.0) -> None:
    """Errors: TimeoutError, when CONDITION does not hold by then."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.002)


@dataclass
class Origin:
    """Where bytes go to; `accepted` counts."""

    port: int
    accepted: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"


@contextlib.asynccontextmanager
async def origin(handler: Handler, port: int = 0) -> AsyncIterator[Origin]:
    """HANDLER is run for each connection; those that it leaves open are closed at the end."""
    made = Origin(port)

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        made.accepted.append((reader, writer))
        with contextlib.suppress(ConnectionError):
            await handler(reader, writer)

    server = await asyncio.start_server(handle, "127.0.0.1", port)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        for _, writer in made.accepted:
            writer.transport.abort()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.write_eof()


async def close_at_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


def free_port() -> int:
    """One that refuses connections, for now."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port: int = s.getsockname()[1]
        return port


def catch_all(to: str, **more: Any) -> dict[str, Any]:
    return {"id": "r", "mark": "ana", "owner": "o", "since": 1, "match": [], "to": {str(LISTEN): to}, **more}


def marked(to: str) -> dict[str, Any]:
    match = [{"in": "header", "name": "version", "exact": "ana"}]
    return {"id": "m", "mark": "ana", "owner": "o", "since": 1, "match": match, "to": {str(LISTEN): to}}


@dataclass
class Router:
    core: Core
    state: PortState
    port: int

    async def connect(self, *, receive: int | None = None) -> socket.socket:
        """A client's socket, without blocking; RECEIVE is the size of its kernel buffer."""
        s = socket.socket()
        if receive:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
        s.setblocking(False)
        await self.core.loop.sock_connect(s, ("127.0.0.1", self.port))
        return s

    async def read_all(self, s: socket.socket, most: int = 1 << 30) -> bytes:
        """Until the end, or MOST bytes."""
        got = bytearray()
        while len(got) < most and (data := await self.core.loop.sock_recv(s, 65536)):
            got += data
        return bytes(got)

    async def send(self, s: socket.socket, data: bytes) -> None:
        await self.core.loop.sock_sendall(s, data)


@contextlib.asynccontextmanager
async def router(
    default: str, *rows: dict[str, Any], raw: bool = False, config: Config | None = None
) -> AsyncIterator[Router]:
    """One port of a router with a tick ten times a second."""
    table = {"format": 1, "version": 1, "ports": [{"listen": LISTEN, "default": default, "raw": raw}], "rows": rows}
    core = Core(config or Config(), Table.from_json(json.dumps(table)))
    state = core.ports[LISTEN]
    server = await core.loop.create_server(Door(core, state), "127.0.0.1", 0)

    async def ticks() -> None:
        while True:
            core.now = core.loop.time()
            for client in tuple(core.clients):
                client.tick(core.now)
            await asyncio.sleep(0.1)

    ticking = core.loop.create_task(ticks())
    try:
        yield Router(core, state, server.sockets[0].getsockname()[1])
    finally:
        ticking.cancel()
        server.close()
        for client in tuple(core.clients):
            client.abort()
        for row_or_none in (None, *state.chooser.rows):
            state.upstream(row_or_none).forget()
        await until(lambda: not core.clients)
