"""Which tables are taken, who may ask, and why a router is not ready."""

from __future__ import annotations

import asyncio
import json

import pytest

from ktpy_router import control
from ktpy_router.channel import Hub, line
from ktpy_router.control import Refused
from ktpy_router.table import Table


def table(version: int, *, listen: int = 8080, inspect: bool = False) -> Table:
    row = {"id": "s", "mark": "m", "owner": "o", "since": 1, "match": [], "to": {str(listen): "10.0.0.2:80"}}
    ports = [{"listen": listen, "default": "10.0.0.1:80"}]
    rows = [row | {"inspect": True}] if inspect else []
    return Table.from_json(json.dumps({"format": 1, "version": version, "ports": ports, "rows": rows}))


def test_a_newer_table_is_news_and_the_same_one_is_not():
    assert control.is_news(table(3), table(2))
    assert not control.is_news(table(2), table(2))


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
        control.is_news(new, table(2))

    assert refused.value.status == 409


def test_an_inspector_is_wanted_while_a_row_asks_for_it():
    assert control.wants_inspector(table(1, inspect=True))
    assert not control.wants_inspector(table(1))


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:9901", "LOCALHOST:1", "127.0.0.1", "127.0.0.1:9901", "[::1]:9901"]
)
def test_programs_on_this_machine_may_ask(host):
    assert control.is_local(host, None)


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("", None),
        ("evil.example", None),
        ("localhost.evil.example", None),
        ("127.0.0.1.evil.example:9901", None),
        ("10.0.0.1", None),
        ("localhost:", None),
        ("localhost@evil.example", None),
        ("localhost:9901", "http://evil.example"),
        ("localhost:9901", "null"),
    ],
)
def test_web_pages_may_not(host, origin):
    assert not control.is_local(host, origin)


def ready(*hellos: dict[str, object], workers: int = 2, version: int = 2) -> str:
    async def run() -> str:
        hub = Hub(lambda *_: None)
        for hello in hellos:
            hub.protocol().data_received(line("hello", **{"pid": 7, "version": 2, "why": "", **hello}))
        return control.why_not_ready(hub, workers, version)

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
