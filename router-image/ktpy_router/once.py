"""Clients that connect for one request: served on the plain socket, with as little as that needs.

A connection for each request is what simple clients make, and an event loop's transport, its protocol and a parser of
its own cost more than the request. So a new client's first bytes are read as soon as it is accepted. Where they are one
usual GET, an idle upstream connection is there for it, and the answer comes in one piece, `Once` is all there is of the
connection, unless the client asks for more: then it gets a transport, and an Http1Client (`arrived`). In any other
case, and when the answer takes long, it becomes one at once (`whole`), and goes on as if it had been from the start.
"""

from __future__ import annotations

import asyncio
import fcntl
import socket
import termios
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, cast

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from ktpy_router import pool
from ktpy_router.bare import Bare
from ktpy_router.core import Core, PortState
from ktpy_router.head import END, HOST, with_close
from ktpy_router.http1 import BODY, LAST, ONE_REQUEST, Http1Client
from ktpy_router.http1_row import needles, row_of
from ktpy_router.http1_upstream import BEGUN, COMPLETE, UpstreamConnection, high_water
from ktpy_router.match import Chooser
from ktpy_router.stats import RowStats
from ktpy_router.table import Row
from ktpy_router.upstream import Upstream

if TYPE_CHECKING:
    from ktpy_router.door import Silence

CLOSE = b"\r\nConnection: close\r\n"
"""As nearly everybody writes it."""
_CONNECTION = b"\r\nconnection:"
_NONE = bytes(4)
"""What the kernel says of a socket from which nothing is to be read."""
READ_BYTES = 16384
"""Of what a client says at once. The rest is read later."""


class Once:
    """A client in its first request, or just after it. In core.clients until it has gone or something else is there."""

    __slots__ = ("begun", "goes", "leaves", "port", "row", "sent", "silence", "sock", "stats", "up")

    keep = False
    """Its answers are not for UpstreamConnection to pass on."""

    def __init__(
        self, silence: Silence, port: PortState, sock: socket.SocketType, sent: bytes, row: Row | None, stats: RowStats,
        up: UpstreamConnection, *, goes: bool
    ) -> None:  # fmt: skip
        self.silence = silence
        self.port = port
        self.sock = sock
        self.sent = sent
        self.row = row
        self.stats = stats
        self.up: UpstreamConnection | None = up
        """None when it is answered."""
        self.goes = goes
        """It said that this request is its last one."""
        self.leaves = False
        """It is about to have a transport."""
        self.begun = monotonic()

    def last_answer(self, up: UpstreamConnection, data: bytes) -> None:
        """The whole of a usual answer."""
        sock = self.sock
        if self.goes:
            if fcntl.ioctl(sock.fileno(), termios.FIONREAD, _NONE) != _NONE:  # to close now would be a reset
                client = self.whole()
                cast(Bare, client.transport).read()
                client.last_answer(up, data)
                return
            end = data.find(END) + 4
            data = with_close(data[:end]) + data[end:]
        try:
            sent = sock.send(data, socket.MSG_DONTWAIT)
        except OSError:
            sent = 0
        stats = self.stats
        stats.bytes_out += sent
        if sent < len(data):
            self.whole().answer(data[sent:])
            up.answered()
            return
        stats.open -= 1
        up.used = now = monotonic()
        stats.took(now - self.begun)
        up.waits = False
        core = self.silence.core
        pool.give(up, core.config.pool_size)
        if self.goes:
            self._gone()
        else:
            self.up = None
            core.loop.add_reader(sock.fileno(), self._more)

    def whole(self) -> Http1Client:
        """Its request is no longer simple."""
        core, up = self.silence.core, self.up
        assert up is not None
        client = Http1Client(core, self.port)
        client.transport = transport = Bare(core.loop, self.sock, client)
        transport.set_write_buffer_limits(high=high_water(core.config))
        client.busy, client.keep = True, not self.goes
        client.sent, client.row, client.stats, client.begun = self.sent, self.row, self.stats, self.begun
        client.up = up
        up.client = client
        self._replaced(client)
        return client

    def is_silent(self) -> None:
        """It stays after its answer; or that takes a while: listen to whether the client still waits for it."""
        if self.up is None:
            self._leave(b"")
        else:
            self.whole()

    def arrived(self, transport: asyncio.Transport, data: bytes) -> None:
        """It has a transport, and has said DATA since its answer."""
        client = Http1Client(self.silence.core, self.port)
        self._replaced(client)
        self.port.stats.http1 -= 1  # which take_over counts again
        client.take_over(transport, data)

    def _more(self) -> None:
        try:
            data = self.sock.recv(READ_BYTES, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._leave(data)
        else:
            self.silence.core.loop.remove_reader(self.sock.fileno())
            self._gone()

    def _leave(self, data: bytes) -> None:
        core = self.silence.core
        self.leaves = True
        core.loop.remove_reader(self.sock.fileno())
        self.silence.heard(self)
        core.background(adopt(core.loop, self.sock, _Arrival(self, data), self._gone))

    def _replaced(self, client: Http1Client) -> None:
        core = self.silence.core
        core.clients.discard(self)
        core.clients.add(client)
        self.silence.heard(self)
        if core.draining:  # which it has not been told
            client.told = False
            client.drain()

    def _gone(self) -> None:
        self.sock.close()
        self.port.stats.open_connections -= 1
        self.silence.core.clients.discard(self)
        self.silence.heard(self)

    # The core's calls.

    def tick(self, now: float) -> None:
        """It has not come to any limit yet."""

    def drain(self) -> None:
        """Nothing is left to tell one that goes anyway; another is told when it has been replaced."""
        if not (self.goes or self.leaves):
            self.is_silent()

    def silent(self, upstream: Upstream, since: float) -> None:
        if self.up is not None and self.up.upstream is upstream and self.begun > since:
            self.whole().silent(upstream, since)

    def abort(self) -> None:
        if self.up is not None:
            self.whole().abort()
        elif not self.leaves:
            self.silence.core.loop.remove_reader(self.sock.fileno())
            self._gone()


class _Arrival(asyncio.Protocol):
    """What a transport is made for."""

    def __init__(self, once: Once, data: bytes) -> None:
        self._once = once
        self._data = data

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._once.arrived(cast(asyncio.Transport, transport), self._data)


async def adopt(
    loop: asyncio.AbstractEventLoop, sock: socket.SocketType, protocol: asyncio.Protocol, failed: Callable[[], None]
) -> None:
    """Give SOCK a transport. One of the plain kind uvloop closes twice, when its number may be another's already."""
    whole = socket.socket(sock.family, sock.type, sock.proto, sock.detach())
    try:
        await loop.connect_accepted_socket(lambda: protocol, whole)
    except OSError:
        whole.close()
        failed()


class Onces:
    """Of one port: finds those clients."""

    def __init__(self, core: Core, port: PortState, silence: Silence) -> None:
        self._core = core
        self._port = port
        self._silence = silence
        self._parser = HttpRequestParser(self)
        """One for all: of the requests that it is fed, none is its connection's last."""
        self._seen = 0
        self._chooser: Chooser | None = None
        self._needles: tuple[bytes, ...] = ()

    # What llhttp says.

    def on_message_begin(self) -> None:
        self._seen += BEGUN

    def on_body(self, body: bytes) -> None:
        self._seen += BODY

    def on_message_complete(self) -> None:
        self._seen += COMPLETE if self._parser.should_keep_alive() else LAST

    def take(self, sock: socket.SocketType, data: bytes) -> bool:
        """Whether a new client that said DATA is served here."""
        at = data.find(CLOSE)
        if not data.startswith(b"GET /") or not data.endswith(END) or data.endswith(b"\r\n\r\n\r\n"):
            return False
        low = data.lower()
        line = data.find(b"\r\n")
        host = low.find(HOST, line)
        core, port = self._core, self._port
        chooser = port.chooser
        if (
            not data.startswith(b" HTTP/1.1", line - 9)
            or data[line - 10] == 32
            or not 0 < host == low.rfind(HOST)
            or (at > 0 and not at == low.find(_CONNECTION) == low.rfind(_CONNECTION))
            or len(data) > core.config.head_bytes
            or chooser.has_mirrors
            or core.config.forwarded
            or core.draining
        ):
            return False
        request = data[:at] + data[at + len(CLOSE) - 2 :] if at > 0 else data
        if not self._is_one(request):
            return False
        if chooser is not self._chooser:
            self._chooser, self._needles = chooser, needles(chooser)
        row = None
        for needle in self._needles:
            if low.find(needle) >= 0:
                row = row_of(chooser, needle, data, low)
                break
        upstream = port.upstream(row)
        if row is not None and (row.add or upstream.is_open):
            return False
        up = pool.take(upstream)
        if up is None:
            return False
        stats = port.row_stats(row)
        once = Once(self._silence, port, sock, data, row, stats, up, goes=at > 0)
        stats.requests += 1
        stats.open += 1
        stats.bytes_in += len(data)
        counts = port.stats
        counts.connections += 1
        counts.open_connections += 1
        counts.http1 += 1
        core.clients.add(once)
        self._silence.watch(once)
        up.client = once
        up.waits = up.plain = True
        up.transport.write(request)
        return True

    def _is_one(self, request: bytes) -> bool:
        """What is checked is what is sent."""
        try:
            self._parser.feed_data(request)
        except (HttpParserError, HttpParserUpgrade):
            self._seen = 0
        seen, self._seen = self._seen, 0
        if seen == ONE_REQUEST:
            return True
        self._parser = HttpRequestParser(self)
        return False
