"""Raw TCP through the router: both ways, half-closes, resets, back-pressure, and where it goes when a row is down."""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
import struct

import pytest

from ktpy_router.config import Config
from tests.router.loopback.rawkit import (
    QUICK,
    catch_all,
    close_at_once,
    echo,
    free_port,
    on_side,
    origin,
    router,
    run,
    until,
)

MEGABYTE = 1 << 20


async def say_who(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, who: bytes) -> None:
    await reader.read(100)
    writer.write(who)
    writer.close()


async def original(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await say_who(reader, writer, b"original")


async def shadow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await say_who(reader, writer, b"shadow")


@pytest.mark.parametrize("marked", [False, True])
@pytest.mark.parametrize("raw", [False, True])
def test_what_a_half_closed_client_sent_comes_back(raw: bool, marked: bool) -> None:
    """Bytes have no mark: a row gets them when it takes everything."""

    async def scenario() -> None:
        async with origin(echo) as server, on_side(server.address, marked=marked, raw=raw) as r:
            client = await r.connect()
            await r.send(client, b"\x01\x02\x03")
            client.shutdown(socket.SHUT_WR)

            assert await r.read_all(client) == b"\x01\x02\x03"

            await until(r.is_left)
            stats = r.counted("r" if marked else "")
            assert [stats[name] for name in ("requests", "open", "bytes_in", "bytes_out", "errors")] == [1, 0, 3, 3, 0]
            assert [r.spoken()[name] for name in ("connections", "open_connections", "raw")] == [1, 0, 1]
            client.close()

    run(scenario)


@pytest.mark.parametrize("marked", [False, True])
def test_a_server_that_ends_first_still_hears_the_client(marked: bool) -> None:
    heard = asyncio.Event()

    async def end_then_listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"bye")
        writer.write_eof()
        assert await reader.read() == b"\x00one more thing"
        heard.set()

    async def scenario() -> None:
        async with origin(end_then_listen) as server, on_side(server.address, marked=marked, raw=True) as r:
            client = await r.connect()
            assert await r.read_all(client) == b"bye"
            await r.send(client, b"\x00one more thing")
            client.shutdown(socket.SHUT_WR)
            await heard.wait()
            await until(r.is_left)
            client.close()

    run(scenario)


def test_ten_megabytes_both_ways_at_once() -> None:
    data = os.urandom(10 * MEGABYTE)

    async def scenario() -> None:
        async with origin(echo) as server, router(server.address) as r:
            client = await r.connect()

            async def up() -> None:
                await r.send(client, b"\x00" + data)
                client.shutdown(socket.SHUT_WR)

            sending = asyncio.ensure_future(up())
            got = await r.read_all(client)
            await sending
            assert hashlib.sha256(got).digest() == hashlib.sha256(b"\x00" + data).digest()
            client.close()

    run(scenario)


def test_a_reset_of_the_client_is_a_reset_of_the_upstream() -> None:
    ended: list[BaseException] = []

    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readexactly(2)
        except (ConnectionError, asyncio.IncompleteReadError) as error:
            ended.append(error)

    async def scenario() -> None:
        async with origin(wait) as server, router(server.address) as r:
            client = await r.connect()
            await r.send(client, b"\x00")
            await until(lambda: r.counted()["bytes_in"])
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()

            await until(lambda: ended)
            assert isinstance(ended[0], ConnectionResetError)

    run(scenario)


def test_a_reset_of_the_upstream_is_a_reset_of_the_client() -> None:
    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        linger = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.transport.abort()

    async def scenario() -> None:
        async with origin(cut) as server, router(server.address) as r:
            client = await r.connect()
            await r.send(client, b"\x00")
            with pytest.raises(ConnectionResetError):
                await r.read_all(client)
            await until(r.is_left)
            client.close()

    run(scenario)


@pytest.mark.in_process
@pytest.mark.parametrize("to_client", [True, False])
def test_a_slow_reader_stops_the_other_side_and_not_the_memory(to_client: bool) -> None:
    sent = 0

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.read(1)
        block = bytes(65536)
        while True:
            writer.write(block)
            await writer.drain()
            sent += len(block)

    async def never_read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.pause_reading()
        await asyncio.Event().wait()

    async def scenario() -> None:
        async with origin(flood if to_client else never_read) as server, router(server.address, raw=True) as r:
            client = await r.connect(receive=4096)
            stream_reader, writer = await asyncio.open_connection(sock=client)
            stream_reader._transport.pause_reading()  # type: ignore[attr-defined]
            writer.write(b"\x00")
            flooding = None if to_client else asyncio.ensure_future(flood_from(writer))
            await until(lambda: r.state.row_stats(None).open)
            (pipe,) = r.core.clients
            side = pipe.client_side if to_client else pipe.upstream_side  # type: ignore[attr-defined]
            await until(lambda: side.transport.get_write_buffer_size())
            most, before = 0, -1
            while before != sent:  # until the kernel's buffers are full, too
                before = sent
                for _ in range(50):
                    await asyncio.sleep(0.002)
                    most = max(most, side.transport.get_write_buffer_size())

            assert 0 < most <= Config().buffer_bytes
            if flooding:
                flooding.cancel()
            writer.transport.abort()

    async def flood_from(writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        while True:
            writer.write(bytes(65536))
            await writer.drain()
            sent += 65536

    run(scenario)


def test_raw_bytes_go_to_the_catch_all_row() -> None:
    async def scenario() -> None:
        async with origin(original) as a, origin(shadow) as b, router(a.address, catch_all(b.address)) as r:
            client = await r.connect()
            await r.send(client, b"\x00")
            assert await r.read_all(client) == b"shadow"
            assert r.counted("r")["requests"] == 1
            client.close()

    run(scenario)


def test_a_row_that_refuses_leaves_raw_bytes_to_the_original() -> None:
    async def scenario() -> None:
        down = f"127.0.0.1:{free_port()}"
        async with origin(original) as a, router(a.address, catch_all(down)) as r:
            for number in (1, 2):
                client = await r.connect()
                await r.send(client, b"\x00")
                assert await r.read_all(client) == b"original"
                assert r.counted("r")["fallbacks"] == number
                client.close()

    run(scenario)


def test_a_row_that_accepts_and_closes_is_left_after_a_few() -> None:
    async def scenario() -> None:
        async with origin(original) as a, origin(close_at_once) as b, router(a.address, catch_all(b.address)) as r:
            answers: list[bytes] = []
            while answers[-2:] != [b"original"] * 2:  # `run` has a deadline
                client = await r.connect()
                await r.send(client, b"\x00")
                try:
                    answers.append(await r.read_all(client))
                except ConnectionError:
                    answers.append(b"")
                client.close()
            assert len(answers) < 15

    run(scenario)


def test_a_strict_row_that_is_down_resets_the_client() -> None:
    async def scenario() -> None:
        down = f"127.0.0.1:{free_port()}"
        async with origin(original) as a, router(a.address, catch_all(down, strict=True)) as r:
            client = await r.connect()
            await r.send(client, b"\x00")
            with pytest.raises(ConnectionResetError):
                await r.read_all(client)
            assert r.counted("r")["errors"] == 1
            assert not a.accepted
            client.close()

    run(scenario)


def test_a_holding_row_waits_for_its_upstream() -> None:
    async def scenario() -> None:
        port = free_port()
        row = catch_all(f"127.0.0.1:{port}", hold=10)
        async with origin(original) as a, router(a.address, row, config=QUICK) as r:
            client = await r.connect()
            await r.send(client, b"\x00")
            later = await r.connect()
            await r.send(later, b"\x00")
            await until(lambda: r.spoken()["open_connections"] == 2 and r.is_mine_down())
            async with origin(shadow, port):
                assert await r.read_all(client) == b"shadow"
                assert await r.read_all(later) == b"shadow"
            client.close()
            later.close()

    run(scenario)


def test_an_original_that_is_down_resets_the_client() -> None:
    async def scenario() -> None:
        async with router(f"127.0.0.1:{free_port()}") as r:
            client = await r.connect()
            await r.send(client, b"\x00")
            with pytest.raises(ConnectionResetError):
                await r.read_all(client)
            assert r.counted()["errors"] == 1
            client.close()

    run(scenario)


def test_a_client_that_leaves_while_we_connect_leaves_nothing() -> None:
    async def scenario() -> None:
        config = Config(connect_seconds=5)
        with socket.socket() as full:  # a queue that is full swallows the SYN
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            address = full.getsockname()
            fillers = [socket.socket() for _ in range(4)]
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(address)
            async with router(f"127.0.0.1:{address[1]}", raw=True, config=config) as r:
                client = await r.connect()
                await until(lambda: r.spoken()["connections"])
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                client.close()
                await until(r.is_left, 10)
            for filler in fillers:
                filler.close()

    run(scenario)
