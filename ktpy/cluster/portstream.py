"""The port-forward's WebSocket as an asyncio transport: framing by `websockets`, flow control and pings here."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterable
from socket import IPPROTO_TCP
from typing import Any

from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import OPEN

from ktpy.cluster.portrefusal import refusal
from ktpy.errors import KtError, TunnelLost

DATA, ERROR = 0, 1
# Few big messages: the API server and the kubelet pay per message (16 KiB: 76 MB/s, 64: 96-130, 256: 109-141).
MESSAGE = 256 * 1024
PING = 15.0
# linux/tcp.h, from Linux 6.15. After some seconds without a network TCP tries again only after as many more.
TCP_RTO_MAX_MS = 44
MISSES = 3


class PortStream(asyncio.Transport):
    """v4.channel.k8s.io: byte 0 of a message is its channel; the first message of a channel carries the port.

    Resources: close() or abort(). PROTOCOL hears connection_lost(None) after our own close, else a TunnelLost.
    """

    def __init__(self, socket: ClientProtocol, protocol: asyncio.Protocol, where: str, *, ping: float = PING) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self._socket = socket
        self._protocol = protocol
        self._where = where
        self._ping = ping
        self._silent = 0
        self._last_tick = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None
        self._named: set[int] = set()
        self._channel = DATA
        self._waiting: deque[memoryview] = deque()
        self._is_paused = False
        self._is_closing = False
        self._is_over = False
        self.is_up = False
        self.ready: asyncio.Future[None] = self._loop.create_future()
        self.wire = Wire(self)

    # asyncio.Transport

    def write(self, data: bytes | bytearray | memoryview) -> None:
        view = memoryview(data)
        for at in range(0, len(view), MESSAGE):
            self._emit([view[at : at + MESSAGE]])

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        batch: list[bytes | bytearray | memoryview] = []
        size = 0
        for piece in list_of_data:
            if batch and size + len(piece) > MESSAGE:
                self._emit(batch)
                batch, size = [], 0
            batch.append(piece)
            size += len(piece)
        if batch:
            self._emit(batch)

    def pause_reading(self) -> None:
        self._is_paused = True
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        self._is_paused = False
        while self._waiting and not self._is_paused:
            self._protocol.data_received(self._waiting.popleft())  # type: ignore[arg-type]
        if not self._is_paused and self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def is_reading(self) -> bool:
        return not self._is_paused and not self._is_closing

    def get_write_buffer_size(self) -> int:
        return self._transport.get_write_buffer_size() if self._transport is not None else 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        if self._transport is not None:
            self._transport.set_write_buffer_limits(high=high, low=low)

    def can_write_eof(self) -> bool:
        return False  # the protocol has no half-close

    def is_closing(self) -> bool:
        return self._is_closing

    def close(self) -> None:
        """RFC 6455 §5.5.1: a Close frame behind what was written; its echo is not waited for."""
        if self._is_closing:
            return
        self._is_closing = True
        if self._transport is not None:
            if self._socket.state is OPEN:
                self._socket.send_close(1000)
                self._flush()
            self._transport.close()

    def abort(self) -> None:
        self._is_closing = True
        if self._transport is not None:
            self._transport.abort()

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default if self._transport is None else self._transport.get_extra_info(name, default)

    # what the wire tells

    def wired(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._flush()

    def take(self, data: bytes) -> None:
        self._silent = 0
        self._socket.receive_data(data)
        self._take_events()

    def take_eof(self) -> None:
        self._socket.receive_eof()
        self._take_events()

    def pause_writing(self) -> None:
        if self.is_up:
            self._protocol.pause_writing()

    def resume_writing(self) -> None:
        if self.is_up:
            self._protocol.resume_writing()

    def lost(self, why: Exception | None) -> None:
        if self._is_over:
            return
        said = f"the port-forward to {self._where} ended: {why or 'closed by the API server'}"
        self._end(why if isinstance(why, KtError) else TunnelLost(said))

    # inside

    def _emit(self, pieces: list[bytes | bytearray | memoryview]) -> None:
        if self._is_closing or self._socket.state is not OPEN:
            return
        self._socket.send_binary(b"".join([b"\0", *pieces]))
        self._flush()

    def _flush(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            for data in self._socket.data_to_send():
                if data:  # an empty one stands for "send FIN": the transport's close does that
                    self._transport.write(data)

    def _take_events(self) -> None:
        for event in self._socket.events_received():
            if isinstance(event, Frame):
                self._take_frame(event)
            elif isinstance(event, Response):
                self._take_response(event)
        if self._socket.handshake_exc is not None:
            self._end(refusal(self._socket.handshake_exc, self._where))
        elif self._socket.parser_exc is not None:
            self._end(TunnelLost(f"the port-forward to {self._where} broke: {self._socket.parser_exc}"))
        self._flush()

    def _take_response(self, response: Response) -> None:
        """RFC 6455 §4.1: the 101. Without our subprotocol the bytes would mean something else."""
        if response.status_code == 101 and self._socket.subprotocol is None:
            self._end(TunnelLost(f"port-forward to {self._where}: the API server does not speak v4.channel.k8s.io"))
        elif response.status_code == 101:
            self._last_tick = self._loop.time()
            self._timer = self._loop.call_later(self._ping, self._tick)

    def _take_frame(self, frame: Frame) -> None:
        """RFC 6455 §5.4-5.6. Pings are answered by the library; any frame is a sign of life."""
        if frame.opcode is Opcode.CLOSE:
            self._end(TunnelLost(f"the port-forward to {self._where} was closed: {self._close_reason()}"))
        elif frame.opcode is Opcode.CONT:
            self._take_bytes(memoryview(frame.data))
        elif frame.opcode in (Opcode.BINARY, Opcode.TEXT) and frame.data:
            view = memoryview(frame.data)
            self._channel = view[0]
            self._take_bytes(view[1:])

    def _close_reason(self) -> str:
        received = self._socket.close_rcvd
        return (received.reason or f"code {received.code}") if received is not None else "no reason"

    def _take_bytes(self, view: memoryview) -> None:
        if self._channel not in self._named:
            self._named.add(self._channel)
            view = view[2:]  # the port, little-endian
            if self._named == {DATA, ERROR}:
                self._up()
        if not view or self._is_over:
            return
        if self._channel == ERROR:
            said = bytes(view).decode("utf-8", "replace").strip()
            self._end(TunnelLost(f"port-forward to {self._where}: {said}"))
        elif self._is_paused:
            self._waiting.append(view)
        else:
            self._protocol.data_received(view)  # type: ignore[arg-type]

    def _up(self) -> None:
        if not self.ready.done():
            self.is_up = True
            self._protocol.connection_made(self)
            self.ready.set_result(None)

    def _tick(self) -> None:
        """RFC 6455 §5.5.2: ask; three questions without any answer are the end. A tick that is late slept itself."""
        now = self._loop.time()
        if now - self._last_tick > 2 * self._ping:
            self._silent = 0
        self._last_tick = now
        if self._silent >= MISSES:
            self._end(TunnelLost(f"the port-forward to {self._where} is silent for {MISSES * self._ping:.0f} s"))
            return
        self._silent += 1
        self._socket.send_ping(b"")
        self._flush()
        self._timer = self._loop.call_later(self._ping, self._tick)

    def _end(self, why: KtError) -> None:
        if self._is_over:
            return
        self._is_over = True
        if self._timer is not None:
            self._timer.cancel()
        was_closing = self._is_closing
        self.abort()
        if self.is_up:
            self._protocol.connection_lost(None if was_closing else why)
        elif not self.ready.done():
            self.ready.set_exception(why)
            self.ready.exception()  # dial() may have given up waiting


class Wire(asyncio.Protocol):
    """The socket under the stream."""

    def __init__(self, stream: PortStream) -> None:
        self._stream = stream

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        socket = transport.get_extra_info("socket")
        with contextlib.suppress(OSError, AttributeError):
            socket.setsockopt(IPPROTO_TCP, TCP_RTO_MAX_MS, 1000)
        self._stream.wired(transport)

    def data_received(self, data: bytes) -> None:
        self._stream.take(data)

    def eof_received(self) -> bool:
        self._stream.take_eof()
        return False

    def pause_writing(self) -> None:
        self._stream.pause_writing()

    def resume_writing(self) -> None:
        self._stream.resume_writing()

    def connection_lost(self, why: Exception | None) -> None:
        self._stream.lost(why)
