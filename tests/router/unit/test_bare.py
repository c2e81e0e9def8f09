"""The transport over a plain socket: reads, writes what fits and the rest later, and ends as transports do."""

from __future__ import annotations

import asyncio
import gc
import socket
import weakref
from collections.abc import Awaitable, Callable

import pytest
import uvloop

from ktpy_router.bare import Bare


class Heard(asyncio.Protocol):
    """Writes down what it is told."""

    def __init__(self, *, stays: bool = False) -> None:
        self.told: list[object] = []
        self.stays = stays

    def data_received(self, data: bytes) -> None:
        self.told.append(data)

    def eof_received(self) -> bool:
        self.told.append("eof")
        return self.stays

    def pause_writing(self) -> None:
        self.told.append("pause")

    def resume_writing(self) -> None:
        self.told.append("resume")

    def connection_lost(self, error: Exception | None) -> None:
        self.told.append(("lost", error))


def on_each_loop(check: Callable[[Heard, Bare, socket.socket], Awaitable[None]]) -> Callable[..., None]:
    """CHECK gets the protocol, its transport, and the peer's socket."""

    @pytest.mark.parametrize("loop", [uvloop.new_event_loop, asyncio.new_event_loop], ids=["uvloop", "asyncio"])
    def test(loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
        async def main() -> None:
            here, peer = socket.socketpair()
            peer.setblocking(False)
            heard = Heard()
            with here, peer:
                bare = Bare(asyncio.get_running_loop(), here, heard)
                async with asyncio.timeout(5):
                    await check(heard, bare, peer)
                bare.abort()
                await turn()

        with asyncio.Runner(loop_factory=loop) as runner:
            runner.run(main())

    return test


async def turn() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0)


async def read(peer: socket.socket, count: int) -> bytes:
    got = b""
    while len(got) < count and (data := await asyncio.get_running_loop().sock_recv(peer, 1 << 20)):
        got += data
    return got


@on_each_loop
async def test_it_reads_from_the_start_and_not_while_paused(heard: Heard, bare: Bare, peer: socket.socket) -> None:
    peer.send(b"one")
    await until(lambda: heard.told)
    bare.pause_reading()
    assert not bare.is_reading()
    peer.send(b"two")
    await turn()
    assert heard.told == [b"one"]

    bare.resume_reading()
    await until(lambda: heard.told == [b"one", b"two"])


@on_each_loop
async def test_the_end_of_the_peer_closes_it(heard: Heard, bare: Bare, peer: socket.socket) -> None:
    peer.close()
    await until(lambda: len(heard.told) == 2)

    assert heard.told == ["eof", ("lost", None)]
    assert bare.is_closing()


@on_each_loop
async def test_a_protocol_may_go_on_after_the_end_of_the_peer(heard: Heard, bare: Bare, peer: socket.socket) -> None:
    heard.stays = True
    peer.shutdown(socket.SHUT_WR)
    await until(lambda: heard.told)
    bare.pause_reading()
    bare.resume_reading()
    await turn()
    assert heard.told == ["eof"], "and is told once"

    bare.write(b"answer")
    bare.close()
    assert await read(peer, 100) == b"answer"


@on_each_loop
async def test_what_does_not_fit_is_written_later_and_in_order(heard: Heard, bare: Bare, peer: socket.socket) -> None:
    bare.set_write_buffer_limits(high=100_000)
    parts = [bytes([number]) * 300_000 for number in range(5)]
    for part in parts:
        bare.write(part)
    assert heard.told == ["pause"]
    assert bare.get_write_buffer_size() > 100_000
    bare.close()
    assert bare.is_closing()
    assert ("lost", None) not in heard.told

    assert await read(peer, 2_000_000) == b"".join(parts)
    await until(lambda: len(heard.told) == 3)
    assert heard.told == ["pause", "resume", ("lost", None)]


@on_each_loop
async def test_its_own_end_comes_after_what_was_written(heard: Heard, bare: Bare, peer: socket.socket) -> None:
    bare.write(bytes(1_000_000))
    bare.write_eof()
    bare.write(b"too late")
    assert len(await read(peer, 2_000_000)) == 1_000_000

    peer.send(b"still heard")
    await until(lambda: b"still heard" in heard.told)
    assert not bare.is_closing()


@on_each_loop
async def test_an_abort_forgets_what_was_not_written(heard: Heard, bare: Bare, peer: socket.socket) -> None:
    bare.write(bytes(1_000_000))
    bare.abort()
    assert not any(isinstance(one, tuple) for one in heard.told), "the protocol is told when it has returned"
    bare.abort()
    bare.write(b"nothing")
    await turn()

    assert heard.told == ["pause", ("lost", None)]
    assert len(await read(peer, 2_000_000)) < 1_000_000


@on_each_loop
async def test_a_peer_that_has_gone_is_an_error_of_writing(heard: Heard, bare: Bare, peer: socket.socket) -> None:
    bare.pause_reading()
    peer.close()
    bare.write(b"x")
    await turn()

    ((_, error),) = (one for one in heard.told if isinstance(one, tuple))
    assert isinstance(error, BrokenPipeError)
    bare.close()
    await turn()
    assert len(heard.told) == 1


def test_nothing_is_left_of_it_without_the_collector() -> None:
    async def main() -> weakref.ref[Heard]:
        here, peer = socket.socketpair()
        heard = Heard()
        with peer:
            bare = Bare(asyncio.get_running_loop(), here, heard)
            heard.transport = bare  # type: ignore[attr-defined]
            bare.close()
            await turn()
        return weakref.ref(heard)

    gc.disable()
    try:
        assert asyncio.run(main())() is None
    finally:
        gc.enable()


@on_each_loop
async def test_it_can_be_given_to_another_protocol(heard: Heard, bare: Bare, peer: socket.socket) -> None:
    other = Heard()
    bare.set_protocol(other)
    assert bare.get_protocol() is other
    peer.send(b"hello")
    await until(lambda: other.told == [b"hello"])

    assert bare.get_extra_info("socket").fileno() > 0
    assert bare.get_extra_info("sslcontext", "none") == "none"
