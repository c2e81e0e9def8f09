"""A laptop that sleeps behind a shadow that takes everything: its requests go elsewhere, and come back with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, cast

import pytest
from harness import wait_for

from tests.router.loopback.h2kit import Loop, Origin, Wire
from tests.router.loopback.h2kit import router as h2_router
from tests.router.loopback.h2kit import row as h2_row
from tests.router.loopback.origins import Client, Web, request
from tests.router.loopback.rawkit import QUICK, Router, marked, origin, router, until
from tests.router.loopback.stage import MARK, run

ALERT = replace(QUICK, pulse_seconds=0.02, silent_seconds=0.2)


class Laptop:
    """Its program, and its pulse. Asleep, it takes everything and answers nothing, until it wakes up."""

    def __init__(self) -> None:
        self.awake = asyncio.Event()
        self.awake.set()
        self.web = Web("mine")
        self.pulses = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self.awake.wait()
        await self.web(reader, writer)

    async def pulse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(64):
            await self.awake.wait()
            writer.write(data)
            self.pulses += 1


@asynccontextmanager
async def asleep(**row: Any) -> AsyncIterator[tuple[Laptop, Router, Client]]:
    """It sleeps, and nobody knows."""
    laptop = Laptop()
    async with (
        origin(Web("original")) as default,
        origin(laptop.serve) as mine,
        origin(laptop.pulse) as pulse,
        router(default.address, {**marked(mine.address), "pulse": pulse.address, **row}, config=ALERT) as r,
    ):
        client = await Client.to(r.port)
        try:
            await until(lambda: laptop.pulses > 2)
            laptop.awake.clear()
            yield laptop, r, client
        finally:
            client.writer.transport.abort()
            r.put()


def test_the_original_answers_for_a_laptop_that_sleeps() -> None:
    async def scenario() -> None:
        async with asleep() as (laptop, r, client):
            for _ in range(3):
                head, body = await client.get("/", MARK)
                assert body == b"original GET / 0"
                assert b"\r\nktpy-fallback: ana\r\n" in head
            assert r.is_mine_down()
            laptop.awake.set()
            await until(lambda: not r.is_mine_down())
            assert (await client.get("/", MARK))[1] == b"mine GET / 0"

    run(scenario())


def test_what_it_may_do_twice_is_refused_and_the_next_one_goes_to_the_original() -> None:
    async def scenario() -> None:
        async with asleep() as (_, r, client):
            twice = request("/", MARK, "Content-Length: 2", method="POST", body=b"hi")
            client.send(twice)
            head, body = await client.answer()
            assert (head[:12], b"is asleep, or has lost its network" in body) == (b"HTTP/1.1 502", True)
            other = await Client.to(r.port)
            other.send(twice)
            assert (await other.answer())[1] == b"original POST / 2"
            other.writer.transport.abort()

    run(scenario())


@pytest.mark.parametrize("row", [{"strict": True}, {"hold": 30.0}])
def test_a_strict_row_says_so_and_one_that_holds_waits(row: dict[str, Any]) -> None:
    async def scenario() -> None:
        async with asleep(**row) as (laptop, r, client):
            client.send(request("/", MARK))
            if "strict" in row:
                head, body = await client.answer()
                assert (head[:12], b"is asleep" in body) == (b"HTTP/1.1 502", True)
                return
            await until(r.is_mine_down)
            laptop.awake.set()
            assert (await client.answer())[1] == b"mine GET / 0"

    run(scenario())


def test_a_request_that_has_reached_the_program_stays_with_it() -> None:
    async def scenario() -> None:
        async with asleep() as (laptop, r, client):
            laptop.awake.set()
            client.send(request("/hang", MARK))
            seen = laptop.pulses
            await until(lambda: laptop.web.heads)
            await until(lambda: laptop.pulses > seen + 5)
            laptop.awake.clear()
            await until(r.is_mine_down)
            laptop.awake.set()
            laptop.web.go.set()
            assert (await client.answer())[1].startswith(b"mine")

    run(scenario())


def test_a_program_that_a_debugger_has_stopped_keeps_its_requests() -> None:
    async def scenario() -> None:
        async with asleep() as (laptop, r, client):
            laptop.awake.set()
            client.send(request("/hang", MARK))
            seen = laptop.pulses
            await until(lambda: laptop.pulses > seen + 30)
            assert not r.is_mine_down()
            laptop.web.go.set()
            assert (await client.answer())[1].startswith(b"mine")

    run(scenario())


def test_a_pulse_that_was_never_heard_judges_nobody() -> None:
    async def scenario() -> None:
        async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()

        async with (
            origin(Web("original")) as default,
            origin(mine := Web("mine")) as laptop,
            origin(deaf) as pulse,
            router(default.address, {**marked(laptop.address), "pulse": pulse.address}, config=ALERT) as r,
        ):
            client = await Client.to(r.port)
            client.send(request("/hang", MARK))
            await until(lambda: mine.heads and pulse.accepted)
            await asyncio.sleep(2 * ALERT.silent_seconds)
            assert not r.is_mine_down()
            mine.go.set()
            assert (await client.answer())[1].startswith(b"mine")
            client.writer.transport.abort()
            r.put()

    run(scenario())


class Pulse(asyncio.Protocol):
    """Of a laptop whose program answers nothing."""

    heard = 0
    awake = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self.awake:
            self.heard += 1
            self.transport.write(data)


def test_streams_of_http2_are_judged_one_by_one() -> None:
    """Those that the laptop has got stay; a later one goes to the original, unless it is not to be done twice."""
    pulse = Pulse()
    with Loop() as loop:
        original, mine = loop.listen(lambda: Origin("original")), loop.listen(asyncio.Protocol)
        row = h2_row(mine, pulse=f"127.0.0.1:{loop.listen(lambda: pulse)}")
        with h2_router(original, [row], ALERT, loop) as running, Wire(running.port) as wire:
            wait_for(lambda: pulse.heard, "the first pulse")
            wire.head(1, ("version", "ana"))
            wire.sync()
            seen = pulse.heard
            wait_for(lambda: pulse.heard > seen + 3, "more pulses")
            pulse.awake = False
            wire.sync()
            wire.head(3, ("version", "ana"))
            wire.head(5, ("version", "ana"), method="POST")
            assert wire.answer(3)[1] == b"original"
            assert wire.answer(5)[0][":status"] == "502"
            wire.head(7, ("version", "ana"), method="POST")
            assert wire.answer(7)[1] == b"original"
            assert not [frame for frame in wire.seen if frame.stream == 1]
