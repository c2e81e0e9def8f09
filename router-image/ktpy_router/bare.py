"""A transport over a plain socket, for a connection that was served without one until something odd happened.

uvloop makes its own only in a later step of the event loop; this one is there at once, and costs nothing before.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Any

READ_BYTES = 256_000
"""At once, as uvloop does."""

_NOBODY = asyncio.Protocol()


class Bare(asyncio.Transport):
    """Reads from the start. The protocol's connection_made is not called: it has been at work already."""

    __slots__ = ("_buffer", "_closing", "_eof", "_full", "_heard_out", "_high", "_loop", "_lost", "_protocol", "_reads",
                 "_sock")  # fmt: skip

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: socket.SocketType, protocol: asyncio.Protocol) -> None:
        super().__init__()
        sock.setblocking(False)
        self._loop = loop
        self._sock = sock
        self._protocol = protocol
        self._buffer = bytearray()
        self._high = 65536
        self._full = False
        """The protocol was told to write no more."""
        self._eof = False
        """Ours."""
        self._heard_out = False
        """The peer's has come."""
        self._closing = False
        self._lost = False
        self._reads = False
        self.resume_reading()

    # Reading.

    def is_reading(self) -> bool:
        return self._reads

    def pause_reading(self) -> None:
        if self._reads:
            self._reads = False
            self._loop.remove_reader(self._sock.fileno())

    def resume_reading(self) -> None:
        if not (self._reads or self._heard_out or self._closing):
            self._reads = True
            self._loop.add_reader(self._sock.fileno(), self.read)

    def read(self) -> None:
        """What there is now."""
        try:
            data = self._sock.recv(READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._fail(error)
            return
        if data:
            self._protocol.data_received(data)
            return
        self.pause_reading()
        self._heard_out = True
        if not self._protocol.eof_received():
            self.close()

    # Writing.

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._closing or self._eof or not data:
            return
        if not self._buffer:
            try:
                sent = self._sock.send(data)
            except (BlockingIOError, InterruptedError):
                sent = 0
            except OSError as error:
                self._fail(error)
                return
            if sent == len(data):
                return
            data = memoryview(data)[sent:]
            self._loop.add_writer(self._sock.fileno(), self._flush)
        self._buffer += data
        if len(self._buffer) > self._high and not self._full:
            self._full = True
            self._protocol.pause_writing()

    def _flush(self) -> None:
        try:
            del self._buffer[: self._sock.send(self._buffer)]
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._fail(error)
            return
        if self._full and len(self._buffer) <= self._high // 4:
            self._full = False
            self._protocol.resume_writing()
        if self._buffer:
            return
        self._loop.remove_writer(self._sock.fileno())
        if self._closing:
            self._lose(None)
        elif self._eof:
            self._shut()

    def write_eof(self) -> None:
        if not (self._eof or self._closing):
            self._eof = True
            if not self._buffer:
                self._shut()

    def can_write_eof(self) -> bool:
        return True

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high = 65536 if high is None else high

    def get_write_buffer_size(self) -> int:
        return len(self._buffer)

    # The end.

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        if not self._closing:
            self.pause_reading()
            self._closing = True
            if not self._buffer:
                self._lose(None)

    def abort(self) -> None:
        self._fail(None)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        if name == "socket":
            return self._sock
        if name == "peername":
            with contextlib.suppress(OSError):
                return self._sock.getpeername()
        return default

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        assert isinstance(protocol, asyncio.Protocol)
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    def _shut(self) -> None:
        with contextlib.suppress(OSError):  # the peer has gone: reading finds that out
            self._sock.shutdown(socket.SHUT_WR)

    def _fail(self, error: OSError | None) -> None:
        self.pause_reading()
        if self._buffer:
            self._loop.remove_writer(self._sock.fileno())
            self._buffer.clear()
        self._closing = True
        self._lose(error)

    def _lose(self, error: OSError | None) -> None:
        """Later, since a protocol may be told only when it has returned."""
        if not self._lost:
            self._lost = True
            self._loop.call_soon(self._end, error)

    def _end(self, error: OSError | None) -> None:
        self._protocol.connection_lost(error)
        self._sock.close()
        self._protocol = _NOBODY  # it refers to this
