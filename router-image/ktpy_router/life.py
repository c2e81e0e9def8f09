"""A worker's life as an addon of mitmproxy: the table, the channel, readiness, the tick, and the way to the end."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Mapping

from mitmproxy import ctx

from ktpy_router import stats, store
from ktpy_router.channel import Link, Message, Wire
from ktpy_router.core import TICKS, Core
from ktpy_router.door import Entrance
from ktpy_router.resolve import resolve
from ktpy_router.settings import Settings
from ktpy_router.table import BadTable, Table, split

log = logging.getLogger(__name__)

RETRY_SECONDS = 0.1  # for an original that does not answer yet
REACH_SECONDS = 6.0  # for its name and its connection
WATCH_SECONDS = 0.05  # between two looks whether the last client has gone
CUT_OFF = 3
"""Exit code when the time to drain was over before the last connection was."""


class Life:
    """Made before mitmproxy starts; the mode's first port brings it among mitmproxy's addons."""

    def __init__(self, settings: Settings, number: int, first: Table, sockets: Mapping[int, socket.socket]) -> None:
        self.exit_code = 0
        self._settings = settings
        self._number = number
        self._first = first
        self._sockets = sockets
        self._core: Core | None = None
        self._why = "No original was asked yet."
        self._asked_to_drain: float | None = None
        self._link = Link(settings.channel, hello=self.hello, on_message=self.heard)

    @property
    def core(self) -> Core:
        """What the protocols share; it needs the running loop, so it is made at the first port."""
        if self._core is None:
            table = store.at_start(self._settings.store, self._first, warn=log.warning)
            inspector = ("127.0.0.1", self._settings.inspect_port)
            self._core = Core(self._settings.config, table, inspector=inspector)
        return self._core

    async def listen(self, port: int) -> Entrance:
        """For mode.Host: accept on one of PID 1's sockets, through a copy, since a server closes its own."""
        core = self.core
        if self not in ctx.master.addons.chain:
            ctx.master.addons.add(self)
        state = core.ports[port]
        return Entrance(core, state, self._sockets[port].dup())

    # mitmproxy's events

    def running(self) -> None:
        """Everything listens. mitmproxy's own way to take SIGTERM would drop all connections."""
        loop = self.core.loop
        loop.add_signal_handler(signal.SIGTERM, self._end_soon)
        loop.add_signal_handler(signal.SIGINT, lambda: None)  # a terminal sends it to all of us; PID 1 decides
        self._tick()
        self.core.background(self._link.stay())
        self.core.background(self._reach_originals())

    def done(self) -> None:
        """mitmproxy ends."""
        self.core.close()

    # the channel

    def hello(self, wire: Wire) -> None:
        """To a control process that may be new."""
        table = self.core.table
        values = {"worker": self._number, "pid": os.getpid(), "version": table.version, "why": self._why}
        wire.send("hello", **values, table=table.to_json(), passed_over=sorted(self.core.passed_over))

    def heard(self, wire: Wire, message: Message) -> None:
        """From the control process."""
        match message["type"]:
            case "table":
                try:
                    self._take(Table.from_json(message["table"]))
                    wire.send("ack", version=self.core.table.version)
                except BadTable as error:
                    wire.send("refused", why=str(error))
            case "pass-over":
                self.core.pass_over(frozenset(message["rows"]))
            case "drain":
                self._asked_to_drain = self.core.loop.time()
                self._drain("is draining")
            case "stats":
                wire.send("stats", id=message["id"], report=self._report())

    def _take(self, table: Table) -> None:
        store.expect_ports(table, self.core.ports)
        if table.version > self.core.table.version:
            self.core.set_table(table)

    def _report(self) -> stats.Report:
        core = self.core
        ports = {listen: (port.stats, port.default_stats) for listen, port in core.ports.items()}
        return stats.report(core.row_stats, ports, core.down())

    # readiness

    async def _reach_originals(self) -> None:
        """Ready once every original has been connected to; what happens to it later is not ours to hide."""
        reached: set[str] = set()
        while missing := [port.default for port in self.core.table.ports if port.default not in reached]:
            why = await unreachable(missing[0])
            if why:
                self._not_ready(f"The original {missing[0]} {why}.")
                await asyncio.sleep(RETRY_SECONDS)
            else:
                reached.add(missing[0])
        if not self.core.draining:
            self._not_ready("")

    def _not_ready(self, why: str) -> None:
        if why != self._why:
            self._why = why
            self._link.send("ready", why=why)

    # the clock

    def _tick(self) -> None:
        core = self.core
        core.loop.call_later(1 / TICKS, self._tick)
        core.tick()

    # the end

    def _drain(self, why: str) -> None:
        self.core.draining = True
        self._not_ready(f"Worker {self._number} {why}.")
        for client in tuple(self.core.clients):
            client.drain()

    def _end_soon(self) -> None:
        self.core.loop.remove_signal_handler(signal.SIGTERM)
        self.core.loop.add_signal_handler(signal.SIGTERM, lambda: None)
        self.core.background(self._end())

    def linger(self, now: float) -> float:
        """Seconds to accept on, from SIGTERM. Whoever asked us to drain has led the nodes elsewhere before."""
        since = now if self._asked_to_drain is None else self._asked_to_drain
        return max(0.0, since + self._settings.config.linger_seconds - now)

    async def _end(self) -> None:
        """Nodes and clients learn late that we go: serve on for a while, accept no more, wait for the last."""
        core, config = self.core, self._settings.config
        until = core.loop.time() + max(config.drain_seconds, config.linger_seconds)
        self._drain("was told to end")
        await asyncio.sleep(self.linger(core.loop.time()))
        ctx.options.update(server=False)  # mitmproxy closes its servers; connections stay
        for bound in self._sockets.values():
            bound.close()  # the kernel refuses only when no copy is left
        self._drain("no longer listens")  # a second time: what is idle now goes
        while core.clients and core.loop.time() < until:
            await asyncio.sleep(WATCH_SECONDS)
        if core.clients:
            log.warning("%d connections are cut off, %g s after SIGTERM", len(core.clients), config.drain_seconds)
            self.exit_code = CUT_OFF
            for client in tuple(core.clients):
                client.abort()
            await asyncio.sleep(WATCH_SECONDS)
        ctx.master.shutdown()


async def unreachable(address: str) -> str:
    """Why ADDRESS takes no connection, as the end of a sentence; empty when it does."""
    host, port = split(address)
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(REACH_SECONDS):
            addresses, _ = await resolve(host, port)
            transport, _ = await loop.create_connection(asyncio.Protocol, addresses[0], port)
    except TimeoutError:
        return f"did not accept a connection within {REACH_SECONDS:g} s"
    except OSError as error:
        return f"cannot be reached: {error}"
    transport.close()
    return ""
