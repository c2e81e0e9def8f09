"""New clients: what they speak is found out from their first bytes, or from the server's when they are silent."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time

import pytest

from ktpy_router.config import Config
from ktpy_router.sniff import PREFACE
from tests.router.loopback.rawkit import (
    IMPATIENT,
    Handler,
    catch_all,
    close_at_once,
    echo,
    free_port,
    marked,
    on_side,
    origin,
    router,
    run,
    until,
)

REQUEST = b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n"
CLIENT_HELLO = bytes.fromhex("16 03 01 00 05 01 00 00 01 00")


async def http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(asyncio.IncompleteReadError):
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


def banner(text: bytes, then: Handler = echo) -> Handler:
    async def speak_first(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(text)
        await then(reader, writer)

    return speak_first


@pytest.mark.parametrize("marked", [False, True])
def test_a_server_that_speaks_first_is_heard_on_both_sides(marked: bool) -> None:
    async def scenario() -> None:
        async with origin(banner(b"220 shop\r\n")) as server, on_side(server.address, marked=marked) as r:
            client = await r.connect()
            assert await r.read_all(client, 10) == b"220 shop\r\n"
            await r.send(client, b"EHLO me\r\n")
            assert await r.read_all(client, 9) == b"EHLO me\r\n"
            client.close()

    run(scenario)


@pytest.mark.parametrize("several", [False, True])
def test_a_server_that_speaks_first_is_heard(several: bool) -> None:
    async def scenario() -> None:
        async with origin(banner(b"220 shop\r\n")) as server:
            rows = [marked(server.address)] if several else []
            async with router(server.address, *rows) as r:
                started = time.monotonic()
                client = await r.connect()
                assert await r.read_all(client, 10) == b"220 shop\r\n"
                assert time.monotonic() - started < (2.0 if several else Config().sniff_seconds)
                await r.send(client, b"EHLO me\r\n")
                assert await r.read_all(client, 9) == b"EHLO me\r\n"
                assert r.spoken()["raw"] == 1
                client.close()

    run(scenario)


def test_a_port_that_is_declared_raw_connects_at_once() -> None:
    async def scenario() -> None:
        async with origin(banner(b"hello")) as server:
            slow = Config(sniff_seconds=30, eager_seconds=30)
            async with router(server.address, marked(server.address), raw=True, config=slow) as r:
                client = await r.connect()
                assert await r.read_all(client, 5) == b"hello"
                client.close()

    run(scenario)


def test_a_silent_client_that_speaks_http_later_gets_the_connection_that_was_made() -> None:
    async def scenario() -> None:
        async with origin(http) as server, router(server.address) as r:
            client = await r.connect()
            await until(lambda: server.accepted)
            await r.send(client, REQUEST)
            assert (await r.read_all(client, 20)).startswith(b"HTTP/1.1 200 OK")
            assert len(server.accepted) == 1
            assert [r.spoken()[name] for name in ("http1", "raw")] == [1, 0]
            client.close()

    run(scenario)


def test_a_client_that_speaks_at_once_makes_no_connection_of_its_own_to_the_original() -> None:
    async def scenario() -> None:
        async with origin(http) as a, origin(http) as b, router(a.address, marked(b.address)) as r:
            client = await r.connect()
            await r.send(client, REQUEST.replace(b"\r\n\r\n", b"\r\nversion: ana\r\n\r\n"))
            assert (await r.read_all(client, 20)).startswith(b"HTTP/1.1 200 OK")
            assert (len(a.accepted), len(b.accepted)) == (0, 1)
            client.close()

    run(scenario)


def test_a_first_line_in_pieces_is_http() -> None:
    async def scenario() -> None:
        async with origin(http) as server, router(server.address) as r:
            client = await r.connect()
            for byte in REQUEST:
                await r.send(client, bytes((byte,)))
                await asyncio.sleep(0)
            assert (await r.read_all(client, 20)).startswith(b"HTTP/1.1 200 OK")
            client.close()

    run(scenario)


def test_empty_lines_before_a_request_are_left_out() -> None:
    async def scenario() -> None:
        async with origin(http) as server, router(server.address) as r:
            client = await r.connect()
            await r.send(client, b"\r\n\r\n" + REQUEST)
            assert (await r.read_all(client, 20)).startswith(b"HTTP/1.1 200 OK")
            client.close()

    run(scenario)


@pytest.mark.parametrize("first", [b"GET foo\r\n", b"\x00\x01", b"*1\r\n$4\r\nPING\r\n", b"BREW / HTTP/1.1\r\n\r\n"])
def test_what_is_no_http_is_passed_on(first: bytes) -> None:
    async def scenario() -> None:
        async with origin(echo) as server, router(server.address, marked(server.address)) as r:
            client = await r.connect()
            await r.send(client, first)
            assert await r.read_all(client, len(first)) == first
            client.close()

    run(scenario)


def test_tls_is_passed_on_and_counted() -> None:
    async def scenario() -> None:
        async with origin(echo) as server, router(server.address, marked(server.address)) as r:
            client = await r.connect()
            await r.send(client, CLIENT_HELLO)
            assert await r.read_all(client, len(CLIENT_HELLO)) == CLIENT_HELLO
            assert [r.spoken()[name] for name in ("tls", "raw")] == [1, 1]
            client.close()

    run(scenario)


@pytest.mark.in_process
def test_the_preface_is_http2() -> None:
    async def scenario() -> None:
        async with origin(echo) as server, router(server.address) as r:
            client = await r.connect()
            await r.send(client, PREFACE[:10])
            await until(lambda: any(getattr(found, "held", b"") for found in r.core.clients))
            await r.send(client, PREFACE[10:])
            await until(lambda: r.spoken()["h2"])
            assert r.spoken()["raw"] == 0
            client.close()

    run(scenario)


def test_a_first_line_that_does_not_end_is_refused() -> None:
    async def scenario() -> None:
        async with origin(http) as server, router(server.address, config=IMPATIENT) as r:
            client = await r.connect()
            await r.send(client, b"GET /slow")
            answer = await r.read_all(client)
            assert answer.startswith(b"HTTP/1.1 408 ")
            assert b"\r\nktpy-router: " in answer
            assert r.spoken()["refused"] == 1
            assert not server.accepted
            client.close()

    run(scenario)


def test_half_a_word_that_stays_half_is_passed_on() -> None:
    async def scenario() -> None:
        async with origin(echo) as server, router(server.address, config=IMPATIENT) as r:
            client = await r.connect()
            await r.send(client, b"P")
            assert await r.read_all(client, 1) == b"P"
            client.close()

    run(scenario)


@pytest.mark.parametrize("said", [b"", b"P", b"GET /"])
def test_a_client_that_ends_before_it_spoke_http_is_passed_on(said: bytes) -> None:
    async def scenario() -> None:
        async with origin(banner(b"daytime\n")) as server, router(server.address) as r:
            client = await r.connect()
            if said:
                await r.send(client, said)
            client.shutdown(socket.SHUT_WR)
            assert await r.read_all(client) == b"daytime\n" + said
            await until(r.is_left)
            client.close()

    run(scenario)


def test_a_client_that_comes_and_goes_is_forgotten() -> None:
    async def scenario() -> None:
        async with origin(echo) as server, router(server.address, marked(server.address)) as r:
            (await r.connect()).close()
            await until(lambda: r.spoken()["connections"] == 1 and r.is_left())

    run(scenario)


def test_the_end_of_a_silent_upstream_ends_a_silent_client() -> None:
    async def wait_a_little(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.05)
        writer.close()

    async def scenario() -> None:
        async with origin(wait_a_little) as server, router(server.address) as r:
            client = await r.connect()
            assert await r.read_all(client) == b""
            await until(r.is_left)
            client.close()

    run(scenario)


def test_a_tunnel_whose_far_end_is_down_leaves_a_silent_client_to_the_original() -> None:
    async def scenario() -> None:
        async with (
            origin(banner(b"hello")) as a,
            origin(close_at_once) as b,
            router(a.address, catch_all(b.address)) as r,
        ):
            client = await r.connect()
            assert await r.read_all(client, 5) == b"hello"
            assert r.counted("r")["fallbacks"] == 1
            client.close()

    run(scenario)


def test_silence_on_both_sides_has_no_limit_of_ours() -> None:
    async def scenario() -> None:
        async with origin(echo) as server, router(server.address, config=IMPATIENT) as r:
            client = await r.connect()
            await until(lambda: server.accepted)
            await asyncio.sleep(1.2)  # a client is looked at once a second
            await r.send(client, b"\x00")
            assert await r.read_all(client, 1) == b"\x00"
            client.close()

    run(scenario)


def test_a_silent_client_without_an_original_is_let_go() -> None:
    async def scenario() -> None:
        async with router(f"127.0.0.1:{free_port()}", config=IMPATIENT) as r:
            client = await r.connect()
            assert await r.read_all(client) == b""
            client.close()

    run(scenario)


@pytest.mark.in_process
def test_a_client_that_is_silent_at_a_drain_is_let_go_after_the_linger() -> None:
    async def scenario() -> None:
        config = Config(linger_seconds=0.2)
        async with origin(echo) as server, router(server.address, config=config) as r:
            client = await r.connect()
            await until(lambda: r.core.clients)
            r.core.draining = True
            for waiting in tuple(r.core.clients):
                waiting.drain()
            late = await r.connect()  # the port is still open, and this one is never told
            assert await r.read_all(client) == b""
            assert await r.read_all(late) == b""
            client.close()
            late.close()

    run(scenario)


def test_many_connections_at_once_all_reach_the_original() -> None:
    async def scenario() -> None:
        async with origin(banner(b"hello")) as server, router(server.address, marked(server.address)) as r:
            clients = [await r.connect() for _ in range(200)]
            assert {await r.read_all(client, 5) for client in clients} == {b"hello"}
            for client in clients:
                client.close()

    run(scenario)
