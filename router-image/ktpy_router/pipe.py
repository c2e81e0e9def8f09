"""Bytes both ways between two open connections, half-closes and resets too: raw TCP, and what an Upgrade leaves.

A side that ends its sending (FIN) leaves the other way open, as TCP does (RFC 9293, section 3.6): Redis replication,
`nc -N` and old HTTP/1.0 clients rely on it. A reset of one side is a reset of the other. There is no limit on time.
"""

from __future__ import annotations

import asyncio
import struct
from socket import SO_KEEPALIVE, SO_LINGER, SOL_SOCKET
from typing import cast

from ktpy_router.core import Core, PortState
from ktpy_router.stats import RowStats
from ktpy_router.upstream import Upstream

ONE_READ = 256_000
"""uvloop reads at most so much at once (UV_STREAM_RECV_BUF_SIZE), and a limit is looked at after that."""
NO_LINGER = struct.pack("ii", 1, 0)


def reset(transport: asyncio.BaseTransport) -> None:
    """Close with RST instead of FIN: the peer must not take what it has for all there is."""
    if not transport.is_closing():
        transport.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, NO_LINGER)
    cast(asyncio.Transport, transport).abort()


class Side(asyncio.Protocol):
    """One connection of a pipe: what it reads is written to the other."""

    __slots__ = ("ended", "gone", "other", "pipe", "transport", "write")

    def __init__(self, pipe: Pipe, transport: asyncio.Transport) -> None:
        self.pipe = pipe
        self.transport = transport
        self.other: Side = self
        self.write = transport.write
        """The other side's, bound once: this is the way of every byte."""
        self.ended = False
        self.gone = False

    def glue(self, other: Side) -> None:
        self.other = other
        self.write = other.transport.write

    def pause_writing(self) -> None:
        self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        other = self.other
        if not (other.ended or other.gone):
            other.transport.resume_reading()

    def eof_received(self) -> bool:
        self.ended = True
        other = self.other
        if other.ended:
            self.transport.close()
            other.transport.close()
        elif not other.gone:
            other.transport.write_eof()
        return True

    def connection_lost(self, error: Exception | None) -> None:
        self.gone = True
        if not self.other.gone:
            if error is None:
                self.other.transport.close()
            else:
                reset(self.other.transport)
        self.pipe.side_lost()


class ClientSide(Side):
    __slots__ = ()

    def data_received(self, data: bytes) -> None:
        self.pipe.stats.bytes_in += len(data)
        self.write(data)


class UpstreamSide(Side):
    __slots__ = ()

    def data_received(self, data: bytes) -> None:
        pipe = self.pipe
        pipe.stats.bytes_out += len(data)
        if not pipe.answered:
            pipe.answered = True
            pipe.upstream.worked()
        self.write(data)

    def eof_received(self) -> bool:
        self.pipe.upstream_ends()
        return super().eof_received()

    def connection_lost(self, error: Exception | None) -> None:
        self.pipe.upstream_ends()
        super().connection_lost(error)


class Pipe:
    """Two open connections, glued until both are gone. In core.clients meanwhile.

    Also for a protocol that has come to its end with the connections still open (Upgrade, CONNECT): it takes itself
    out of core.clients, calls `start`, and hears no more of them. STATS are those of the row that was chosen: their
    `open` counts the pipe. Whoever loses the client's connection counts port.stats.open_connections down: so does this.
    """

    __slots__ = ("answered", "client_side", "core", "port", "started", "stats", "upstream", "upstream_side")

    def __init__(self, core: Core, port: PortState, stats: RowStats, upstream: Upstream) -> None:
        self.core = core
        self.port = port
        self.stats = stats
        self.upstream = upstream
        self.answered = False
        self.started = 0.0

    def start(
        self,
        client: asyncio.Transport,
        upstream: asyncio.Transport,
        *,
        to_upstream: bytes = b"",
        to_client: bytes = b"",
        answered: bool = False,
    ) -> None:
        """Glue them. TO_UPSTREAM and TO_CLIENT were read already; ANSWERED: the upstream is known to work."""
        self.answered = answered
        self.started = self.core.loop.time()
        self.client_side = ClientSide(self, client)
        self.upstream_side = UpstreamSide(self, upstream)
        self.client_side.glue(self.upstream_side)
        self.upstream_side.glue(self.client_side)
        self.core.clients.add(self)
        self.stats.open += 1
        if client.is_closing() or upstream.is_closing():
            self._stillborn(client, upstream)
            return
        high = max(0, self.core.config.buffer_bytes - ONE_READ)
        for transport, side in ((client, self.client_side), (upstream, self.upstream_side)):
            transport.set_protocol(side)
            transport.set_write_buffer_limits(high=high)
            transport.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_KEEPALIVE, 1)
        if to_client:
            self.upstream_side.data_received(to_client)
        if to_upstream:
            self.client_side.data_received(to_upstream)
        for transport, side in ((client, self.upstream_side), (upstream, self.client_side)):
            if transport.get_write_buffer_size() <= high:
                side.transport.resume_reading()
            else:
                side.transport.pause_reading()

    def side_lost(self) -> None:
        if self.client_side.gone and self.upstream_side.gone:
            self.core.clients.discard(self)
            self.stats.open -= 1
            self.port.stats.open_connections -= 1

    def upstream_ends(self) -> None:
        """A close without a byte, soon, and not because the client ended: so does a tunnel whose far end is down."""
        if self.answered or self.client_side.ended or self.client_side.gone:
            return
        self.answered = True
        if self.core.loop.time() - self.started < self.core.config.connect_seconds:
            self.stats.errors += 1
            self.upstream.closed_early()

    def tick(self, now: float) -> None:
        """No limit: a database connection may be idle for a day. TCP keep-alive finds peers that are gone."""

    def drain(self) -> None:
        """Nothing can be said in a protocol that is not known: it goes on until the deadline."""

    def abort(self) -> None:
        reset(self.client_side.transport)
        reset(self.upstream_side.transport)

    def silent(self, upstream: Upstream, since: float) -> None:
        """What was sent cannot be told from what was answered: it waits, as the client sees fit."""

    def _stillborn(self, client: asyncio.Transport, upstream: asyncio.Transport) -> None:
        """One was lost before it was given to us, so nobody will tell us of it."""
        for transport, side in ((client, self.client_side), (upstream, self.upstream_side)):
            if transport.is_closing():
                side.gone = True
            else:
                transport.set_protocol(side)
                reset(transport)
        self.side_lost()
