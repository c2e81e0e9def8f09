"""The sockets of an HTTP/2 client connection and of its upstream connections, on the loop of the worker."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from ktpy_router.h2 import hpack
from ktpy_router.h2.link import Link
from ktpy_router.h2.mirror import Copy, deliver
from ktpy_router.h2.state import Relay
from ktpy_router.h2.stream import Stream
from ktpy_router.head import forwarded_fields
from ktpy_router.table import Row
from ktpy_router.upstream import Upstream, UpstreamDown

if TYPE_CHECKING:
    from ktpy_router.core import Core, PortState

LINGER_SECONDS = 1.0
"""Between our end of a connection and its closing: what the client still sends must not reset our GOAWAY away."""


class UpstreamSide(asyncio.Protocol):
    """One upstream connection."""

    __slots__ = ("client", "link", "transport")

    def __init__(self, client: H2Client, link: Link) -> None:
        self.client = client
        self.link = link
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        client = self.client
        if self.link.gone or client.relay is None:
            self.transport.abort()
            return
        self.transport.set_write_buffer_limits(client.core.config.buffer_bytes)
        if client.is_congested:
            self.transport.pause_reading()
        client.relay.now = client.core.loop.time()
        client.relay.connected(self.link)
        client.flush()

    def data_received(self, data: bytes) -> None:
        client = self.client
        relay = client.relay
        if relay is not None:
            relay.now = client.core.loop.time()
            relay.link_received(self.link, data)
            client.flush()

    def connection_lost(self, error: Exception | None) -> None:
        self.transport = None
        self.client.link_lost(self.link)

    def pause_writing(self) -> None:
        if self.client.relay is not None:
            self.client.relay.congested(self.link, now=True)

    def resume_writing(self) -> None:
        if self.client.relay is not None:
            self.client.relay.congested(self.link, now=False)
            self.client.flush()

    def leave(self) -> None:
        """Close, with what is left to say."""
        if self.transport is not None and not self.transport.is_closing():
            if self.link.out:
                self.transport.write(b"".join(self.link.out))
                self.link.out.clear()
            self.transport.close()


class H2Client(asyncio.Protocol):
    """A client that began with HTTP/2's preface. Writes once per read and peer, whatever was in it."""

    __slots__ = ("_dialling", "_ending", "_holding", "_sides", "core", "is_congested", "port", "relay", "transport")

    def __init__(self, core: Core, port: PortState) -> None:
        self.core = core
        self.port = port
        self.relay: Relay | None = None
        self.transport: asyncio.Transport | None = None
        self.is_congested = False
        self._ending: asyncio.TimerHandle | None = None
        self._sides: dict[Link, UpstreamSide] = {}
        self._dialling: dict[Link, asyncio.Task[None]] = {}
        self._holding: set[asyncio.Future[bool]] = set()

    def take_over(
        self, transport: asyncio.Transport, first: bytes, upstream_ready: tuple[asyncio.Transport, Upstream] | None
    ) -> None:
        """FIRST is what the client has said so far, UPSTREAM_READY a connection that was made ahead."""
        self.transport = transport
        transport.set_protocol(self)
        transport.set_write_buffer_limits(self.core.config.buffer_bytes)
        self.core.clients.add(self)
        now = self.core.loop.time()
        self.relay = Relay(self.core.config, self.port, self, now=now, forwarded=self._forwarded())
        if upstream_ready is not None and not upstream_ready[0].is_closing():
            link = self.relay.adopt(upstream_ready[1])
            side = self._sides[link] = UpstreamSide(self, link)
            upstream_ready[0].set_protocol(side)
            side.connection_made(upstream_ready[0])
        if self.core.draining:
            self.relay.drain()
        self.data_received(first)

    def data_received(self, data: bytes) -> None:
        relay = self.relay
        if relay is not None:
            relay.now = self.core.loop.time()
            relay.client_received(data)
            self.flush()

    def flush(self) -> None:
        """Write what came of the last call."""
        relay, transport = self.relay, self.transport
        if relay is None or transport is None:
            return
        out = relay.to_client
        if out:
            transport.write(out[0] if len(out) == 1 else b"".join(out))
            out.clear()
        for link in relay.all_links:
            if link.out:
                side = self._sides.get(link)
                if side is not None and side.transport is not None:
                    side.transport.write(link.out[0] if len(link.out) == 1 else b"".join(link.out))
                    link.out.clear()
        if relay.ended and self._ending is None:
            self._end()

    def connection_lost(self, error: Exception | None) -> None:
        self.port.stats.open_connections -= 1
        self.core.clients.discard(self)
        if self._ending is not None:
            self._ending.cancel()
        self.transport = None
        self._leave()

    def pause_writing(self) -> None:
        """The client does not take what upstreams send: they wait, each in its own connection."""
        self.is_congested = True
        for side in self._sides.values():
            if side.transport is not None and not side.transport.is_closing():
                side.transport.pause_reading()

    def resume_writing(self) -> None:
        self.is_congested = False
        for side in tuple(self._sides.values()):
            if side.transport is not None and not side.transport.is_closing():
                side.transport.resume_reading()

    def tick(self, now: float) -> None:
        if self.relay is not None:
            self.relay.now = now
            self.relay.tick()
            self.flush()

    def drain(self) -> None:
        if self.relay is not None:
            self.relay.now = self.core.loop.time()
            self.relay.drain()
            self.flush()

    def abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    def silent(self, upstream: Upstream, since: float) -> None:
        if self.relay is not None:
            self.relay.now = self.core.loop.time()
            self.relay.silent(upstream, since)
            self.flush()

    # What the relay wishes

    def dial(self, link: Link) -> None:
        # Not at once: an eager task could fail, and call back into the relay, before this call has returned.
        task = self._dialling[link] = self.core.loop.create_task(self._dial(link))
        task.add_done_callback(lambda _: self._dialling.pop(link, None) and None)

    def hold(self, stream: Stream, upstream: Upstream, seconds: float) -> None:
        waiting = upstream.back(seconds)
        self._holding.add(waiting)

        def released(done: asyncio.Future[bool]) -> None:
            self._holding.discard(done)
            if self.relay is not None and not done.cancelled():
                self.relay.now = self.core.loop.time()
                self.relay.released(stream, is_back=done.result())
                self.flush()

        waiting.add_done_callback(released)

    def copy(self, copy: Copy, row: Row) -> None:
        upstream, stats = self.port.upstream(row), self.port.row_stats(row)
        self.core.background(deliver(copy, row, upstream, stats))

    def hang_up(self, link: Link) -> None:
        side = self._sides.pop(link, None)
        if side is not None:
            side.leave()

    def link_lost(self, link: Link) -> None:
        """Its connection was closed by the upstream, or by us."""
        self._sides.pop(link, None)
        if self.relay is not None and not link.gone:
            self.relay.now = self.core.loop.time()
            self.relay.lost(link, "closed the connection")
            self.flush()

    async def _dial(self, link: Link) -> None:
        await asyncio.sleep(0)

        def made() -> UpstreamSide:
            side = self._sides[link] = UpstreamSide(self, link)
            return side

        try:
            await link.upstream.connect(made, alternative=link.upstream is not self.port.default)
        except UpstreamDown as error:
            self._sides.pop(link, None)
            if self.relay is not None and not link.gone:
                self.relay.now = self.core.loop.time()
                self.relay.dial_failed(link, str(error))
                self.flush()

    def _end(self) -> None:
        """Our last word is written; the upstreams need not wait for the client to read it."""
        transport = self.transport
        assert transport is not None
        self._ending = self.core.loop.call_later(LINGER_SECONDS, transport.abort)
        self._leave()
        if not transport.is_closing():
            transport.write_eof()

    def _leave(self) -> None:
        relay, self.relay = self.relay, None
        if relay is not None:
            relay.client_lost()
        for task in tuple(self._dialling.values()):
            task.cancel()
        for waiting in tuple(self._holding):
            waiting.cancel()

    def _forwarded(self) -> bytes:
        if self.transport is None or not self.core.config.forwarded:
            return b""
        fields = forwarded_fields(self.transport.get_extra_info("peername"))
        return b"".join(hpack.literal(name.lower(), value) for name, value in fields)
