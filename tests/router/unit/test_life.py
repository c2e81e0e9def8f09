"""What a worker says and hears on the channel."""

from __future__ import annotations

import asyncio
import json
import os
from typing import Any

from ktpy_router.life import Life
from ktpy_router.settings import parse
from ktpy_router.table import Table


def table(version: int, listen: int = 8080) -> Table:
    row = {"id": "s", "mark": "m", "owner": "o", "since": 1, "match": [], "to": {str(listen): "10.0.0.2:80"}}
    ports = [{"listen": listen, "default": "10.0.0.1:80"}]
    return Table.from_json(json.dumps({"format": 1, "version": version, "ports": ports, "rows": [row]}))


class Heard:
    """A wire that keeps what is sent."""

    def __init__(self) -> None:
        self.said: list[dict[str, Any]] = []

    def send(self, kind: str, **values: object) -> None:
        self.said.append({"type": kind, **values})

    def take(self) -> dict[str, Any]:
        return self.said.pop()


class Client:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def tick(self, now: float) -> None:
        self.told.append("tick")

    def drain(self) -> None:
        self.told.append("drain")

    def abort(self) -> None:
        self.told.append("abort")


def with_life(tmp_path, test) -> None:
    async def run() -> None:
        settings = parse(["--table", str(tmp_path / "none"), "--run-dir", str(tmp_path)])
        test(Life(settings, 1, table(3), {}), Heard())

    asyncio.run(run())


def test_the_hello_brings_the_table(tmp_path):
    def test(life: Life, wire: Any) -> None:
        life.hello(wire)

        said = wire.take()
        assert (said["worker"], said["pid"], said["version"]) == (1, os.getpid(), 3)
        assert Table.from_json(said["table"]) == table(3)
        assert said["why"] == "No original was asked yet."

    with_life(tmp_path, test)


def test_a_newer_table_is_taken_and_acknowledged(tmp_path):
    def test(life: Life, wire: Any) -> None:
        for version, now in ((4, 4), (2, 4)):
            life.heard(wire, {"type": "table", "table": table(version).to_json()})

            assert wire.take() == {"type": "ack", "version": now}
            assert life.core.table.version == now

    with_life(tmp_path, test)


def test_a_bad_table_or_one_for_other_ports_changes_nothing(tmp_path):
    def test(life: Life, wire: Any) -> None:
        for text in ("{", table(9, listen=9090).to_json()):
            life.heard(wire, {"type": "table", "table": text})

            assert wire.take()["type"] == "refused"
            assert life.core.table.version == 3

    with_life(tmp_path, test)


def test_counters_are_reported_with_the_number_of_the_question(tmp_path):
    def test(life: Life, wire: Any) -> None:
        life.core.ports[8080].row_stats(life.core.table.rows[0]).requests += 2

        life.heard(wire, {"type": "stats", "id": 5})

        said = wire.take()
        assert said["id"] == 5
        assert said["report"]["rows"]["s"]["requests"] == 2
        assert said["report"]["down"] == {"10.0.0.1:80": 0, "10.0.0.2:80": 0}

    with_life(tmp_path, test)


def test_one_that_was_asked_to_drain_before_accepts_from_then_on_as_long_as_others(tmp_path):
    def test(life: Life, wire: Any) -> None:
        now = life.core.loop.time()
        assert life.linger(now) == 5.0

        life.heard(wire, {"type": "drain"})

        assert 2.9 < life.linger(now + 2.0) <= 3.1
        assert life.linger(now + 6.0) == 0.0

    with_life(tmp_path, test)


def test_draining_asks_every_client_to_go_and_is_not_ready(tmp_path):
    def test(life: Life, wire: Any) -> None:
        client = Client()
        life.core.clients.add(client)

        life.heard(wire, {"type": "drain"})

        assert (life.core.draining, client.told) == (True, ["drain"])
        life.hello(wire)
        assert wire.take()["why"] == "Worker 1 is draining."

    with_life(tmp_path, test)
