"""A change of routes is one assignment: what stays keeps its state, what goes is forgotten."""

from __future__ import annotations

import asyncio
from typing import Any

from ktpy_router.config import Config
from ktpy_router.core import TICKS, Core
from tests.router.unit.test_table import raw, read, row


def on_loop(check: Any, **table: Any) -> None:
    async def main() -> None:
        check(Core(Config(), read(raw(**table)), inspector=("127.0.0.1", 9902)))

    asyncio.run(main())


def test_upstreams_are_shared_and_kept_as_long_as_a_table_names_them() -> None:
    def check(core: Core) -> None:
        port = core.ports[8080]
        first, second = core.table.rows
        shared = port.upstream(first)
        assert shared is port.upstream(second)
        assert port.upstream(None) is port.default

        core.set_table(read(raw(version=8, rows=[row()])))
        assert port.upstream(first) is shared

        core.set_table(read(raw(version=9)))
        core.set_table(read(raw(version=10, rows=[row()])))
        assert port.upstream(first) is not shared

    on_loop(check, rows=[row(), row(id="s2")])


def test_counters_live_as_long_as_their_row() -> None:
    def check(core: Core) -> None:
        port = core.ports[8080]
        (old,) = core.table.rows
        port.row_stats(old).requests += 1
        core.set_table(read(raw(version=8, rows=[row(mark="b")])))
        assert port.row_stats(core.table.rows[0]).requests == 1

        running = port.row_stats(old)
        core.set_table(read(raw(version=9)))
        running.requests += 1
        assert port.row_stats(old).requests == 0, "a request of a row that has gone counts for nobody"

    on_loop(check, rows=[row()])


def test_an_inspected_row_goes_another_way_to_the_same_address() -> None:
    def check(core: Core) -> None:
        port = core.ports[8080]
        plain, inspected = core.table.rows
        assert port.upstream(plain).via is None
        assert port.upstream(inspected).via == ("127.0.0.1", 9902)
        assert port.upstream(inspected).name == port.upstream(plain).name

    on_loop(check, rows=[row(), row(id="s2", inspect=True)])


def test_a_port_follows_the_table() -> None:
    def check(core: Core) -> None:
        port = core.ports[8080]
        assert port.only_one
        ports = [{"listen": 8080, "default": "10.96.0.8:80", "raw": True}, {"listen": 9090, "default": "db:5432"}]
        core.set_table(read(raw(version=8, ports=ports, rows=[row()])))
        assert not port.only_one
        assert port.raw
        assert port.default.name == "10.96.0.8:80"
        assert port.chooser.simple is not None

    on_loop(check)


def test_a_row_that_is_passed_over_gets_nothing_keeps_its_counters_and_is_down() -> None:
    def check(core: Core) -> None:
        port = core.ports[8080]
        core.row_stats["s1"].requests = 5
        core.pass_over(frozenset({"s1"}))
        assert [one.id for one in port.chooser.rows] == ["s2"]
        assert core.row_stats["s1"].requests == 5
        assert core.down() == {"10.96.0.7:80": False, "db:5432": False, "10.0.0.9:80": True, "10.0.0.10:80": False}

        core.set_table(read(raw(version=8, rows=rows)))
        assert [one.id for one in port.chooser.rows] == ["s2"], "a new table changes nothing of it"
        core.pass_over(frozenset())
        assert [one.id for one in port.chooser.rows] == ["s1", "s2"]
        assert core.row_stats["s1"].requests == 5
        assert not any(core.down().values())

    rows = [row(), row(id="s2", to={"8080": "10.0.0.10:80"})]
    on_loop(check, rows=rows)


class Counting:
    """A client that counts."""

    def __init__(self) -> None:
        self.ticks = 0

    def tick(self, now: float) -> None:
        self.ticks += 1

    def drain(self) -> None: ...

    def abort(self) -> None: ...


def test_many_clients_are_looked_at_in_parts_and_each_once_a_second() -> None:
    def check(core: Core) -> None:
        clients = [Counting() for _ in range(1000)]
        core.clients |= set(clients)
        gone = clients.pop()
        most = 0
        for number in range(TICKS):
            before = sum(client.ticks for client in clients)
            core.tick()
            most = max(most, sum(client.ticks for client in clients) - before)
            if number == 0 and not gone.ticks:
                core.clients.discard(gone)
        assert {client.ticks for client in clients} == {1}
        assert most <= 1000 // TICKS + 1

    on_loop(check)


def test_draining_tells_every_client() -> None:
    told: list[str] = []

    class Client:
        def tick(self, now: float) -> None:
            told.append("tick")

        def drain(self) -> None:
            told.append("drain")
            core_of[0].clients.discard(self)

        def abort(self) -> None: ...

    core_of: list[Core] = []

    def check(core: Core) -> None:
        core_of.append(core)
        core.clients |= {Client(), Client()}
        core.tick()
        core.tick()
        core.drain()
        assert told == ["tick", "tick", "drain", "drain"]
        assert core.draining

    on_loop(check)
