"""Stand-ins for the unit tests of net: a transport that remembers, and the other end of an SSH session."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from ktpy.net.cipher import Opener, Sealer, message
from ktpy.net.handshake import Session

KEY_UP, KEY_DOWN, IV_UP, IV_DOWN = b"u" * 16, b"d" * 16, b"U" * 12, b"D" * 12


class FakeTransport(asyncio.Transport):
    """Takes everything, and can say that it is full."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.calls: list[str] = []
        self._closing = False

    def write(self, data: Any) -> None:
        self.written += data

    def writelines(self, list_of_data: Iterable[Any]) -> None:
        for data in list_of_data:
            self.written += data

    def write_eof(self) -> None:
        self.calls.append("eof")

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        self.calls.append("pause")

    def resume_reading(self) -> None:
        self.calls.append("resume")

    def close(self) -> None:
        self._closing = True
        self.calls.append("close")

    def abort(self) -> None:
        self._closing = True
        self.calls.append("abort")

    def is_closing(self) -> bool:
        return self._closing

    def taken(self) -> bytes:
        data, self.written = bytes(self.written), bytearray()
        return data


class Remembering(asyncio.Protocol):
    """A protocol that notes what it is told."""

    def __init__(self) -> None:
        self.got = b""
        self.told: list[str] = []
        self.stream: asyncio.Transport | None = None

    def connection_made(self, transport: Any) -> None:
        self.stream = transport
        self.told.append("made")

    def data_received(self, data: bytes) -> None:
        self.got += data

    def eof_received(self) -> bool:
        self.told.append("eof")
        return True

    def pause_writing(self) -> None:
        self.told.append("pause")

    def resume_writing(self) -> None:
        self.told.append("resume")

    def connection_lost(self, why: Exception | None) -> None:
        self.told.append(f"lost {why}" if why else "lost")


class FarEnd:
    """The server's half of a session: seals what it says, opens what it hears."""

    def __init__(self, transport: FakeTransport) -> None:
        self._transport = transport
        self.sealer = Sealer(KEY_DOWN, IV_DOWN)
        self.opener = Opener(KEY_UP, IV_UP)

    def heard(self) -> list[bytes]:
        return [message(plain) for plain in self.opener.feed(self._transport.taken())]


def session(host_key: bytes = b"") -> Session:
    return Session(
        sealer=Sealer(KEY_UP, IV_UP),
        opener=Opener(KEY_DOWN, IV_DOWN),
        cipher="aes128-gcm@openssh.com",
        session_id=b"session",
        host_key=host_key,
        our_version=b"SSH-2.0-us",
        their_version=b"SSH-2.0-them",
    )
