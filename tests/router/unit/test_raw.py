"""Two connections glued: what one side does is done to the other. With transports that only write down."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from ktpy_router.config import Config
from ktpy_router.core import Core
from ktpy_router.pipe import ONE_READ, Pipe
from ktpy_router.stats import RowStats
from ktpy_router.table import Table


class Noted(asyncio.Transport):
    """Writes down what is asked of it."""

    def __init__(self) -> None:
        super().__init__()
        self.did: list[Any] = []
        self.closing = False
        self.waiting = 0
        self.limit = 0

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol: Any = protocol

    def write(self, data: Any) -> None:
        self.did.append(data)

    def write_eof(self) -> None:
        self.did.append("eof")

    def close(self) -> None:
        self.closing = True
        self.did.append("close")

    def abort(self) -> None:
        self.closing = True
        self.did.append("abort")

    def is_closing(self) -> bool:
        return self.closing

    def pause_reading(self) -> None:
        self.did.append("pause")

    def resume_reading(self) -> None:
        self.did.append("resume")

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.limit = high or 0

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self

    def setsockopt(self, level: int, option: int, value: Any) -> None:
        if isinstance(value, bytes):
            self.did.append("reset")


class Ends:
    """A pipe with both its transports, whose notes begin after the start."""

    def __init__(self, client: Noted, upstream: Noted, **words: Any) -> None:
        default = [{"listen": 1, "default": "127.0.0.1:2"}]
        core = Core(Config(), Table.from_json(json.dumps({"format": 1, "version": 1, "ports": default})))
        port = core.ports[1]
        port.stats.open_connections = 1
        self.core, self.port, self.stats = core, port, RowStats()
        self.client, self.upstream = client, upstream
        self.pipe = Pipe(core, port, self.stats, port.default)
        self.pipe.start(client, upstream, **words)
        self.started = client.did[:], upstream.did[:]
        client.did.clear()
        upstream.did.clear()

    def over(self) -> bool:
        open_ones = (self.stats.open, self.port.stats.open_connections, len(self.core.clients))
        assert open_ones in ((0, 0, 0), (1, 1, 1))
        return open_ones == (0, 0, 0)


def glued(check: Callable[[Ends], None], **words: Any) -> None:
    async def scenario() -> None:
        check(Ends(Noted(), Noted(), **words))

    asyncio.run(scenario())


def test_what_was_read_already_goes_first() -> None:
    def check(ends: Ends) -> None:
        assert ends.started == ([b"banner", "resume"], [b"hello", "resume"])
        assert (ends.stats.bytes_in, ends.stats.bytes_out, ends.stats.open) == (5, 6, 1)

    glued(check, to_upstream=b"hello", to_client=b"banner")


def test_the_end_of_one_side_is_passed_on_and_leaves_the_other_open() -> None:
    def check(ends: Ends) -> None:
        assert ends.client.protocol.eof_received() is True
        ends.upstream.protocol.data_received(b"still")
        assert (ends.client.did, ends.upstream.did) == ([b"still"], ["eof"])

        ends.upstream.protocol.eof_received()
        assert (ends.client.did[1:], ends.upstream.did[1:]) == (["close"], ["close"])

        ends.client.protocol.connection_lost(None)
        ends.upstream.protocol.connection_lost(None)
        assert ends.over()

    glued(check)


@pytest.mark.parametrize("first", ["client", "upstream"])
def test_a_reset_is_passed_on(first: str) -> None:
    def check(ends: Ends) -> None:
        lost: Noted = getattr(ends, first)
        other = ends.upstream if first == "client" else ends.client
        lost.protocol.connection_lost(ConnectionResetError())
        assert other.did == ["reset", "abort"]
        assert not ends.over()

        other.protocol.connection_lost(None)
        assert ends.over()

    glued(check, answered=True)


def test_a_side_that_cannot_write_stops_the_other_from_reading() -> None:
    def check(ends: Ends) -> None:
        ends.client.protocol.pause_writing()
        ends.client.protocol.resume_writing()
        ends.upstream.protocol.pause_writing()
        assert (ends.upstream.did, ends.client.did) == (["pause", "resume"], ["pause"])
        assert ends.client.limit + ONE_READ <= Config().buffer_bytes

    glued(check)


def test_a_side_that_has_ended_is_not_read_again() -> None:
    def check(ends: Ends) -> None:
        ends.client.protocol.eof_received()
        ends.upstream.protocol.resume_writing()
        assert ends.client.did == []

    glued(check)


def test_an_upstream_that_closes_soon_without_a_byte_counts_against_it() -> None:
    def check(ends: Ends) -> None:
        for _ in range(Config().closes_to_open):
            again = Ends(Noted(), Noted())
            again.pipe.upstream = ends.pipe.upstream
            again.upstream.protocol.eof_received()
            assert again.stats.errors == 1
        assert ends.pipe.upstream.is_open
        ends.pipe.upstream.forget()

    glued(check)


@pytest.mark.parametrize("before", ["answer", "client's end"])
def test_an_upstream_that_closes_with_reason_does_not(before: str) -> None:
    def check(ends: Ends) -> None:
        if before == "answer":
            ends.upstream.protocol.data_received(b"x")
        else:
            ends.client.protocol.eof_received()
        ends.upstream.protocol.eof_received()
        assert ends.stats.errors == 0

    glued(check)


@pytest.mark.parametrize("lost", ["client", "upstream", "both"])
def test_a_side_that_was_lost_before_ends_the_other(lost: str) -> None:
    async def scenario() -> None:
        client, upstream = Noted(), Noted()
        client.closing = lost in ("client", "both")
        upstream.closing = lost in ("upstream", "both")
        ends = Ends(client, upstream)
        for transport, did in zip((client, upstream), ends.started, strict=True):
            if did == ["reset", "abort"]:
                transport.protocol.connection_lost(None)
        assert ends.over()

    asyncio.run(scenario())
