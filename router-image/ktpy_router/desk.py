"""What the control port works on: the table in force, the workers that have it, and how a new one comes in force."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from typing import Any

from ktpy_router import launch, stats, store
from ktpy_router.channel import Hub, Message, Wire
from ktpy_router.leases import LOOKS, SHORTEST_SECONDS, Heartbeat, Leases, is_gone
from ktpy_router.settings import Settings
from ktpy_router.table import BadTable, Table

ACK_SECONDS = 2.0
STATS_SECONDS = 1.0
INSPECTOR_SECONDS = 5.0


class Refused(Exception):
    """What was asked is not done, or not all of it: the sentence says."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class Desk:
    """What the handlers work on: the table in force and the workers that have it.

    Workers are told of a table while it is being kept, since that takes longer. Should this process die in between, the
    workers still have it, and tell the next one; whoever pushed it had no answer.
    """

    def __init__(self, settings: Settings, table: Table, wish: launch.Wish) -> None:
        self.table = table
        self.passed_over: frozenset[str] = frozenset()
        """Ids of rows, as in Core."""
        self.hub = Hub(self._hello)
        self._leases = Leases(settings.config.expired_seconds)
        self._settings = settings
        self._wish = wish
        self._draining = False
        self._kept = True
        self._asked = 0
        self._one_at_a_time = asyncio.Lock()
        wish.say(wants_inspector(table))

    async def push(self, table: Table) -> str:
        """Bring a table in force.

        Errors: Refused; then nothing has changed, unless the sentence says so. To push the same again is right then.
        """
        async with self._one_at_a_time:
            if not is_news(table, self.table) and self._kept:
                return f"Table {table.version} is in force already."
            if wants_inspector(table):
                await self._inspector()
            text = table.to_json()
            try:
                settle = self._settings.store.begin(text)
            except OSError as error:
                raise Refused(500, f"The table cannot be kept: {error.strerror or error}.") from error
            was, self.table, self._kept = self.table, table, False
            self._leases.keep({row.owner for row in table.rows})
            self.hub.tell("table", table=text)
            self._pass_over(self.passed_over & {row.id for row in table.rows if row in was.rows})
            settling = asyncio.get_running_loop().run_in_executor(None, settle)
            self._wish.say(wants_inspector(table))
            await self.hub.until(lambda: not self.hub.behind(table.version), ACK_SECONDS)
            try:
                await settling
            except OSError as error:
                why = error.strerror or error
                raise Refused(500, f"Table {table.version} is in force, but cannot be kept: {why}.") from error
            self._kept = True
            if behind := self.hub.behind(table.version):
                names = " and ".join(f"worker {peer.worker} (pid {peer.pid})" for peer in behind)
                raise Refused(504, f"Table {table.version} is kept, but {names} has not taken it in {ACK_SECONDS:g} s.")
            if refusals := [peer.refused for peer in self.hub.peers.values() if peer.refused]:
                raise Refused(500, f"Table {table.version} is kept, but a worker refused it: {refusals[0]}")
            return f"Table {table.version} is in force in {len(self.hub.peers)} workers."

    async def hear(self, beat: Heartbeat) -> Mapping[str, Any]:
        """A session lives: its rows are in force, again if need be. What they have carried, by id."""
        mine = {row.id for row in self.table.rows if row.owner == beat.session}
        if mine:
            self._leases.renew(beat, asyncio.get_running_loop().time())
            self._pass_over(self.passed_over - mine)
        found = stats.merge((await self.reports()).values())["rows"]
        return {name: counted for name, counted in found.items() if name in mine}

    async def look_after_rows(self) -> None:
        """For ever: pass over rows whose session is overdue, and whose upstream is gone."""
        pause = max(SHORTEST_SECONDS, self._settings.config.expired_seconds / LOOKS)
        while True:
            await asyncio.sleep(pause)
            await self.look_once()

    async def look_once(self) -> None:
        """One look at all rows. A session may come back while an address is being tried."""
        for row in self.table.rows:
            if row.id in self.passed_over or not self._is_overdue(row.owner) or not await is_gone(row):
                continue
            if row in self.table.rows and self._is_overdue(row.owner):
                launch.say(f"Row {row.id} is passed over: its session is silent, and nobody answers for it.")
                self._pass_over(self.passed_over | {row.id})

    def _is_overdue(self, session: str) -> bool:
        return self._leases.is_overdue(session, asyncio.get_running_loop().time())

    def _pass_over(self, ids: Collection[str]) -> None:
        if self.passed_over != ids:
            self.passed_over = frozenset(ids)
            self.hub.tell("pass-over", rows=sorted(ids))

    def drain(self) -> None:
        """For the living workers, and for those that start later."""
        self._draining = True
        self.hub.tell("drain")

    def why_not_ready(self) -> str:
        """A sentence; empty when ready."""
        return why_not_ready(self.hub, self._settings.workers, self.table.version)

    async def not_ready_after(self, seconds: float) -> str:
        """The same as soon as it is ready, else when SECONDS have passed."""
        await self.hub.until(lambda: not self.why_not_ready(), seconds)
        return self.why_not_ready()

    async def reports(self) -> dict[int, stats.Report]:
        """By worker; one that does not answer in time is left out."""
        self._asked += 1
        asked, hub = self._asked, self.hub
        hub.tell("stats", id=asked)

        def have_answered() -> set[Wire]:
            return {wire for wire, report in hub.reports.items() if report["id"] >= asked}

        await hub.until(lambda: hub.peers.keys() <= have_answered(), STATS_SECONDS)
        found = {hub.peers[wire].worker: hub.reports[wire]["report"] for wire in have_answered()}
        return dict(sorted(found.items()))

    def _hello(self, wire: Wire, message: Message) -> None:
        """A worker came. The one with the older table gets the newer; after our own death that may be us."""
        if message["version"] > self.table.version:
            self.table = Table.from_json(message["table"])
            self._wish.say(wants_inspector(self.table))
            self.hub.tell("table", table=self.table.to_json())
        elif message["version"] < self.table.version:
            wire.send("table", table=self.table.to_json())
        theirs = message.get("passed_over", [])
        self._take_over(theirs)
        if sorted(self.passed_over) != theirs:
            wire.send("pass-over", rows=sorted(self.passed_over))
        if self._draining:
            wire.send("drain")

    def _take_over(self, ids: Collection[str]) -> None:
        """What a worker passes over, from our predecessor; of sessions that we have heard we know better."""
        known = {row.id for row in self.table.rows if row.owner not in self._leases}
        self._pass_over(self.passed_over | (known & set(ids)))

    async def _inspector(self) -> None:
        """Started before requests are sent its way; a while is all it gets, since rows fall back without it."""
        self._wish.say(True)
        try:
            async with asyncio.timeout(INSPECTOR_SECONDS):
                while not await _accepts(self._settings.inspect_port):
                    await asyncio.sleep(0.05)
        except TimeoutError:
            launch.say(f"The inspector does not listen after {INSPECTOR_SECONDS:g} s.")


def is_news(table: Table, current: Table) -> bool:
    """Whether TABLE replaces CURRENT; not when it is the same.

    Errors: Refused when it must not.
    """
    try:
        store.expect_ports(table, store.listening(current))
    except BadTable as error:
        raise Refused(409, str(error)) from error
    if table.version > current.version:
        return True
    if table.version < current.version:
        raise Refused(409, f"Table {current.version} is in force, which is newer than {table.version}.")
    if table.to_json() != current.to_json():
        raise Refused(409, f"Another table {current.version} is in force; a changed table needs a greater version.")
    return False


def wants_inspector(table: Table) -> bool:
    return any(row.inspect for row in table.rows)


def why_not_ready(hub: Hub, workers: int, version: int) -> str:
    """A sentence; empty when ready."""
    peers = sorted(hub.peers.values())
    if missing := sorted(set(range(workers)) - {peer.worker for peer in peers}):
        return f"Worker {missing[0]} has not started yet."
    for peer in peers:
        if peer.version < version:
            return f"Worker {peer.worker} has table {peer.version} and not yet {version}."
        if peer.why_not_ready:
            return peer.why_not_ready
    return ""


async def _accepts(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True
