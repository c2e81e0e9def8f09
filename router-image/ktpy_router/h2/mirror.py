"""Copies of requests for mirror rows: sent when complete, each on a connection of its own, and the answer is dropped.

The real request never waits for a copy, and never fails with it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from ktpy_router.h2 import frames, hpack
from ktpy_router.h2.frames import (
    ACK,
    DEFAULT_WINDOW,
    END_STREAM,
    GOAWAY,
    INITIAL_WINDOW_SIZE,
    LARGEST_WINDOW,
    PING,
    RST_STREAM,
    SETTINGS,
    ConnectionFault,
)
from ktpy_router.upstream import Upstream, UpstreamDown

if TYPE_CHECKING:
    from ktpy_router.h2.stream import Part
    from ktpy_router.stats import RowStats
    from ktpy_router.table import Row

ANSWER_SECONDS = 30.0
MOST_AT_ONCE = 64
"""Copies that are on their way for one row: further ones are dropped, and counted as errors."""


class Copy:
    """A request while it comes in."""

    __slots__ = ("block", "parts", "rows", "size")

    def __init__(self, rows: tuple[Row, ...], block: bytes) -> None:
        self.rows = rows
        self.block = block
        self.parts: list[Part] | None = []
        self.size = 0

    def add(self, part: Part, most: int) -> None:
        """One that gets longer than MOST, or than the window that every upstream begins with, is given up."""
        self.size += len(part[1])
        if self.size > min(most, DEFAULT_WINDOW):
            self.parts = None
        elif self.parts is not None:
            self.parts.append(part)


def request(block: bytes, parts: list[Part]) -> bytes:
    """All of it as frames on stream 1."""
    out = [frames.headers(1, hpack.EMPTY_TABLE + block, end=not parts)]
    for is_block, payload, end in parts:
        out.append(frames.headers(1, payload, end=end) if is_block else frames.data(1, payload, end=end))
    return b"".join(out)


class Delivery(asyncio.Protocol):
    """Sends one copy once the upstream has said how much it takes, and reads until its answer ends."""

    def __init__(self, request: bytes, size: int) -> None:
        self.ended: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        """Whether the copy was sent."""
        self._request = request
        self._size = size
        self._sent = False
        self._tail = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        # Its answer is not kept, so it may send what it likes.
        ours = frames.settings((frames.ENABLE_PUSH, 0), (INITIAL_WINDOW_SIZE, LARGEST_WINDOW))
        more = frames.window_update(0, LARGEST_WINDOW - DEFAULT_WINDOW)
        self._transport.write(frames.PREFACE + ours + more)

    def data_received(self, data: bytes) -> None:
        data = self._tail + data
        used = 0
        for kind, flags, stream, payload in frames.read(data):
            used += frames.FRAME_HEAD + len(payload)
            self._frame(kind, flags, stream, payload)
        self._tail = data[used:]
        if len(self._tail) > frames.LARGEST_FRAME + frames.FRAME_HEAD or data[:5] == b"HTTP/":
            self._end()

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._end()

    def _frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if self._transport is None:
            return
        if kind == SETTINGS and not flags & ACK:
            self._transport.write(frames.SETTINGS_ACK)
            self._send(payload)
        elif kind == PING and not flags & ACK:
            self._transport.write(frames.frame(PING, ACK, 0, payload))
        elif kind in (RST_STREAM, GOAWAY) or (
            stream == 1 and kind in (frames.DATA, frames.HEADERS) and flags & END_STREAM
        ):
            self._end()

    def _send(self, settings: bytes) -> None:
        if self._sent or self._transport is None:
            return
        try:
            room = frames.settings_of(settings).get(INITIAL_WINDOW_SIZE, DEFAULT_WINDOW)
        except ConnectionFault:
            room = -1
        if room < self._size:
            self._end()
        else:
            self._sent = True
            self._transport.write(self._request)

    def _end(self) -> None:
        if not self.ended.done():
            self.ended.set_result(self._sent)
        if self._transport is not None:
            self._transport.abort()


async def deliver(copy: Copy, row: Row, upstream: Upstream, stats: RowStats) -> None:
    """One copy for one row, counted there."""
    if copy.parts is None or stats.open >= MOST_AT_ONCE or upstream.is_open:
        stats.errors += 1
        return
    sent = False
    stats.requests += 1
    stats.open += 1
    stats.bytes_in += copy.size
    added = b"".join(hpack.literal(*field) for field in row.add)
    try:
        made = request(copy.block + added, copy.parts)
        transport, delivery = await upstream.connect(lambda: Delivery(made, copy.size), alternative=True)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                sent = await delivery.ended
        finally:
            transport.abort()
    except (UpstreamDown, TimeoutError):
        pass
    finally:
        stats.open -= 1
        stats.errors += not sent
