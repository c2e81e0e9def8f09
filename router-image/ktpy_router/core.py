"""What the connections of one worker share: the table in force, upstreams, counters, and the way to the end."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Protocol

from ktpy_router.config import Config
from ktpy_router.match import Chooser
from ktpy_router.pulse import Pulses
from ktpy_router.stats import PortStats, RowStats
from ktpy_router.table import Port, Row, Table
from ktpy_router.upstream import Upstream

TICKS = 20
"""A second."""


class ClientLike(Protocol):
    """An open client connection, whatever it speaks."""

    def tick(self, now: float) -> None:
        """Once a second: end it when it is over a limit."""

    def drain(self) -> None:
        """Finish what runs, take nothing new where the protocol lets us say so, close when idle."""

    def abort(self) -> None:
        """Close at once."""

    def silent(self, upstream: Upstream, since: float) -> None:
        """The laptop behind UPSTREAM sleeps: requests that were sent to it after SINCE, and have no answer yet, are
        to go elsewhere. Older ones have reached it."""


class PortState:
    """A listening port. Connections keep a reference, and read `chooser` anew for each request."""

    def __init__(self, core: Core, port: Port, chooser: Chooser, default: Upstream) -> None:
        self.listen = port.listen
        self.raw = port.raw
        self.chooser = chooser
        self.default = default
        self.stats = PortStats()
        self.default_stats = RowStats()
        self._core = core

    @property
    def only_one(self) -> bool:
        """Whether only one upstream is possible now."""
        return self.chooser.only_one

    def upstream(self, row: Row | None) -> Upstream:
        """Where that row's traffic goes; the original for None."""
        return self.default if row is None else self._core.upstream(row.to[self.listen], inspect=row.inspect)

    def row_stats(self, row: Row | None) -> RowStats:
        """The counters of that row, over all ports; of this port's unmatched traffic for None.

        A row that a request was given a moment before it went from the table has counters that nobody reads.
        """
        return self.default_stats if row is None else self._core.row_stats.get(row.id) or RowStats()


class Core:
    """One per worker. INSPECTOR is where mitmproxy's own HTTP stack waits as a SOCKS5 proxy, for rows that ask it."""

    def __init__(self, config: Config, table: Table, *, inspector: tuple[str, int] | None = None) -> None:
        self.config = config
        self.loop = asyncio.get_running_loop()
        self.draining = False
        self.now = self.loop.time()
        """Of the last tick; read the loop's clock where a second is too coarse."""
        self.clients: set[ClientLike] = set()
        self.inspector = inspector
        self.table = table
        self.passed_over: frozenset[str] = frozenset()
        """Ids of rows whose session is long past its time, and that lead nowhere: nobody is given to them."""
        self.ports: dict[int, PortState] = {}
        self.row_stats: dict[str, RowStats] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._due: list[ClientLike] = []
        """Who has yet to be looked at in this turn."""
        self._share = 1
        self._upstreams: dict[tuple[str, bool], Upstream] = {}
        self._pulses = Pulses(config, self._silent)
        for port in table.ports:
            default = self.upstream(port.default, inspect=False)
            self.ports[port.listen] = PortState(self, port, table.chooser(port.listen), default)
        self.set_table(table)

    def set_table(self, table: Table) -> None:
        """From the next request of each connection on. The listening ports must be the same.

        A row that has gone leaves its counters to requests that still run, and to nobody else.
        """
        self.table = table
        self.row_stats = {row.id: self.row_stats.get(row.id) or RowStats() for row in table.rows}
        in_force = table.without(self.passed_over)
        for port in table.ports:
            state = self.ports[port.listen]
            state.raw = port.raw
            state.default = self.upstream(port.default, inspect=False)
            state.chooser = in_force.chooser(port.listen)
        self._forget_upstreams(in_force)
        self._pulses.follow(in_force.rows)

    def pass_over(self, ids: frozenset[str]) -> None:
        """Choose none of these rows from here on, and all others again. The table stays what it is."""
        if ids != self.passed_over:
            self.passed_over = ids
            self.set_table(self.table)

    def down(self) -> dict[str, bool]:
        """By address, whether it is taken for down. What a row that is passed over leads to is."""
        found = [port.default for port in self.ports.values()]
        rows = self.table.without(self.passed_over).rows
        found += [self.upstream(to, inspect=row.inspect) for row in rows for to in row.to.values()]
        passed = {to for row in self.table.rows if row.id in self.passed_over for to in row.to.values()}
        return {**{one.name: one.is_open for one in found}, **dict.fromkeys(passed, True)}

    def tick(self) -> None:
        """TICKS times a second: limits of clients, each at least once a second, and of idle upstream connections.

        In parts, since a look at 10,000 clients at once would make all others wait for it.
        """
        self.now = self.loop.time()
        if not self._due:
            self._due = list(self.clients)
            self._share = len(self._due) // TICKS + 1
            for upstream in self._upstreams.values():
                for connection in tuple(upstream.idle):
                    connection.tick(self.now)
        for client in self._due[-self._share :]:
            if client in self.clients:
                client.tick(self.now)
        del self._due[-self._share :]

    def drain(self) -> None:
        """Tell every client to finish; whoever comes still is served, and told the same."""
        self.draining = True
        for client in tuple(self.clients):
            client.drain()

    def background(self, work: Coroutine[Any, Any, None]) -> None:
        """Run it beside; it is kept from being collected, since the loop itself holds tasks by weak references."""
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        """The worker ends: what runs beside is cancelled."""
        self._pulses.stop()
        for task in tuple(self._tasks):
            task.cancel()

    def upstream(self, address: str, *, inspect: bool) -> Upstream:
        """The one that all connections to that address share."""
        key = (address, inspect and self.inspector is not None)
        found = self._upstreams.get(key)
        if found is None:
            via = self.inspector if inspect else None
            found = Upstream(address, self.config, via=via, is_silent=self._pulses.is_silent)
            self._upstreams[key] = found
        return found

    def _silent(self, addresses: frozenset[str], since: float) -> None:
        for upstream in [one for (address, _), one in self._upstreams.items() if address in addresses]:
            upstream.silent()
            for client in tuple(self.clients):
                client.silent(upstream, since)

    def _forget_upstreams(self, table: Table) -> None:
        named = {(port.default, False) for port in table.ports}
        named |= {(to, row.inspect and self.inspector is not None) for row in table.rows for to in row.to.values()}
        for key in self._upstreams.keys() - named:
            self._upstreams.pop(key).forget()
