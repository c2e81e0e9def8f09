"""Upstreams that are down, in each of the ways: who answers then, and what the client sees."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from ktpy_router.config import Config
from tests.router.loopback.origins import Client, Web, request
from tests.router.loopback.rawkit import QUICK, Handler, Router, close_at_once, free_port, marked, origin, router, until
from tests.router.loopback.stage import MARK, run, stage

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


async def swallow_request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A tunnel that takes some bytes before it learns that its far end is closed."""
    await reader.read(10)
    writer.transport.abort()


@asynccontextmanager
async def refusing() -> AsyncIterator[str]:
    yield f"127.0.0.1:{free_port()}"


@asynccontextmanager
async def swallowing_syns() -> AsyncIterator[str]:
    """A listener whose backlog is full: the kernel drops further SYNs."""
    with contextlib.ExitStack() as stack:
        full = stack.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(2):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                waiting.connect(full.getsockname())
        yield f"127.0.0.1:{full.getsockname()[1]}"


@asynccontextmanager
async def closing(handler: Handler) -> AsyncIterator[str]:
    async with origin(handler) as o:
        yield o.address


DOWN = {
    "refuses": refusing,
    "swallows SYNs": swallowing_syns,
    "accepts and closes": lambda: closing(close_at_once),
    "accepts and resets": lambda: closing(swallow_request),
}


@asynccontextmanager
async def broken(way: str, **row: Any) -> AsyncIterator[tuple[Router, Client, Web]]:
    web = Web("original")
    async with (
        asyncio.timeout(20),
        origin(web) as default,
        DOWN[way]() as dead,
        router(default.address, {**marked(dead), **row}, config=QUICK) as r,
    ):
        client = await Client.to(r.port)
        try:
            yield r, client, web
        finally:
            client.writer.transport.abort()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("way", DOWN)
def test_the_original_answers_for_a_row_that_is_down(way: str, method: str) -> None:
    async def scenario() -> None:
        async with broken(way) as (r, client, web):
            body = b"x" * 60_000 if method in ("POST", "PUT", "PATCH") else b""
            lines = [MARK, *([f"Content-Length: {len(body)}"] if body else [])]
            for _ in range(5):
                sent = request("/", *lines, method=method, body=body)
                client.send(sent)
                head, text = await client.answer()
                assert text == f"original {method} / {len(body)}".encode()
                assert b"\r\nktpy-fallback: ana\r\n" in head
            assert web.heads == [sent[: len(sent) - len(body)]] * 5
            head, _ = await client.get("/")
            assert b"ktpy-fallback" not in head
            stats = r.counted("m")
            assert [stats[name] for name in ("requests", "fallbacks", "errors", "open")] == [5, 5, 0, 0]

    run(scenario())


@pytest.mark.parametrize("way", DOWN)
def test_one_request_pays_for_finding_out_and_not_each(way: str) -> None:
    async def scenario() -> None:
        async with broken(way) as (r, client, _):
            while not r.is_mine_down():
                await client.get("/", MARK)
            begun = time.monotonic()
            for _ in range(20):
                assert (await client.get("/", MARK))[1] == b"original GET / 0"
            assert time.monotonic() - begun < 5 * QUICK.connect_seconds, "20, if each did"

    run(scenario())


@pytest.mark.parametrize("way", DOWN)
def test_a_strict_row_says_why(way: str) -> None:
    async def scenario() -> None:
        async with broken(way, strict=True) as (r, client, web):
            for _ in range(4):
                head, body = await client.get("/", MARK)
                assert head.split(b" ")[1] in (b"502", b"503")
                assert b"The upstream of row 'ana' at 127.0.0.1:" in body
                assert await client.rest() == b""
                client.close()
                client = await Client.to(r.port)
            assert head.split(b" ")[1] == b"503", "the breaker is open by now"
            assert web.heads == []
            client.close()

    run(scenario())


def test_a_row_is_used_again_when_it_is_back() -> None:
    async def scenario() -> None:
        mine = Web("mine")
        async with broken("refuses") as (r, client, _):
            assert (await client.get("/", MARK))[1] == b"original GET / 0"
            port = int(r.mine.rpartition(":")[2])
            async with origin(mine, port):
                await until(lambda: not r.is_mine_down())
                head, body = await client.get("/", MARK)
                assert body == b"mine GET / 0"
                assert b"ktpy-fallback" not in head

    run(scenario())


@pytest.mark.parametrize("way", ["refuses", "accepts and closes"])
def test_a_row_that_holds_waits_for_its_upstream(way: str) -> None:
    async def scenario() -> None:
        mine = Web("mine")
        alive = asyncio.Event()

        async def flaky(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await (mine(reader, writer) if alive.is_set() else close_at_once(reader, writer))

        async with contextlib.AsyncExitStack() as stack:
            if way == "refuses":
                r, client, _ = await stack.enter_async_context(broken(way, hold=10))
                port = int(r.mine.rpartition(":")[2])
            else:
                default = await stack.enter_async_context(origin(Web("original")))
                down = await stack.enter_async_context(origin(flaky))
                r = await stack.enter_async_context(
                    router(default.address, {**marked(down.address), "hold": 10}, config=QUICK)
                )
                client = await Client.to(r.port)
            client.send(request("/", MARK, "Content-Length: 5", method="POST", body=b"hel"))
            await until(r.is_mine_down)
            client.send(b"lo")
            alive.set()
            if way == "refuses":
                await stack.enter_async_context(origin(mine, port))
            assert (await client.answer())[1] == b"mine POST / 5"
            assert mine.bodies == [b"hello"]
            client.close()

    run(scenario())


@pytest.mark.parametrize("strict", [False, True])
def test_a_row_does_not_hold_for_ever(strict: bool) -> None:
    async def scenario() -> None:
        async with broken("refuses", hold=0.3, strict=strict) as (_, client, _):
            begun = time.monotonic()
            head, body = await client.get("/", MARK)
            assert time.monotonic() - begun >= 0.3
            assert head.startswith(b"HTTP/1.1 503 " if strict else b"HTTP/1.1 200 ")

    run(scenario())


def test_a_client_that_leaves_while_it_is_held_leaves_nothing_behind() -> None:
    async def scenario() -> None:
        async with broken("refuses", hold=10) as (r, client, _):
            client.send(request("/", MARK, "Content-Length: 5", method="POST"))
            await until(lambda: r.counted("m")["open"])
            await until(r.is_mine_down)
            client.writer.transport.abort()
            await until(r.is_left)
            assert r.counted("m")["open"] == 0

    run(scenario())


def test_a_long_upload_to_an_upstream_that_refuses_goes_to_the_original() -> None:
    """None of it had been sent, so nothing need be kept."""

    async def scenario() -> None:
        async with broken("refuses") as (_, client, _):
            size = 2_000_000
            client.send(request("/", MARK, f"Content-Length: {size}", method="POST", body=bytes(size)))
            assert (await client.answer())[1] == f"original POST / {size}".encode()

    run(scenario())


def test_the_original_being_down_is_a_502() -> None:
    async def scenario() -> None:
        async with asyncio.timeout(10), router(f"127.0.0.1:{free_port()}", config=QUICK) as r:
            for _ in range(2):
                client = await Client.to(r.port)
                head, body = await client.get("/")
                assert head.startswith(b"HTTP/1.1 502 ")
                assert b"(the original) refused the connection." in body
                client.close()
            assert r.counted()["errors"] == 2

    run(scenario())


@pytest.mark.parametrize("lines", [(), (MARK,)], ids=["unmarked", "marked"])
def test_a_kept_connection_that_ends_under_a_request_is_replaced_where_that_is_safe(lines: tuple[str, ...]) -> None:
    async def scenario() -> None:
        async with stage(*lines) as s:
            for method, status in (("GET", 200), ("DELETE", 200), ("POST", 502), ("PATCH", 502)):
                client = await s.client()
                await s.get(client, "/hello-then-gone")
                head, _ = await s.get(client, f"/{method}", method=method)
                assert head.split(b" ")[1] == str(status).encode()
                assert s.web.paths.count(f"/{method}") == (status == 200)

    run(scenario())


@pytest.mark.in_process
def test_a_post_does_not_use_a_connection_that_may_be_closed_any_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ktpy_router.pool.SURE_SECONDS", 0.0)

    async def scenario() -> None:
        async with stage() as s:
            client = await s.client()
            await s.is_fine(client)
            await s.get(client, "/", method="POST")
            await s.is_fine(client)
            assert s.original.connections == 2

    run(scenario())


def test_a_change_of_the_table_holds_from_the_next_request_on() -> None:
    async def scenario() -> None:
        async with stage(MARK) as s:
            client = await s.client()
            await s.is_fine(client)
            s.router.put()
            assert (await s.get(client, "/"))[1] == b"original GET / 0"
            s.router.put(*s.router.rows)
            assert (await s.get(client, "/"))[1] == b"mine GET / 0"

    run(scenario())


@pytest.mark.in_process
def test_many_idle_connections_are_shared_and_bounded() -> None:
    async def scenario() -> None:
        async with stage(config=replace(Config(), pool_size=3)) as s:
            clients = [await s.client() for _ in range(6)]
            await asyncio.gather(*(s.is_fine(client) for client in clients))
            for client in clients:
                client.close()
            await until(lambda: not s.router.core.clients)
            assert len(s.router.state.default.idle) <= 3
            before = s.original.connections
            await s.is_fine(await s.client())
            assert s.original.connections == before

    run(scenario())
