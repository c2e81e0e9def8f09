"""A listening port of the router in the test's own event loop or of the image, origins of raw bytes, plain sockets."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import itertools
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any

import uvloop

from ktpy_router import stats
from ktpy_router.config import Config
from ktpy_router.core import Core, PortState
from ktpy_router.door import Entrance
from ktpy_router.stats import Report
from ktpy_router.table import Table
from tests.router.loopback.image import IN_IMAGE, NEEDS_OBJECTS, Container, container

LISTEN = 8080
SECONDS = 20.0 if IN_IMAGE else 5.0  # the start of a container is within it
QUICK = Config(connect_seconds=0.3, probe_seconds=0.1, stays_seconds=0.02)
"""To see that an upstream is down, and is back. The image needs a container for each Config: there are few."""
IMPATIENT = Config(idle_seconds=0.2, head_seconds=0.2)
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


def on_side(address: str, *, marked: bool, raw: bool = False) -> AbstractAsyncContextManager[Router]:
    """A router that gives all bytes to ADDRESS: by a row that takes everything, or as the original."""
    nobody = f"127.0.0.1:{free_port()}"
    return router(nobody, catch_all(address), raw=raw) if marked else router(address, raw=raw)


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


class InProcess:
    """A router's core in this loop."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self._versions = itertools.count(2)

    def put(self, default: str, rows: Sequence[dict[str, Any]], *, raw: bool = False) -> None:
        self.core.set_table(table(default, rows, raw=raw, version=next(self._versions)))

    def report(self) -> Report:
        core = self.core
        ports = {listen: (state.stats, state.default_stats) for listen, state in core.ports.items()}
        upstreams = [state.upstream(row) for state in core.ports.values() for row in (None, *core.table.rows)]
        found = stats.report(core.row_stats, ports, {upstream.name: upstream.is_open for upstream in upstreams})
        return copy.deepcopy(found)  # as it is now


def table(default: str, rows: Sequence[dict[str, Any]], *, raw: bool = False, version: int = 1) -> Table:
    ports = [{"listen": LISTEN, "default": default, "raw": raw}]
    return Table.from_json(json.dumps({"format": 1, "version": version, "ports": ports, "rows": list(rows)}))


class Router:
    """A listening port. What is counted is so since its table was put in force."""

    def __init__(self, port: int, box: InProcess | Container, default: str, rows: Sequence[dict[str, Any]]) -> None:
        self.port = port
        self.default = default
        self.rows = rows
        self._box = box
        self._before = box.report()

    @property
    def core(self) -> Core:
        assert isinstance(self._box, InProcess), NEEDS_OBJECTS
        return self._box.core

    @property
    def state(self) -> PortState:
        return self.core.ports[LISTEN]

    def counted(self, row: str = "") -> dict[str, int]:
        """Of the row with that id, or of what no row took."""
        return self._since(lambda report: report["rows"].get(row, {}) if row else _port(report)["default"])

    def spoken(self) -> dict[str, int]:
        """Connections, and what they spoke."""
        return self._since(_port)

    def is_left(self) -> bool:
        """No client is connected."""
        return not self.spoken()["open_connections"]

    @property
    def mine(self) -> str:
        """Where the first row leads."""
        address: str = self.rows[0]["to"][str(LISTEN)]
        return address

    def is_mine_down(self) -> bool:
        return bool(self._box.report()["down"].get(self.mine))

    def put(self, *rows: dict[str, Any]) -> None:
        """Other rows, from the next request on."""
        self._box.put(self.default, rows)

    def _since(self, part: Callable[[Report], dict[str, Any]]) -> dict[str, int]:
        before, now = _flat(part(self._before)), _flat(part(self._box.report()))
        gauges = ("open", "open_connections")
        return {name: n if name in gauges else n - before.get(name, 0) for name, n in now.items()}

    async def connect(self, *, receive: int | None = None) -> socket.socket:
        """A client's socket, without blocking; RECEIVE is the size of its kernel buffer."""
        s = socket.socket()
        if receive:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
        s.setblocking(False)
        await asyncio.get_running_loop().sock_connect(s, ("127.0.0.1", self.port))
        return s

    async def read_all(self, s: socket.socket, most: int = 1 << 30) -> bytes:
        """Until the end, or MOST bytes."""
        got = bytearray()
        while len(got) < most and (data := await asyncio.get_running_loop().sock_recv(s, 65536)):
            got += data
        return bytes(got)

    async def send(self, s: socket.socket, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(s, data)


def _flat(counters: dict[str, Any]) -> dict[str, int]:
    """`answered` stands for the histogram."""
    numbers = {name: value for name, value in counters.items() if isinstance(value, int)}
    return numbers | {"answered": sum(counters.get("histogram", ()))}


def _port(report: Report) -> dict[str, Any]:
    (port,) = report["ports"].values()
    found: dict[str, Any] = port
    return found


@contextlib.asynccontextmanager
async def router(
    default: str, *rows: dict[str, Any], raw: bool = False, config: Config | None = None
) -> AsyncIterator[Router]:
    """One port of a router in this loop, or of the image's."""
    config = config or Config()
    if not IN_IMAGE:
        async with _in_this_loop(default, rows, raw, config) as made:
            yield made
        return
    box = container(config)
    box.put(default, rows, raw=raw)
    yield Router(box.port, box, default, rows)


@contextlib.asynccontextmanager
async def _in_this_loop(
    default: str, rows: Sequence[dict[str, Any]], raw: bool, config: Config
) -> AsyncIterator[Router]:
    """With a tick ten times a second."""
    core = Core(config, table(default, rows, raw=raw))
    state = core.ports[LISTEN]
    server = Entrance(core, state, socket.create_server(("127.0.0.1", 0)))

    async def ticks() -> None:
        while True:
            core.now = core.loop.time()
            for client in tuple(core.clients):
                client.tick(core.now)
            await asyncio.sleep(0.1)

    ticking = core.loop.create_task(ticks())
    try:
        yield Router(server.sockets[0].getsockname()[1], InProcess(core), default, rows)
    finally:
        ticking.cancel()
        server.close()
        for client in tuple(core.clients):
            client.abort()
        for row_or_none in (None, *state.chooser.rows):
            state.upstream(row_or_none).forget()
        await until(lambda: not core.clients)
