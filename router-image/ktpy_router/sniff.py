"""A client's first bytes tell HTTP/1, HTTP/2, TLS and anything else apart; silence, whether the server speaks first."""

from __future__ import annotations

import asyncio
import enum
from typing import cast

from ktpy_router.core import Core, PortState
from ktpy_router.h2.relay import H2Client
from ktpy_router.http1 import Http1Client
from ktpy_router.pipe import reset
from ktpy_router.raw import Dialled, RawClient, dial
from ktpy_router.upstream import Upstream, UpstreamDown

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""RFC 9113, section 3.4."""
METHODS = (
    *("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "CONNECT", "TRACE", "PROPFIND", "PROPPATCH"),
    *("ACL", "BIND", "CHECKOUT", "COPY", "LINK", "LOCK", "M-SEARCH", "MERGE", "MKACTIVITY", "MKCALENDAR", "MKCOL"),
    *("MOVE", "NOTIFY", "PURGE", "REBIND", "REPORT", "SEARCH", "SOURCE", "SUBSCRIBE", "UNBIND", "UNLINK", "UNLOCK"),
    "UNSUBSCRIBE",
)
"""Those that llhttp knows. Another one is some other protocol's first word, and goes to the original as it is."""
_METHODS = frozenset(method.encode() for method in METHODS)
_STARTS = tuple(method + b" " for method in _METHODS)
_LONGEST = max(map(len, _STARTS))
_SLOW = b"The first line of the request did not end within %g s.\n"


class Kind(enum.Enum):
    HTTP1 = enum.auto()
    H2 = enum.auto()
    TLS = enum.auto()
    RAW = enum.auto()
    WAIT = enum.auto()
    """Too few bytes to tell."""


def decide(data: bytes) -> Kind:
    """What a connection speaks that begins with DATA.

    An HTTP/1 request line ends in its version (RFC 9112, section 3); `GET key` of Redis does not. Empty lines before
    it are allowed (section 2.2). TLS begins with a handshake record of version 3.x (RFC 8446, section 5.1).
    """
    if data[:4] == b"GET " or data[: data.find(b" ", 0, _LONGEST)] in _METHODS:
        end = data.find(b"\n")
        if end < 0:
            return Kind.WAIT
        if data[end - 1] == 13:
            end -= 1
        return Kind.HTTP1 if data[end - 9 : end - 1] == b" HTTP/1." else Kind.RAW
    if data.startswith(PREFACE):
        return Kind.H2
    if data[:1] == b"\x16" and data[1:2] in (b"", b"\x03"):
        return Kind.TLS
    if data[:1] in (b"\r", b"\n"):
        rest = data.lstrip(b"\r\n")
        kind = decide(rest) if rest else Kind.WAIT
        return kind if kind in (Kind.HTTP1, Kind.WAIT) else Kind.RAW
    begins = len(data) < len(PREFACE) and (PREFACE.startswith(data) or any(s.startswith(data) for s in _STARTS))
    return Kind.WAIT if begins else Kind.RAW


class FirstBytes(asyncio.Protocol):
    """A client of which more must be heard before it is known what it speaks, or who speaks first."""

    __slots__ = ("core", "dialled", "dialling", "dials", "held", "port", "since", "straight", "transport")

    def __init__(self, core: Core, port: PortState, dials: asyncio.Semaphore) -> None:
        self.core = core
        self.port = port
        self.dials = dials
        self.transport: asyncio.Transport | None = None
        self.held = b""
        self.since = core.now
        """When it connected; when its first byte came, once that has."""
        self.dialling: asyncio.Task[None] | None = None
        self.dialled: Dialled | None = None
        self.straight = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Of a port that is declared raw: nothing need be heard."""
        self.transport = cast(asyncio.Transport, transport)
        self.port.stats.connections += 1
        self.port.stats.open_connections += 1
        self._raw()

    def take_over(self, transport: asyncio.Transport, data: bytes) -> None:
        """From a client that said DATA, which is not the beginning of HTTP/1 beyond doubt; or nothing in time."""
        self.transport = transport
        transport.set_protocol(self)
        self.core.clients.add(self)
        if data:
            self.data_received(data)
        else:
            self.dialling = self.core.loop.create_task(self._dial())

    def data_received(self, data: bytes) -> None:
        if self.held:
            data = self.held + data
        kind = decide(data)
        if kind is Kind.HTTP1:
            self._http(Http1Client(self.core, self.port), data if data[0] > 13 else data.lstrip(b"\r\n"))
        elif kind is Kind.WAIT:
            self._wait(data)
        elif kind is Kind.H2:
            self.port.stats.h2 += 1
            self._http(H2Client(self.core, self.port), data)
        else:
            self.held = data
            if kind is Kind.TLS:
                self.port.stats.tls += 1
            self._raw()

    def eof_received(self) -> bool:
        """No HTTP any more. Later, since reading stops when this has returned; the end is then read again."""
        self.core.loop.call_soon(self._raw)
        return True

    def connection_lost(self, error: Exception | None) -> None:
        self.transport = None
        self.core.clients.discard(self)
        self.port.stats.open_connections -= 1
        self._drop_upstream()

    def tick(self, now: float) -> None:
        """Silence before an upstream that is silent too has the limit of that upstream, which is the original's."""
        config = self.core.config
        if self.core.draining and not self.held:
            limit = config.linger_seconds
        elif self.dialled:
            return
        else:
            limit = config.head_seconds if self.held or self.straight else config.idle_seconds
        if self.transport is None or now - self.since <= limit:
            return
        if not self.held:
            self.transport.close()
        elif self.held.lstrip(b"\r\n").startswith(_STARTS):
            self._refuse_slow()
        else:
            self._raw()

    def drain(self) -> None:
        """A client that has just connected is heard. From here on it has the linger to speak."""
        if not self.held:
            self.since = self.core.loop.time()

    def abort(self) -> None:
        if self.transport:
            reset(self.transport)

    def silent(self, upstream: Upstream, since: float) -> None:
        """Nothing was sent yet."""

    def _http(self, client: Http1Client | H2Client, data: bytes) -> None:
        transport = self._leave()
        dialled, self.dialled = self.dialled, None
        self._drop_upstream()
        client.take_over(transport, data, (dialled.transport, dialled.upstream) if dialled else None)

    def _raw(self) -> None:
        if self.transport is None:
            return
        self.port.stats.raw += 1
        dialled, self.dialled = self.dialled, None
        self._drop_upstream()
        RawClient(self.core, self.port).take_over(self._leave(), self.held, dialled)

    def _leave(self) -> asyncio.Transport:
        """Someone else's from here on."""
        transport, self.transport = self.transport, None
        assert transport is not None
        self.core.clients.discard(self)
        return transport

    def _wait(self, data: bytes) -> None:
        if len(data) > self.core.config.head_bytes:
            self._http(Http1Client(self.core, self.port), data)  # which refuses it
            return
        if not self.held:
            self.since = self.core.loop.time()
        self.held = data

    async def _dial(self) -> None:
        """Again and again until the client speaks, or the tick ends it: a server may be restarting."""
        while True:
            try:
                async with self.dials:
                    dialled = await dial(self.port, self._word, straight=self.straight)
            except UpstreamDown:
                self.straight = True
                await asyncio.sleep(self.core.config.probe_seconds)
                continue
            if self.transport is None:
                dialled.transport.abort()
                return
            self.since = self.core.loop.time()
            self.dialling, self.dialled = None, dialled
            if dialled.early.said or dialled.transport.is_closing():
                self._word()
            return

    def _word(self) -> None:
        """The upstream has spoken before the client, or has closed."""
        dialled = self.dialled
        if dialled is None or self.transport is None:
            return
        if dialled.early.said:
            self._raw()
        elif dialled.row and not dialled.row.strict and self._is_soon():
            dialled.upstream.closed_early()
            dialled.stats.fallbacks += 1
            self.dialled, self.straight = None, True
            self.dialling = self.core.loop.create_task(self._dial())
        else:
            self.dialled = None
            self.transport.close()

    def _is_soon(self) -> bool:
        """A tunnel whose far end is down closes soon; a server that was waited for in vain does so later."""
        return self.core.loop.time() - self.since < self.core.config.connect_seconds

    def _drop_upstream(self) -> None:
        if self.dialling:
            self.dialling.cancel()
        if self.dialled:
            self.dialled.transport.abort()
            self.dialled = None

    def _refuse_slow(self) -> None:
        assert self.transport is not None
        self.port.stats.refused += 1
        text = _SLOW % self.core.config.head_seconds
        self.transport.write(
            b"HTTP/1.1 408 Request Timeout\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n"
            b"ktpy-router: slow request line\r\nConnection: close\r\n\r\n%b" % (len(text), text)
        )
        self.transport.close()
