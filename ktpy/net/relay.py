"""Joins a laptop socket and a stream into the cluster: bytes, FIN and the end, both ways, at the pace of the slower."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ktpy.net.counters import Counters
from ktpy.net.first import First

READ_SIZE = 256 * 1024
# The laptop socket's own buffer: small enough to bound memory, big enough that a burst is one system call.
HIGH_WATER = 1024 * 1024


class Relay(asyncio.Protocol):
    """The protocol of the cluster's stream; its `socket` is the protocol of the laptop's socket, connected first.

    FIRST and HAS_EOF are what was read of the stream before it came here. SOON is the loop's call_soon. ON_END is
    called when both sides are gone.
    """

    def __init__(
        self,
        counters: Counters,
        scratch: memoryview,
        *,
        soon: Callable[[Callable[[], None]], object],
        on_end: Callable[[], None],
        first: bytes = b"",
        has_eof: bool = False,
    ) -> None:
        self._counters = counters
        self._on_end = on_end
        self._first, self._has_eof = first, has_eof
        self._pieces: list[bytes | memoryview] = []
        self._size = 0
        self._soon = soon
        self._is_over = False
        self.watched: First | None = None if counters.first.seen.is_over else counters.first
        self.socket = LaptopSocket(self, counters, scratch)
        self._laptop: asyncio.Transport | None = None
        self._cluster: asyncio.Transport | None = None

    # the cluster's stream

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._cluster = transport
        if self._laptop is None:  # connected, and gone again before we got here
            transport.abort()
            return
        if self._first:
            self.data_received(self._first)
        if self._has_eof:
            self.eof_received()
        self.socket.joined(transport)

    def data_received(self, data: bytes | memoryview) -> None:
        """Packets that came in one read of the wire leave in one write: a system call costs more than a packet."""
        self._counters.to_laptop(len(data))
        if self.watched is not None:
            self.watched = self.watched.to_laptop(self, data)
        if not self._pieces:
            self._soon(self._flush)
        self._pieces.append(data)
        self._size += len(data)
        if self._size >= HIGH_WATER:
            self._flush()

    def _flush(self) -> None:
        pieces, self._pieces, self._size = self._pieces, [], 0
        if pieces and self._laptop is not None and not self._laptop.is_closing():
            self._laptop.writelines(pieces)

    def eof_received(self) -> bool:
        self._flush()
        if self._laptop is not None and not self._laptop.is_closing():
            self._laptop.write_eof()
        return True

    def pause_writing(self) -> None:
        if self._laptop is not None and not self._laptop.is_closing():
            self._laptop.pause_reading()

    def resume_writing(self) -> None:
        if self._laptop is not None and not self._laptop.is_closing():
            self._laptop.resume_reading()

    def connection_lost(self, why: Exception | None) -> None:
        """A regular end flushes to the laptop first; a lost tunnel is a reset, so nobody takes half for the whole."""
        self._flush()
        self._cluster = None
        self.socket.left()
        if self._laptop is None:
            self._end()
        elif why is None:
            self._laptop.close()
        else:
            self._laptop.abort()

    def give_up(self) -> None:
        """The two never came together, or nobody waits any more until the laptop has read the rest."""
        if self._laptop is not None:
            self._laptop.abort()
        else:
            self._end()

    def _end(self) -> None:
        if not self._is_over:
            self._is_over = True
            if self.watched is not None:
                self.watched.ended(self)
            self._on_end()

    # the laptop's socket tells

    def laptop_made(self, transport: asyncio.Transport) -> None:
        self._laptop = transport

    def laptop_lost(self, why: Exception | None) -> None:
        self._laptop = None
        if self._cluster is None:
            self._end()
        elif why is None:
            self._cluster.close()
        else:
            self._cluster.abort()


class LaptopSocket(asyncio.BufferedProtocol):
    """The laptop's side. SCRATCH is shared by all sockets of a loop: each read is sealed or copied before the next."""

    def __init__(self, relay: Relay, counters: Counters, scratch: memoryview) -> None:
        self._relay = relay
        self._counters = counters
        self._scratch = scratch
        self._laptop: asyncio.Transport | None = None
        self._cluster: asyncio.Transport | None = None
        self._early = bytearray()
        self._early_eof = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        transport.set_write_buffer_limits(high=HIGH_WATER)
        # asyncio may still deliver what is there already: it is kept in _early.
        transport.pause_reading()
        self._laptop = transport
        self._relay.laptop_made(transport)

    def joined(self, cluster: asyncio.Transport) -> None:
        self._cluster = cluster
        if self._early:
            cluster.write(self._early)
            self._early = bytearray()
        if self._early_eof:
            cluster.write_eof()
        if self._laptop is not None and not self._laptop.is_closing():
            self._laptop.resume_reading()

    def left(self) -> None:
        self._cluster = None

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._scratch

    def buffer_updated(self, nbytes: int) -> None:
        self._counters.bytes_to_cluster += nbytes
        if (watched := self._relay.watched) is not None:
            self._relay.watched = watched.to_cluster(self._relay, self._scratch[:nbytes])
        if self._cluster is not None:
            self._cluster.write(self._scratch[:nbytes])
        else:
            self._early += self._scratch[:nbytes]

    def eof_received(self) -> bool:
        if self._cluster is not None:
            self._cluster.write_eof()
        else:
            self._early_eof = True
        return True

    def pause_writing(self) -> None:
        if self._cluster is not None:
            self._cluster.pause_reading()

    def resume_writing(self) -> None:
        if self._cluster is not None:
            self._cluster.resume_reading()

    def connection_lost(self, why: Exception | None) -> None:
        self._laptop = self._cluster = None
        self._relay.laptop_lost(why)
