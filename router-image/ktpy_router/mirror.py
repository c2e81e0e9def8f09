"""Copies of requests for mirror rows: bounded, sent when complete, and whatever comes back is dropped.

The real request never waits for a copy, and never fails with it.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from ktpy_router.core import Core, PortState
from ktpy_router.head import with_close
from ktpy_router.table import Row
from ktpy_router.upstream import UpstreamDown

ANSWER_SECONDS = 30.0
MOST_AT_ONCE = 64
"""Copies that are on their way to one upstream: further ones are dropped."""


class Copy:
    """One request for one mirror row; HEAD is its head."""

    __slots__ = ("_core", "_data", "_stats", "_upstream")

    def __init__(self, core: Core, port: PortState, row: Row, head: bytes) -> None:
        self._core = core
        self._upstream = port.upstream(row)
        self._stats = port.row_stats(row)
        # A connection of its own, that the upstream ends: how the answer is framed need not be known then.
        self._data: bytes | None = with_close(head)

    def add(self, data: bytes) -> None:
        """More of its body. A copy that gets too long is given up, and counted."""
        if self._data is None:
            return
        if len(self._data) + len(data) > self._core.config.replay_bytes:
            self._data = None
            self._stats.errors += 1
        else:
            self._data += data

    def send(self) -> None:
        """The request is complete."""
        if self._data is not None:
            if self._stats.open >= MOST_AT_ONCE:
                self._stats.errors += 1
                return
            self._core.background(self._deliver(self._data))

    async def _deliver(self, data: bytes) -> None:
        stats, upstream = self._stats, self._upstream
        stats.requests += 1
        stats.open += 1
        stats.bytes_in += len(data)
        try:
            if upstream.is_open:
                raise UpstreamDown("is down")
            transport, drain = await upstream.connect(Drain, alternative=True)
            try:
                transport.write(data)
                async with asyncio.timeout(ANSWER_SECONDS):
                    answered = await drain.ended
            finally:
                transport.abort()
        except (UpstreamDown, TimeoutError):
            answered = False
        finally:
            stats.open -= 1
        if not answered:
            stats.errors += 1


class Drain(asyncio.Protocol):
    """Reads an answer away. `ended` says whether there was a complete one, or as much as EOF left."""

    __slots__ = ("_parser", "_some", "ended")

    def __init__(self) -> None:
        self.ended: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._some = False
        self._parser: HttpResponseParser | None = HttpResponseParser(self)

    def on_message_complete(self) -> None:
        if self._parser and self._parser.get_status_code() >= 200:
            self._end(answered=True)

    def data_received(self, data: bytes) -> None:
        self._some = True
        if self._parser and not self.ended.done():
            with suppress(HttpParserError, HttpParserUpgrade):
                self._parser.feed_data(data)

    def connection_lost(self, error: Exception | None) -> None:
        self._parser = None
        self._end(answered=self._some and error is None)

    def _end(self, *, answered: bool) -> None:
        if not self.ended.done():
            self.ended.set_result(answered)
