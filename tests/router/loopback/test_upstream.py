"""Connecting to an upstream, noticing that it is down, and finding it alive again."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import socket
from collections.abc import AsyncIterator, Callable, Coroutine

import pytest

from ktpy_router.config import Config
from ktpy_router.upstream import Upstream, UpstreamDown

QUICK = dataclasses.replace(Config(), connect_seconds=0.3, original_seconds=0.7, probe_seconds=0.02, stays_seconds=0.05)


def run(main: Callable[[], Coroutine[object, object, None]]) -> None:
    asyncio.run(asyncio.wait_for(main(), 20))


def upstream(port: int, host: str = "127.0.0.1") -> Upstream:
    return Upstream(f"{host}:{port}", QUICK)


@contextlib.asynccontextmanager
async def server(port: int = 0, *, closes: bool = False, says: bytes = b"") -> AsyncIterator[int]:
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        writer.write(says)
        if closes:
            writer.close()
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", port)
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:
        listening.close()
        for writer in writers:
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


def fill(full: socket.socket, callers: contextlib.ExitStack) -> None:
    """Makes FULL a listener whose queue is full, so that further SYNs are swallowed."""
    full.bind(("127.0.0.1", 0))
    full.listen(0)
    for _ in range(3):
        caller = callers.enter_context(socket.socket())
        caller.setblocking(False)
        caller.connect_ex(full.getsockname())


def closed_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port: int = held.getsockname()[1]
        return port


def test_a_connection() -> None:
    async def main() -> None:
        async with server() as port:
            transport, protocol = await upstream(port).connect(asyncio.Protocol)
            assert transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert type(protocol) is asyncio.Protocol
            transport.abort()
            await asyncio.sleep(0)

    run(main)


def test_a_refused_connection_opens_the_breaker_until_the_upstream_listens() -> None:
    async def main() -> None:
        port = closed_port()
        down = upstream(port)
        with pytest.raises(UpstreamDown, match="refused the connection"):
            await down.connect(asyncio.Protocol)
        assert down.is_open
        assert not await down.back(0.05)

        async with server(port):
            assert await down.back(10)
        assert not down.is_open

    run(main)


def test_a_listener_that_accepts_nothing_is_given_up_in_time() -> None:
    async def main() -> None:
        with socket.socket() as full, contextlib.ExitStack() as callers:
            fill(full, callers)
            down = upstream(full.getsockname()[1])
            with pytest.raises(UpstreamDown, match="did not accept a connection within 0.3 s"):
                await down.connect(asyncio.Protocol)
            down.forget()

    run(main)


def test_the_original_is_tried_again_as_a_client_would_by_itself() -> None:
    async def main() -> None:
        patient = dataclasses.replace(QUICK, original_seconds=10.0)
        with socket.socket() as full, contextlib.ExitStack() as callers:
            fill(full, callers)
            slow = Upstream(f"127.0.0.1:{full.getsockname()[1]}", patient)
            trying = asyncio.ensure_future(slow.connect(asyncio.Protocol))
            await asyncio.sleep(2 * QUICK.connect_seconds)
            assert not trying.done()
            for _ in range(3):  # whoever was in the queue
                full.accept()[0].close()
            transport, _ = await trying
            assert not slow.is_open
            transport.abort()
            await asyncio.sleep(0)

    run(main)


def test_who_has_an_alternative_does_not_wait_on_after_another_one_failed() -> None:
    async def main() -> None:
        with socket.socket() as full, contextlib.ExitStack() as callers:
            fill(full, callers)
            slow = dataclasses.replace(QUICK, connect_seconds=30)
            down = Upstream(f"127.0.0.1:{full.getsockname()[1]}", slow)
            both = [asyncio.ensure_future(down.connect(asyncio.Protocol, alternative=one)) for one in (True, False)]
            await asyncio.sleep(0)
            for _ in range(slow.closes_to_open):
                down.closed_early()
            with pytest.raises(UpstreamDown):
                await both[0]
            assert not both[1].done(), "who has nowhere else to go"
            both[1].cancel()
            await asyncio.wait([both[1]])
            down.forget()

    run(main)


def test_a_name_that_is_not_known() -> None:
    async def main() -> None:
        down = upstream(80, "no-such-name.invalid")
        with pytest.raises(UpstreamDown):
            await down.connect(asyncio.Protocol)
        down.forget()

    run(main)


def test_what_accepts_and_closes_is_not_found_alive() -> None:
    async def main() -> None:
        async with server(closes=True) as port:
            down = upstream(port)
            for _ in range(QUICK.closes_to_open):
                assert not down.is_open
                down.closed_early()
            assert down.is_open
            assert not await down.back(0.5)
            down.forget()

    run(main)


def test_what_speaks_first_and_closes_is_alive() -> None:
    async def main() -> None:
        async with server(closes=True, says=b"220 hello\r\n") as port:
            down = upstream(port)
            down.breaker.failed_connect()
            down.closed_early()
            assert await down.back(10)

    run(main)


def test_whoever_waits_for_an_upstream_that_is_forgotten_goes_on() -> None:
    async def main() -> None:
        down = upstream(closed_port())
        with pytest.raises(UpstreamDown):
            await down.connect(asyncio.Protocol)
        waiting = down.back(100)
        down.forget()
        assert not await waiting

    run(main)


def test_nobody_waits_for_what_is_not_down() -> None:
    async def main() -> None:
        assert await upstream(1).back(0)

    run(main)
