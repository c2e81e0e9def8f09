"""The `websockets` package at both ends."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosedError


async def echo(connection: ServerConnection) -> None:
    async for message in connection:
        if message == "close":
            await connection.close(4001, "as asked")
        await connection.send(message)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Runs in a loop of its own, in a thread."""
    started, address = threading.Event(), []
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def main() -> None:
        async with serve(echo, "127.0.0.1", 0, subprotocols=["chat"], max_size=1 << 24) as made:  # type: ignore[list-item]
            address.append(f"127.0.0.1:{next(iter(made.sockets)).getsockname()[1]}")
            started.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(main(),))
    thread.start()
    assert started.wait(10)
    yield address[0]
    loop.call_soon_threadsafe(stop.set)
    thread.join()
    loop.close()


@pytest.mark.parametrize("compression", [None, "deflate"])
def test_messages_come_back(server: str, through, compression: str | None) -> None:
    async def talk(url: str, headers: dict[str, str]) -> None:
        async with connect(
            url, additional_headers=headers, compression=compression, subprotocols=["chat"], max_size=1 << 24
        ) as socket:
            assert socket.subprotocol == "chat"
            big = os.urandom(3_000_000)
            for message in ("hello", "x" * 100_000, b"\x00\xff", big, ""):
                await socket.send(message)
                assert await socket.recv() == message
            for number in range(500):
                await socket.send(str(number))
            assert [await socket.recv() for _ in range(500)] == [str(number) for number in range(500)]
            await asyncio.wait_for(await socket.ping(), 10)
            await socket.send("close")
            with pytest.raises(ConnectionClosedError) as closed:
                await socket.recv()
            assert closed.value.rcvd is not None
            assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4001, "as asked")

    with through(server) as routed:
        asyncio.run(asyncio.wait_for(talk(routed.url.replace("http", "ws"), routed.headers), 60))
        wanted = routed.router.control("GET", "/stats").json()
        assert sum(row["open"] for row in wanted["rows"].values()) == 0


def test_fifty_at_once(server: str, through) -> None:
    async def one(url: str, headers: dict[str, str], number: int) -> None:
        async with connect(url, additional_headers=headers, subprotocols=["chat"]) as socket:
            for turn in range(20):
                await socket.send(f"{number} {turn}")
                assert await socket.recv() == f"{number} {turn}"

    async def all_of_them(url: str, headers: dict[str, str]) -> None:
        await asyncio.gather(*(one(url, headers, number) for number in range(50)))

    with through(server) as routed:
        asyncio.run(asyncio.wait_for(all_of_them(routed.url.replace("http", "ws"), routed.headers), 60))
