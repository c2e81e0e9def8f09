"""The end of HTTP/1 connections when the router goes, and what is added to requests and counted."""

from __future__ import annotations

import asyncio

import pytest

from ktpy_router.config import Config
from ktpy_router.http1 import Http1Client
from ktpy_router.http1_upstream import UpstreamConnection
from tests.router.loopback.origins import LARGE, Web, request
from tests.router.loopback.rawkit import free_port, marked, origin, router, until
from tests.router.loopback.stage import MARK, Stage, on_both_sides, run, stage


@pytest.mark.in_process
@on_both_sides
async def test_an_answer_after_the_order_to_go_says_close(s: Stage) -> None:
    client, other = await s.client(), await s.client()
    client.send(s.request("/hang"))
    await until(lambda: s.web.heads)
    s.router.core.drain()
    s.web.go.set()
    head, body = await client.answer()
    assert b"\r\nConnection: close\r\n" in head
    assert body == f"{s.web.name} GET /hang 0".encode()
    assert await client.rest() == b""

    head, _ = await s.get(other, "/")
    assert b"\r\nConnection: close\r\n" in head
    assert await other.rest() == b""


@pytest.mark.in_process
def test_idle_connections_are_closed_after_the_linger() -> None:
    async def scenario() -> None:
        async with asyncio.timeout(10), stage(config=Config(linger_seconds=0.1)) as s:
            client = await s.client()
            await s.is_fine(client)
            s.router.core.drain()
            assert await client.rest() == b""

    run(scenario())


@pytest.mark.in_process
def test_being_told_twice_is_the_end_of_the_linger() -> None:
    async def scenario() -> None:
        async with asyncio.timeout(10), stage() as s:
            client = await s.client()
            await s.is_fine(client)
            s.router.core.drain()
            s.router.core.drain()
            assert await client.rest() == b""

    run(scenario())


def test_headers_are_added_for_the_row_and_only_for_it() -> None:
    async def scenario() -> None:
        async with asyncio.timeout(10), stage(MARK, add={"x-ktpy": "1", "x-old": "new"}) as s:
            client = await s.client()
            for _ in range(2):
                await s.get(client, "/", "X-Old: old")
                await client.get("/", "X-Old: old")
            assert (
                s.mine.heads
                == [b"GET / HTTP/1.1\r\nHost: shop.example\r\nversion: ana\r\nx-ktpy: 1\r\nx-old: new\r\n\r\n"] * 2
            )
            assert s.original.heads == [b"GET / HTTP/1.1\r\nHost: shop.example\r\nX-Old: old\r\n\r\n"] * 2

    run(scenario())


def test_the_original_gets_the_request_as_the_row_would_when_it_answers_for_it() -> None:
    async def scenario() -> None:
        web = Web("original")
        async with asyncio.timeout(10), origin(web) as default:
            row = {**marked(f"127.0.0.1:{free_port()}"), "add": {"x-ktpy": "1"}, "mark": "añ\u00e1 1"}
            async with router(default.address, row) as r:
                made = Stage(r, web, web, (MARK,))
                client = await made.client()
                head, _ = await made.get(client, "/")
                assert web.heads == [made.request("/", "x-ktpy: 1")]
                assert b"ktpy-fallback: a%C3%B1%C3%A1%201\r\n" in head
                client.close()

    run(scenario())


def test_the_clients_address_is_appended_when_asked_for() -> None:
    async def scenario() -> None:
        async with asyncio.timeout(10), stage(config=Config(forwarded=True)) as s:
            client = await s.client()
            await client.get("/")
            await client.get("/", "X-Forwarded-For: 192.0.2.1")
            assert b"\r\nX-Forwarded-For: 127.0.0.1\r\n" in s.original.heads[0]
            assert b"\r\nX-Forwarded-For: 192.0.2.1, 127.0.0.1\r\n" in s.original.heads[1]

    run(scenario())


@on_both_sides
async def test_requests_bytes_and_times_are_counted(s: Stage) -> None:
    client = await s.client()
    for path, method in (("/", "GET"), ("/", "GET"), ("/chunked", "GET"), ("/", "HEAD"), ("/", "POST")):
        await s.get(client, path, method=method)
    client.send(s.request("/hang"))
    await until(lambda: s.counted()["open"])
    stats = s.counted()
    assert [stats[name] for name in ("requests", "open", "errors", "answered")] == [6, 1, 0, 5]
    assert stats["bytes_in"] == sum(map(len, s.web.heads[:5])) + len(s.request("/hang"))
    s.web.go.set()
    await client.answer()
    assert [s.counted()[name] for name in ("open", "answered")] == [0, 6]
    assert s.router.spoken()["http1"] == 1


@on_both_sides
async def test_a_client_that_leaves_in_the_middle_is_not_counted_as_open(s: Stage) -> None:
    for path in ("/large", "/sse", "/hang"):
        s.web.go.clear()
        client = await s.client()
        client.send(s.request(path))
        await until(lambda: s.counted()["open"])
        client.writer.transport.abort()
        s.web.go.set()
        await until(s.router.is_left)
        assert s.counted()["open"] == 0


def test_a_dialled_connection_is_used_for_the_request_that_comes_then() -> None:
    async def scenario() -> None:
        async with asyncio.timeout(10), stage() as s:
            client = await s.client()
            await until(lambda: s.original.connections)
            await s.is_fine(client)
            assert s.original.connections == 1

    run(scenario())


def mirrored(to: str, **more: object) -> dict[str, object]:
    return {**marked(to), "id": "copy", "mirror": True, **more}


def test_a_mirror_row_gets_a_copy_and_its_answer_is_dropped() -> None:
    async def scenario() -> None:
        original, copy = Web("original"), Web("copy")
        async with (
            asyncio.timeout(10),
            origin(original) as one,
            origin(copy) as two,
            router(one.address, mirrored(two.address)) as r,
        ):
            s = Stage(r, original, copy, (MARK,))
            client = await s.client()
            assert (await s.get(client, "/1"))[1] == b"original GET /1 0"
            client.send(s.request("/2", "Content-Length: 5", method="POST", body=b"hel"))
            client.send(b"lo")
            assert (await client.answer())[1] == b"original POST /2 5"
            await client.get("/3")
            await until(lambda: len(copy.bodies) == 2 and not r.counted("copy")["open"])
            assert sorted(copy.paths) == ["/1", "/2"]
            assert sorted(copy.bodies) == [b"", b"hello"]
            assert [r.counted("copy")[name] for name in ("requests", "errors")] == [2, 0]
            client.close()

    run(scenario())


def test_a_mirror_that_is_down_or_too_small_costs_nobody_but_its_counter() -> None:
    async def scenario() -> None:
        original = Web("original")
        dead = mirrored(f"127.0.0.1:{free_port()}")
        async with asyncio.timeout(10), origin(original) as one, router(one.address, dead) as r:
            s = Stage(r, original, original, (MARK,))
            client = await s.client()
            assert (await s.get(client, "/1"))[1] == b"original GET /1 0"
            await until(lambda: r.counted("copy")["errors"] == 1)
            size = 100_000
            client.send(s.request("/2", f"Content-Length: {size}", method="POST", body=bytes(size)))
            assert (await client.answer())[1] == f"original POST /2 {size}".encode()
            assert [r.counted("copy")[name] for name in ("errors", "open")] == [2, 0]
            client.close()

    run(scenario())


@pytest.mark.in_process
def test_nothing_is_left_of_a_client_that_has_gone() -> None:
    """Its parser refers to it, so a cycle would wait for the collector: with it, whatever buffers it has."""
    import gc

    def alive() -> int:
        return sum(isinstance(thing, Http1Client) for thing in gc.get_objects())

    async def scenario() -> None:
        async with asyncio.timeout(10), stage() as s:
            gc.collect()
            gc.disable()
            try:
                for path in ("/", "/chunked", "/eof", "/drop"):
                    client = await s.client()
                    await s.get(client, path)
                    client.close()
                await until(lambda: not s.router.core.clients)
                await until(lambda: not alive(), 1.0)
            finally:
                gc.enable()

    run(scenario())


@pytest.mark.in_process
@pytest.mark.parametrize("waits", [False, True])
def test_idle_upstream_connections_end_when_they_are_old(waits: bool) -> None:
    async def scenario() -> None:
        async with asyncio.timeout(10), stage(config=Config(pool_seconds=0.05)) as s:
            client = await s.client()
            await s.is_fine(client)
            idle = s.router.state.default.idle
            if not waits:
                client.close()
                await until(lambda: idle)
                await until(lambda: [c.tick(s.router.core.loop.time()) for c in tuple(idle)] == [])
                assert s.original.eof_seen.is_set() or await asyncio.wait_for(s.original.eof_seen.wait(), 5)

    run(scenario())


@pytest.mark.in_process
def test_what_an_idle_upstream_says_is_not_an_answer() -> None:
    async def scenario() -> None:
        async with asyncio.timeout(10), stage() as s:
            client = await s.client()
            await s.is_fine(client)
            (inside,) = s.router.core.clients
            assert isinstance(inside, Http1Client)
            up = inside.up
            assert isinstance(up, UpstreamConnection)
            up.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
            assert inside.up is None
            await s.is_fine(client)
            assert s.original.connections == 2

    run(scenario())


def test_no_answer_is_lost_when_routes_change_under_load() -> None:
    async def scenario() -> None:
        async with asyncio.timeout(20), stage(MARK) as s:
            clients = [await s.client() for _ in range(8)]
            done = asyncio.Event()

            async def load(i: int) -> int:
                n = 0
                while not done.is_set():
                    assert (await s.get(clients[i], "/"))[1] in (b"mine GET / 0", b"original GET / 0")
                    n += 1
                return n

            loads = [asyncio.ensure_future(load(i)) for i in range(8)]
            for version in range(2, 202):
                s.router.put(*(s.router.rows if version % 2 else ()))
                await asyncio.sleep(0.002)
            done.set()
            assert sum(await asyncio.gather(*loads)) > 200

    run(scenario())


def test_pipelined_requests_of_a_client_that_does_not_read_are_not_all_taken() -> None:
    async def scenario() -> None:
        async with asyncio.timeout(20), stage() as s:
            client = await s.client()
            client.writer.transport.pause_reading()  # type: ignore[attr-defined]
            for _ in range(20):
                client.send(request("/large"))
            await until(lambda: s.original.uploaded)
            before = -1
            while before != s.original.uploaded:
                before = s.original.uploaded
                await asyncio.sleep(0.1)
            assert len(s.original.heads) < 20
            client.writer.transport.resume_reading()  # type: ignore[attr-defined]
            for _ in range(20):
                assert len((await client.answer())[1]) == LARGE

    run(scenario())
