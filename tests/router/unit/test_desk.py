"""Which tables are taken, how they come in force, and why a router is not ready."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ktpy_router import desk
from ktpy_router.channel import Hub, Lines, line
from ktpy_router.config import Config
from ktpy_router.desk import Desk, Refused
from ktpy_router.leases import Heartbeat
from ktpy_router.table import Table
from tests.router.unit.test_leases import silent
from tests.router.unit.test_raw import Noted


def table(version: int, *, listen: int = 8080, inspect: bool = False) -> Table:
    row = {"id": "s", "mark": "m", "owner": "o", "since": 1, "match": [], "to": {str(listen): "10.0.0.2:80"}}
    ports = [{"listen": listen, "default": "10.0.0.1:80"}]
    rows = [row | {"inspect": True}] if inspect else []
    return Table.from_json(json.dumps({"format": 1, "version": version, "ports": ports, "rows": rows}))


def test_a_newer_table_is_news_and_the_same_one_is_not():
    assert desk.is_news(table(3), table(2))
    assert not desk.is_news(table(2), table(2))


@pytest.mark.parametrize(
    ("new", "sentence"),
    [
        (table(1), "Table 2 is in force, which is newer than 1."),
        (table(2, inspect=True), "Another table 2 is in force; a changed table needs a greater version."),
        (table(3, listen=9090), "for listening port 9090, and this router has bound 8080 at its start"),
    ],
)
def test_one_that_must_not_be_taken_is_refused_in_a_sentence(new, sentence):
    with pytest.raises(Refused, match=sentence) as refused:
        desk.is_news(new, table(2))

    assert refused.value.status == 409


def test_an_inspector_is_wanted_while_a_row_asks_for_it():
    assert desk.wants_inspector(table(1, inspect=True))
    assert not desk.wants_inspector(table(1))


def ready(*hellos: dict[str, object], workers: int = 2, version: int = 2) -> str:
    async def run() -> str:
        hub = Hub(lambda *_: None)
        for hello in hellos:
            hub.protocol().data_received(line("hello", **{"pid": 7, "version": 2, "why": "", **hello}))
        return desk.why_not_ready(hub, workers, version)

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("hellos", "sentence"),
    [
        ((), "Worker 0 has not started yet."),
        (({"worker": 0},), "Worker 1 has not started yet."),
        (({"worker": 1}, {"worker": 0}), ""),
        (({"worker": 0}, {"worker": 1, "version": 1}), "Worker 1 has table 1 and not yet 2."),
        (({"worker": 0}, {"worker": 1, "why": "The original is down."}), "The original is down."),
        (({"worker": 0}, {"worker": 1, "version": 3}), ""),
    ],
)
def test_ready_is_when_every_worker_is(hellos, sentence):
    assert ready(*hellos) == sentence


class Disk:
    """A store, whose writing takes until it is let go."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.full = self.broken = False
        self.kept: list[str] = []

    def begin(self, text: str) -> Callable[[], None]:
        if self.full:
            raise OSError(28, "No space left on device")

        def settle() -> None:
            assert self.go.wait(5)
            if self.broken:
                raise OSError(5, "Input/output error")
            self.kept.append(text)

        return settle


class Office:
    """A desk with one worker, which acknowledges what it is told."""

    def __init__(self) -> None:
        self.disk = Disk()
        settings = SimpleNamespace(store=self.disk, workers=1, inspect_port=1, config=Config(expired_seconds=0.0))
        self.desk = Desk(cast(Any, settings), table(1), cast(Any, SimpleNamespace(say=lambda wanted: None)))
        self.lines = Noted()
        self.worker = self.desk.hub.protocol()
        self.worker.connection_made(self.lines)
        self.worker.data_received(line("hello", worker=0, pid=7, version=1, why="", table=""))

    async def told(self, version: int) -> None:
        """The worker has heard of that table, and says so."""
        while [Table.from_json(one["table"]).version for one in Lines().feed(b"".join(self.lines.did))][-1:] != [
            version
        ]:
            await asyncio.sleep(0)
        self.worker.data_received(line("ack", version=version))


def in_office(check: Any) -> Callable[[], None]:
    def test() -> None:
        async def main() -> None:
            office = Office()
            async with asyncio.timeout(5):
                await check(office)
            office.disk.go.set()

        asyncio.run(main())

    return test


@in_office
async def test_whoever_waits_is_told_at_once_that_it_is_ready(office: Office) -> None:
    office.worker.data_received(line("ready", why="The original is down."))
    assert await office.desk.not_ready_after(0.0) == "The original is down."
    assert await office.desk.not_ready_after(0.02) == "The original is down."

    waiting = asyncio.create_task(office.desk.not_ready_after(4.0))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    office.worker.data_received(line("ready", why=""))
    assert await waiting == ""


@in_office
async def test_workers_need_not_wait_for_the_disk_and_the_answer_does(office: Office) -> None:
    pushing = asyncio.create_task(office.desk.push(table(2)))
    await office.told(2)
    await asyncio.sleep(0.01)
    assert not pushing.done()
    assert not office.disk.kept

    office.disk.go.set()
    assert await pushing == "Table 2 is in force in 1 workers."
    assert office.disk.kept == [table(2).to_json()]
    assert await office.desk.push(table(2)) == "Table 2 is in force already."


@in_office
async def test_a_table_that_cannot_even_be_written_changes_nothing(office: Office) -> None:
    office.disk.full = True
    with pytest.raises(Refused, match="The table cannot be kept: No space left on device."):
        await office.desk.push(table(2))

    assert office.desk.table.version == 1
    assert not office.lines.did


@in_office
async def test_one_that_is_in_force_and_not_kept_can_be_pushed_again(office: Office) -> None:
    office.disk.broken = True
    office.disk.go.set()
    pushing = asyncio.create_task(office.desk.push(table(2)))
    await office.told(2)
    with pytest.raises(Refused, match="Table 2 is in force, but cannot be kept: Input/output error."):
        await pushing

    office.disk.broken = False
    assert await office.desk.push(table(2)) == "Table 2 is in force in 1 workers."
    assert office.disk.kept == [table(2).to_json()]


def of_sessions(version: int, *owners: str, to: str = "127.0.0.1:1") -> Table:
    """A row for each; nobody listens on port 1."""
    rows = [
        {"id": f"row-{owner}", "mark": "m", "owner": owner, "since": 1, "match": [], "to": {"8080": to}}
        for owner in owners
    ]
    ports = [{"listen": 8080, "default": "10.0.0.1:80"}]
    return Table.from_json(json.dumps({"format": 1, "version": version, "ports": ports, "rows": rows}))


def passed(office: Office) -> list[list[str]]:
    return [one["rows"] for one in Lines().feed(b"".join(office.lines.did)) if one["type"] == "pass-over"]


async def heard(office: Office, session: str, seconds: float = 0.0) -> Any:
    """A heartbeat, to which the worker reports its counters."""
    asked = asyncio.create_task(office.desk.hear(Heartbeat(session, seconds)))
    while not (questions := [one for one in Lines().feed(b"".join(office.lines.did)) if one["type"] == "stats"]):
        await asyncio.sleep(0)
    rows = {row.id: {"requests": 3} for row in office.desk.table.rows}
    for question in questions:
        report = {"rows": rows, "ports": {}, "down": {}}
        office.worker.data_received(line("stats", id=question["id"], report=report))
    return await asked


@in_office
async def test_a_heartbeat_is_answered_with_the_counters_of_its_rows(office: Office) -> None:
    office.desk.table = of_sessions(1, "ana", "bob")

    assert await heard(office, "ana") == {"row-ana": {"requests": 3}}


@in_office
async def test_a_row_of_a_silent_session_that_leads_nowhere_is_passed_over_until_it_is_heard(office: Office) -> None:
    office.desk.table = of_sessions(1, "ana", "bob")
    await heard(office, "ana")
    await asyncio.sleep(0.001)
    await office.desk.look_once()
    assert (office.desk.passed_over, passed(office)) == ({"row-ana"}, [["row-ana"]]), "bob never said how long"

    await heard(office, "ana", 60.0)
    assert (office.desk.passed_over, passed(office)) == (frozenset(), [["row-ana"], []])
    await office.desk.look_once()
    assert office.desk.passed_over == frozenset(), "it has said so again"


@in_office
async def test_a_row_that_leads_somewhere_stays(office: Office) -> None:
    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    office.desk.table = of_sessions(1, "ana", to=f"127.0.0.1:{port}")
    await heard(office, "ana")
    await asyncio.sleep(0.001)
    await office.desk.look_once()
    assert office.desk.passed_over == frozenset()
    server.close()


@in_office
async def test_a_row_with_another_address_is_in_force_again(office: Office) -> None:
    office.desk.table = of_sessions(1, "ana")
    office.desk.passed_over = frozenset({"row-ana"})
    office.disk.go.set()
    pushing = asyncio.create_task(office.desk.push(of_sessions(2, "ana", to="127.0.0.1:2")))
    office.worker.data_received(line("ack", version=2))
    await pushing
    assert (office.desk.passed_over, passed(office)) == (frozenset(), [[]])


@in_office
async def test_what_our_predecessor_passed_over_stays_so_and_a_new_worker_hears_of_it(office: Office) -> None:
    office.desk.table = of_sessions(1, "ana", "bob")
    await heard(office, "bob")
    hello = {"pid": 8, "version": 1, "why": "", "table": ""}
    office.worker.data_received(line("hello", worker=0, passed_over=["row-ana", "row-bob", "row-eve"], **hello))
    assert (office.desk.passed_over, passed(office)) == ({"row-ana"}, [["row-ana"], ["row-ana"]])

    other, lines = office.desk.hub.protocol(), Noted()
    other.connection_made(lines)
    other.data_received(line("hello", worker=1, passed_over=[], **hello))
    assert [one["rows"] for one in Lines().feed(b"".join(lines.did))] == [["row-ana"]]
