"""Proves a pod port end to end: a stream to it must come back to this laptop, carrying our own random bytes."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from ktpy.errors import TunnelLost

SIZE = 32
MOST = 64  # bytes of a pulse that are outstanding: a router asks with one


class Asking(asyncio.Protocol):
    """The end that goes into the pod: says its word and waits to hear it again."""

    def __init__(self) -> None:
        self.word = os.urandom(SIZE)
        self.heard: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._got = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport
        transport.write(self.word)

    def data_received(self, data: bytes) -> None:
        self._got += data
        if len(self._got) >= SIZE and not self.heard.done():
            if self._got == self.word:
                self.heard.set_result(None)
            else:
                self._fail("somebody else answers there")

    def connection_lost(self, why: Exception | None) -> None:
        self._fail(str(why) if why else "the connection was closed")

    def _fail(self, why: str) -> None:
        if not self.heard.done():
            self.heard.set_exception(TunnelLost(f"the probe through the shadow pod failed: {why}"))
            self.heard.exception()


class Echo(asyncio.Protocol):
    """Answers each byte, so that whoever asks knows that this laptop is awake. Who wants more than that is left."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if len(data) > MOST or self._transport.get_write_buffer_size() > MOST:
            self._transport.abort()
        else:
            self._transport.write(data)


class Held(asyncio.Protocol):
    """A connection that came from the pod itself while a probe was out: the probe's, or somebody's (port-forward)?

    Its first bytes tell. The probe's are echoed; anybody else's go on by GO_ON(stream, bytes read, whether FIN came).
    """

    def __init__(self, words: Callable[[], list[bytes]], go_on: Callable[[asyncio.Transport, bytes, bool], None]):
        self._words = words
        self._go_on = go_on
        self._got = b""
        self._stream: asyncio.Transport | None = None

    @property
    def is_waiting(self) -> bool:
        return self._stream is not None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._stream = transport

    def data_received(self, data: bytes | memoryview) -> None:
        self._got += data
        self.judge()

    def eof_received(self) -> bool:
        """The probe sends no FIN before it has heard its word, so this is somebody else's."""
        if self._stream is not None:
            self._pass_on(self._stream, has_eof=True)
        return True

    def connection_lost(self, why: Exception | None) -> None:
        self._stream = None

    def judge(self) -> None:
        """Called when bytes came, and when a probe has ended."""
        stream, words = self._stream, self._words()
        if stream is None:
            return
        if self._got in words:
            self._stream = None
            stream.write(self._got)
            stream.write_eof()
        elif not any(word.startswith(self._got) for word in words):
            self._pass_on(stream, has_eof=False)

    def _pass_on(self, stream: asyncio.Transport, *, has_eof: bool) -> None:
        self._stream = None
        stream.pause_reading()
        self._go_on(stream, self._got, has_eof)
