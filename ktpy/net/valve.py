"""Stands between a blocking SSH library and the wire, and shuts right behind the packet that ends the log-in."""

from __future__ import annotations

import threading
from collections.abc import Callable

from ktpy.errors import TunnelLost
from ktpy.net.cipher import TAG
from ktpy.net.messages import NEWKEYS, USERAUTH_SUCCESS

_BANNER_LIMIT = 64 * 1024
_PACKET_LIMIT = 256 * 1024


class Cutter:
    """Cuts the server's bytes into units: the lines before SSH-2.0, that line, then packet by packet.

    RFC 4253 §4.2 (version line, lines before it), §6 (packets); with AES-GCM the length stays readable (RFC 5647 §7.3).
    """

    def __init__(self) -> None:
        self._raw = bytearray()
        self._in_lines = True
        self.sealed = False

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        self._raw += data

    def next(self) -> bytes:
        """The next whole unit, or nothing yet."""
        size = self._line() if self._in_lines else self._packet()
        if not size:
            return b""
        unit = bytes(self._raw[:size])
        del self._raw[:size]
        if self._in_lines:
            self._in_lines = not unit.startswith(b"SSH-")
        elif not self.sealed:
            # RFC 4253 §7.3: whatever follows NEWKEYS is sealed. Byte 4 is the padding length, byte 5 the type.
            self.sealed = unit[5] == NEWKEYS
        return unit

    def rest(self) -> bytes:
        return bytes(self._raw)

    def _line(self) -> int:
        end = self._raw.find(b"\n") + 1
        if not end and len(self._raw) > _BANNER_LIMIT:
            raise TunnelLost("what answers in the shadow pod is not an SSH server")
        return end

    def _packet(self) -> int:
        if len(self._raw) < 4:
            return 0
        length = int.from_bytes(self._raw[:4], "big")
        if not 2 <= length <= _PACKET_LIMIT:
            raise TunnelLost(f"nonsense from the shadow pod's sshd: a packet of {length} bytes")
        size = 4 + length + (TAG if self.sealed else 0)
        return size if len(self._raw) >= size else 0


class Valve:
    """A socket to the SSH library (its threads), a sink to the event loop; LOOK names the type of a sealed packet.

    The library gets one unit at a time. Behind USERAUTH_SUCCESS it gets no more: what follows belongs to the pump.
    """

    def __init__(self, send: Callable[[bytes], None], look: Callable[[bytes], int]) -> None:
        self._send = send
        self._look = look
        self._changed = threading.Condition()
        self._cutter = Cutter()
        self._unit = b""
        self._timeout: float | None = None
        self._closed = False  # paramiko reads this name
        self._lost: BaseException | None = None
        self._why: BaseException | None = None
        self._is_done = False
        self._out_sealed = False
        self.sent_sealed = 0

    # the event loop's side

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        with self._changed:
            self._cutter.feed(data)
            self._changed.notify_all()

    def lost(self, why: BaseException) -> None:
        """The wire is gone. What came before is still read: the server's last words may be the reason for it."""
        with self._changed:
            self._lost = self._lost or why
            self._changed.notify_all()

    def shut(self) -> None:
        """Nothing passes any more: the session has been taken over, or nobody waits for it."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def rest(self) -> bytes:
        """What the server sent behind its USERAUTH_SUCCESS, and nobody has seen."""
        with self._changed:
            return self._cutter.rest()

    @property
    def why(self) -> BaseException | None:
        """What ended the wire, once the library has met that end: before, whatever it says is its own."""
        return self._why

    # the SSH library's side

    def settimeout(self, seconds: float | None) -> None:
        self._timeout = seconds

    def recv(self, count: int) -> bytes:
        if not self._unit:
            self._unit = self._next_unit()
        piece, self._unit = self._unit[:count], self._unit[count:]
        return piece

    def send(self, data: bytes) -> int:
        with self._changed:
            if self._closed:
                raise ConnectionResetError("the wire is gone")
            if self._out_sealed:
                self.sent_sealed += 1
            # The library sends packet by packet; the version line begins with S, which is no packet of ours.
            elif not data.startswith(b"SSH-"):
                self._out_sealed = data[5] == NEWKEYS
            is_lost = self._lost is not None  # an error here would keep the library from reading on to the reason
        if not is_lost:
            self._send(bytes(data))
        return len(data)

    def close(self) -> None:
        self.shut()

    def _next_unit(self) -> bytes:
        with self._changed:
            unit = self._cut()
            if not unit and not self._has_ended():
                self._changed.wait(self._timeout)
                unit = self._cut()
            if unit:
                return unit
            if self._has_ended():
                self._why = self._why or self._lost
                return b""
        raise TimeoutError

    def _has_ended(self) -> bool:
        return self._closed or self._lost is not None

    def _cut(self) -> bytes:
        if self._is_done or self._closed:
            return b""
        try:
            sealed = self._cutter.sealed
            unit = self._cutter.next()
            if unit and sealed:
                self._is_done = self._look(unit) == USERAUTH_SUCCESS
        except TunnelLost as error:
            self._why, self._closed = error, True
            return b""
        return unit
