"""One stream inside the SSH connection, shaped like an asyncio transport: windows, FIN, and bounded buffers."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from ktpy.errors import TunnelLost
from ktpy.net import messages as m

# What we let the server send before it must hear from us. Starts at OpenSSH's own 2 MiB, so a reader that stalls at
# once costs no more; doubles for a stream whose reader keeps up, because a far cluster needs bandwidth x round trip.
FIRST_WINDOW = 2 * 1024 * 1024
BIGGEST_WINDOW = 16 * 1024 * 1024
# The packet that we accept. OpenSSH's whole packet is at most 256 KiB, so the data in it is a little less.
BIGGEST_DATA = 240 * 1024
HIGH_WATER = 256 * 1024
# Packets up to this size are kept in one piece while nobody reads: as objects they would cost many times their bytes.
SMALL_DATA = 4096


class Mux(Protocol):
    """What a channel needs of the connection that carries it."""

    @property
    def is_clear(self) -> bool:
        """Whether data may be sent now: the wire takes more and no keys are being changed."""

    def send(self, payload: bytes) -> None: ...
    def send_data(self, head: bytes, data: memoryview) -> None: ...
    def stuck(self, channel: Channel) -> None: ...
    def forget(self, channel: Channel) -> None: ...
    def grant(self, wanted: int) -> int: ...
    def give_back(self, granted: int) -> None: ...


class Channel(asyncio.Transport):
    """RFC 4254 §5. Resources: lives until both sides have sent CLOSE, or the connection is lost."""

    def __init__(self, mux: Mux, ours: int, protocol: asyncio.BaseProtocol) -> None:
        super().__init__()
        self._mux = mux
        self.ours = ours
        self.theirs = -1
        self.set_protocol(protocol)
        # towards the cluster
        self._may_send = 0
        self._biggest = 0
        self._queue: deque[memoryview] = deque()
        self._queued = 0
        self._is_full = False
        self._wants_eof = False
        self._sent_eof = False
        self._sent_close = False
        # towards the laptop
        self._window = FIRST_WINDOW
        self._may_come = FIRST_WINDOW
        self._unread: deque[memoryview | bytearray] = deque()
        self._is_paused = False
        self._got_eof = False
        self._told_eof = False
        self._got_close = False
        self._is_over = False
        self._is_closing = False

    # what the connection calls

    def opened(self, theirs: int, window: int, biggest: int) -> None:
        """RFC 4254 §5.1: the other side's number for this channel, and how much it takes."""
        self.theirs, self._may_send, self._biggest = theirs, window, biggest
        self._protocol.connection_made(self)

    def take_data(self, data: memoryview) -> None:
        """RFC 4254 §5.2 CHANNEL_DATA."""
        self._may_come -= len(data)
        if self._may_come < 0:
            raise TunnelLost("the shadow pod's sshd sent more than the window allows")
        if self._is_closing:
            # Thrown away, but the window still opens: the far side must be able to come to its own end.
            self._widen()
        elif self._is_paused or self._unread:
            self._keep(data)
        elif data:
            self._on_data(data)
            self._widen()

    def take_window(self, more: int) -> None:
        """RFC 4254 §5.2 CHANNEL_WINDOW_ADJUST."""
        self._may_send += more
        self.flush()

    def take_eof(self) -> None:
        """RFC 4254 §5.3."""
        self._got_eof = True
        self._deliver()

    def take_close(self) -> None:
        """RFC 4254 §5.3: must be answered with CLOSE; what was received before is still delivered."""
        self._got_close = True
        self._drop_queue()
        self._send_close()
        self.flush()  # a writer that waits may wait for ever, and its program then never reads the rest
        self._deliver()

    def lost(self, why: Exception | None) -> None:
        """The connection under the channel is gone, or the channel is done."""
        if self._is_over:
            return
        self._is_over = self._is_closing = True
        self._drop_queue()
        self._unread.clear()
        self._mux.give_back(self._window - FIRST_WINDOW)
        self._mux.forget(self)
        # The protocol and this object point at each other: let go, or thousands wait for the garbage collector.
        protocol = self._protocol
        self.set_protocol(asyncio.Protocol())
        if self.theirs >= 0:
            protocol.connection_lost(why)

    def flush(self) -> None:
        """Send of the queue what the window and the wire take; then tell the writer to go on."""
        while self._queue and self._may_send and self._mux.is_clear:
            view = self._queue.popleft()
            rest = self._push(view)
            self._queued -= len(view) - len(rest)
            if rest:
                self._queue.appendleft(rest)
        if self._queue and self._may_send:
            self._mux.stuck(self)
        if self._is_full and self._queued <= HIGH_WATER // 4:
            self._is_full = False
            self._protocol.resume_writing()
        if not self._queue:
            self._finish_writing()

    # what the user of the stream calls: asyncio.Transport

    def write(self, data: bytes | bytearray | memoryview) -> None:
        # Behind our CLOSE nothing may come: sshd ends the whole connection over a stream that it has forgotten.
        if self._is_closing or self._wants_eof or self._sent_close or not data:
            return
        view = memoryview(data)
        if not self._queue and self._mux.is_clear:
            view = self._push(view)
        if view:
            # The caller may reuse its buffer, and a view on a big read would keep all of it.
            self._queue.append(memoryview(bytes(view)))
            self._queued += len(view)
            if self._may_send:
                self._mux.stuck(self)
            if self._queued > HIGH_WATER and not self._is_full:
                self._is_full = True
                self._protocol.pause_writing()

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        for data in list_of_data:
            self.write(data)

    def write_eof(self) -> None:
        self._wants_eof = True
        self.flush()

    def can_write_eof(self) -> bool:
        return True

    def close(self) -> None:
        """Send what is queued, then CLOSE."""
        if not self._is_closing:
            self._leave()
            self.flush()

    def abort(self) -> None:
        """CLOSE now; sshd has no RST of its own, but it closes its socket."""
        self._leave()
        self._drop_queue()
        self._send_close()
        self._end_if_closed()

    def is_closing(self) -> bool:
        return self._is_closing

    def get_write_buffer_size(self) -> int:
        return self._queued

    def pause_reading(self) -> None:
        # Whoever has left does not come back to resume.
        self._is_paused = not self._is_closing

    def resume_reading(self) -> None:
        self._is_paused = False
        self._deliver()

    def is_reading(self) -> bool:
        return not self._is_paused and not self._is_closing

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        if not isinstance(protocol, asyncio.Protocol):
            raise TypeError("a channel needs an asyncio.Protocol")
        self._protocol = protocol
        self._on_data: Callable[[memoryview | bytearray], None] = protocol.data_received  # type: ignore[assignment]

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    # inside

    def _push(self, view: memoryview) -> memoryview:
        mux = self._mux
        while view and self._may_send and mux.is_clear:
            size = min(len(view), self._may_send, self._biggest)
            self._may_send -= size
            mux.send_data(m.data_head(self.theirs, size), view[:size])
            view = view[size:]
        return view

    def _keep(self, data: memoryview) -> None:
        """An empty packet costs the far side no window, so it may not cost us anything either."""
        if len(data) > SMALL_DATA:
            self._unread.append(data)
            return
        last = self._unread[-1] if self._unread else None
        if isinstance(last, bytearray) and len(last) < BIGGEST_DATA:
            last += data
        elif data:
            self._unread.append(bytearray(data))

    def _deliver(self) -> None:
        """Hand over what waited, then EOF, then the end; stops where the reader pauses again."""
        while self._unread and not self._is_paused:
            piece = self._unread.popleft()
            if not self._is_closing:
                self._on_data(piece)
        if self._unread or self._is_over:
            return
        self._widen()
        if self._is_paused and not self._is_closing:
            return
        if self._got_eof and not self._told_eof and not self._is_closing:
            self._told_eof = True
            if not self._protocol.eof_received():
                self.close()
        self._end_if_closed()

    def _widen(self) -> None:
        """RFC 4254 §5.2: let more come once half of the window is used and the reader has taken it."""
        if self._may_come * 2 > self._window or self._got_eof or self._sent_close or self._is_paused:
            return
        if self._window < BIGGEST_WINDOW and not self._is_closing:
            self._window += self._mux.grant(self._window)
        self._mux.send(m.window_adjust(self.theirs, self._window - self._may_come))
        self._may_come = self._window

    def _finish_writing(self) -> None:
        if self.theirs < 0:
            return
        if self._wants_eof and not self._sent_eof and not self._sent_close:
            self._sent_eof = True
            self._mux.send(m.channel_only(m.CHANNEL_EOF, self.theirs))
        if self._is_closing:
            self._send_close()
            self._end_if_closed()

    def _send_close(self) -> None:
        if not self._sent_close and self.theirs >= 0:
            self._sent_close = True
            self._mux.send(m.channel_only(m.CHANNEL_CLOSE, self.theirs))

    def _end_if_closed(self) -> None:
        if self._sent_close and self._got_close and not self._unread:
            self.lost(None)

    def _drop_queue(self) -> None:
        self._queue.clear()
        self._queued = 0

    def _leave(self) -> None:
        """Nobody reads any more. A pause ends with it, or what still comes would be kept for a reader that is gone."""
        self._is_closing, self._is_paused = True, False
        self._unread.clear()
