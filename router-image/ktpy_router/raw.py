"""Raw TCP clients: connects them to where unmatched bytes go, with fallback, and leaves the rest to a pipe."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from ktpy_router.core import Core, PortState
from ktpy_router.pipe import Pipe, reset
from ktpy_router.stats import RowStats
from ktpy_router.table import Row
from ktpy_router.upstream import Upstream, UpstreamDown


class Early(asyncio.Protocol):
    """An upstream's connection before it is glued: keeps what is said, one read at most, and the end.

    ON_WORD is called when it speaks or ends.
    """

    def __init__(self, on_word: Callable[[], None] | None = None) -> None:
        self.said = b""
        self.on_word = on_word
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        assert self.transport is not None
        self.said += data
        self.transport.pause_reading()
        if self.on_word:
            self.on_word()

    def eof_received(self) -> bool:
        """Kept open when something was said: the pipe reads the end again when it resumes."""
        return bool(self.said)

    def connection_lost(self, error: Exception | None) -> None:
        if self.on_word:
            self.on_word()


@dataclass(frozen=True, slots=True)
class Dialled:
    """A raw connection to an upstream; ROW is None for the original, PASSED the row that would have had it."""

    transport: asyncio.Transport
    upstream: Upstream
    early: Early
    row: Row | None
    stats: RowStats
    passed: RowStats | None = None


async def dial(port: PortState, on_word: Callable[[], None] | None = None, *, straight: bool = False) -> Dialled:
    """Connect to where unmatched bytes go: the catch-all row; the original when there is none, or that row is down.

    STRAIGHT: to the original, the row was tried. Errors: UpstreamDown, when the original or a strict row is down.
    """
    row, passed = port.chooser.catch_all, None
    if row is not None and not straight:
        stats, upstream = port.row_stats(row), port.upstream(row)
        try:
            transport, early = await _held(row, upstream, on_word)
            return Dialled(transport, upstream, early, row, stats)
        except UpstreamDown:
            if row.strict:
                stats.errors += 1
                raise
            passed = stats
    upstream, stats = port.default, port.row_stats(None)
    try:
        transport, early = await upstream.connect(lambda: Early(on_word))
    except UpstreamDown:
        stats.errors += 1
        raise
    return Dialled(transport, upstream, early, None, stats, passed)


async def _held(row: Row, upstream: Upstream, on_word: Callable[[], None] | None) -> tuple[asyncio.Transport, Early]:
    """To a row's upstream; one that is down is given its `hold` to come back."""
    if not upstream.is_open:
        try:
            return await upstream.connect(lambda: Early(on_word), alternative=True)
        except UpstreamDown:
            if not row.hold:
                raise
    if not row.hold or not await upstream.back(row.hold):
        raise UpstreamDown("is down")
    return await upstream.connect(lambda: Early(on_word), alternative=True)


class RawClient(asyncio.Protocol):
    """A client whose bytes are not looked at, until an upstream is connected; a Pipe takes it from there."""

    def __init__(self, core: Core, port: PortState) -> None:
        self.core = core
        self.port = port
        self.transport: asyncio.Transport | None = None
        self.first = b""
        self.dialling: asyncio.Task[None] | None = None

    def take_over(self, transport: asyncio.Transport, first: bytes, dialled: Dialled | None = None) -> None:
        """FIRST is what the client has said. Dials at once where nobody has yet."""
        self.transport = transport
        self.first = first
        if dialled:
            self._glue(dialled)
            return
        transport.set_protocol(self)
        transport.pause_reading()
        self.core.clients.add(self)
        self.dialling = self.core.loop.create_task(self._dial())

    async def _dial(self) -> None:
        assert self.transport is not None
        try:
            dialled = await dial(self.port)
        except UpstreamDown:
            reset(self.transport)
            return
        self.core.clients.discard(self)
        if self.transport.is_closing():
            dialled.transport.abort()
        else:
            self._glue(dialled)

    def _glue(self, dialled: Dialled) -> None:
        assert self.transport is not None
        dialled.stats.requests += 1
        if dialled.passed:
            dialled.passed.fallbacks += 1
        pipe = Pipe(self.core, self.port, dialled.stats, dialled.upstream)
        pipe.start(self.transport, dialled.transport, to_upstream=self.first, to_client=dialled.early.said)

    def data_received(self, data: bytes) -> None:
        """One read may come: uvloop starts reading after connection_made whatever was asked there."""
        assert self.transport is not None
        self.first += data
        self.transport.pause_reading()

    def eof_received(self) -> bool:
        """Kept open: the pipe reads the end again when it resumes."""
        return True

    def connection_lost(self, error: Exception | None) -> None:
        self.core.clients.discard(self)
        self.port.stats.open_connections -= 1
        if self.dialling:
            self.dialling.cancel()

    def tick(self, now: float) -> None:
        """Dialling has a limit of its own."""

    def drain(self) -> None:
        """As for a pipe."""

    def abort(self) -> None:
        assert self.transport is not None
        reset(self.transport)

    def silent(self, upstream: Upstream, since: float) -> None:
        """Nothing was sent yet."""
