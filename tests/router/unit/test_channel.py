"""Messages arrive whole however the bytes are cut, and nonsense ends the connection."""

from __future__ import annotations

import asyncio

import pytest

from ktpy_router.channel import Hub, Lines, Message, Nonsense, Wire, line


class Plug(asyncio.Transport):
    """A transport that keeps what is written; nothing is connected to it."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.closed = False

    def write(self, data: bytes) -> None:  # type: ignore[override]
        self.written += data

    def is_closing(self) -> bool:
        return self.closed

    def get_write_buffer_size(self) -> int:
        return len(self.written)

    def abort(self) -> None:
        self.closed = True


def connected(hub: Hub, **hello: object) -> tuple[Wire, Plug]:
    wire, plug = hub.protocol(), Plug()
    wire.connection_made(plug)
    wire.data_received(line("hello", **{"worker": 0, "pid": 7, "version": 1, "why": "", **hello}))
    return wire, plug


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_messages_are_found_however_the_bytes_are_cut(size):
    stream = line("hello", worker=1, text="a\nb") + line("drain") + b'{"type": "ack", "ver'
    lines, found = Lines(), []

    for at in range(0, len(stream), size):
        found += lines.feed(stream[at : at + size])

    assert found == [{"type": "hello", "worker": 1, "text": "a\nb"}, {"type": "drain"}]
    assert lines.feed(b'sion": 3}\n') == [{"type": "ack", "version": 3}]


@pytest.mark.parametrize(
    "text", [b"\n", b"GET / HTTP/1.1\r\n", b"[]\n", b'"x"\n', b"{}\n", b'{"type": 1}\n', b"[" * 5000]
)
def test_nonsense_is_told(text):
    with pytest.raises(Nonsense):
        Lines(most=4096).feed(text)


def test_a_line_may_be_as_long_as_the_limit_and_no_longer():
    message = line("x", text="a" * 50)

    assert Lines(most=len(message)).feed(message)
    with pytest.raises(Nonsense):
        Lines(most=len(message) - 2).feed(message)
    with pytest.raises(Nonsense, match="more than 10 bytes"):
        Lines(most=10).feed(b"a" * 11)


def test_a_peer_that_talks_nonsense_is_cut_off():
    plug, lost = Plug(), []
    wire = Wire(lambda *_: pytest.fail("no message"), lost.append)
    wire.connection_made(plug)

    wire.data_received(b"nonsense\n")

    assert plug.closed


def test_a_peer_that_does_not_read_is_cut_off():
    plug = Plug()
    wire = Wire(lambda *_: None, lambda _: None)
    wire.connection_made(plug)

    for _ in range(5):
        wire.send("table", table="x" * (8 << 20))

    assert plug.closed
    assert len(plug.written) < 48 << 20


def test_the_hub_knows_what_each_worker_has():
    async def run() -> None:
        heard: list[Message] = []
        hub = Hub(lambda _, message: heard.append(message))
        one, plug = connected(hub)
        other, _ = connected(hub, worker=1, pid=8, version=2, why="No original was asked yet.")

        assert [message["worker"] for message in heard] == [0, 1]
        assert [peer.pid for peer in hub.behind(2)] == [7]
        assert [peer.why_not_ready for peer in hub.peers.values()] == ["", "No original was asked yet."]

        hub.tell("table", table="{}")
        one.data_received(line("ack", version=2))
        other.data_received(line("ready", why=""))

        assert plug.written == b'{"type":"table","table":"{}"}\n'
        assert hub.behind(2) == []
        assert {peer.why_not_ready for peer in hub.peers.values()} == {""}

        one.data_received(line("refused", why="No."))
        assert hub.behind(9) == [hub.peers[other]]

        one.connection_lost(None)
        assert [peer.pid for peer in hub.peers.values()] == [8]

    asyncio.run(run())


def test_a_worker_that_came_again_replaces_the_dead_one():
    async def run() -> None:
        hub = Hub(lambda *_: None)
        connected(hub, pid=7)
        connected(hub, pid=9)

        assert [peer.pid for peer in hub.peers.values()] == [9]

    asyncio.run(run())


def test_nothing_is_believed_before_the_hello():
    async def run() -> None:
        hub = Hub(lambda *_: None)
        wire = hub.protocol()
        wire.connection_made(Plug())

        wire.data_received(line("ack", version=2) + line("stats", id=1, report={}))

        assert (hub.peers, hub.reports) == ({}, {})

    asyncio.run(run())


def test_waiting_ends_with_the_message_that_it_was_for():
    async def run() -> None:
        hub = Hub(lambda *_: None)
        wire, _ = connected(hub)
        asyncio.get_running_loop().call_soon(wire.data_received, line("ack", version=2))

        assert await hub.until(lambda: not hub.behind(2), seconds=10)
        assert not await hub.until(lambda: not hub.behind(3), seconds=0)

    asyncio.run(run())
