"""HTTP/1 clients: finds requests in what they send, and each one's row.

A connection's way, top to bottom: this file reads, http1_request.py asks an upstream, http1_upstream.py frames its
answer, http1_answer.py passes it on. All call each other straight, within one step of the event loop: a usual request
makes no task, no future and no object.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING, cast

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from ktpy_router import mirror
from ktpy_router.core import Core, PortState
from ktpy_router.framing import BadBody, request_body
from ktpy_router.head import END, HOST, BadHead, RequestHead, fault_of_part, read_request, request_of
from ktpy_router.http1_request import Asking
from ktpy_router.http1_row import needles, row_of
from ktpy_router.http1_upstream import BEGUN, COMPLETE, HELD, UpstreamConnection, high_water
from ktpy_router.match import Chooser
from ktpy_router.table import Row
from ktpy_router.upstream import Upstream

if TYPE_CHECKING:
    from ktpy_router.door import Door
    from ktpy_router.sniff import FirstBytes

LAST = 100
BODY = 1000
ONE_REQUEST = BEGUN + COMPLETE
LAST_REQUEST = BEGUN + LAST
USUAL = (ONE_REQUEST, LAST_REQUEST)


class Http1Client(Asking):
    """In core.clients while it lives. DOOR made it for a new client, which has yet to show that it speaks HTTP/1."""

    __slots__ = ("chooser", "door", "known", "most", "needles", "parser", "seen", "target")

    def __init__(self, core: Core, port: PortState, door: Door | None = None) -> None:
        super().__init__(core, port)
        self.door = door
        self.parser = HttpRequestParser(self)
        self.seen = 0
        self.most = core.config.head_bytes
        self.chooser: Chooser | None = None
        self.needles: tuple[bytes, ...] = ()
        self.known: Row | None = None
        self.target: Upstream = port.default
        """Where `known` goes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert self.door is not None
        self.transport = cast(asyncio.Transport, transport)
        self.port.stats.connections += 1
        self.port.stats.open_connections += 1
        self.core.clients.add(self)
        self.transport.set_write_buffer_limits(high=high_water(self.core.config))
        self.door.silence.watch(self)
        first, self.held = self.held, b""
        if first:
            self.data_received(first)

    def take_over(
        self,
        transport: asyncio.Transport,
        first: bytes,
        upstream_ready: tuple[asyncio.Transport, Upstream] | None = None,
    ) -> None:
        """FIRST is what the client has said so far. UPSTREAM_READY is a connection that was made before it spoke."""
        self.transport = transport
        self.port.stats.http1 += 1
        self.core.clients.add(self)
        transport.set_protocol(self)
        transport.set_write_buffer_limits(high=high_water(self.core.config))
        if upstream_ready and not upstream_ready[0].is_closing():
            self.up = UpstreamConnection(upstream_ready[1], self.core.config)
            self.up.client = self
            self.up.connection_made(upstream_ready[0])
            upstream_ready[0].set_protocol(self.up)
        self.ready = self.quick
        self.data_received(first)

    @property
    def quick(self) -> bool:
        """Nothing asks for edits of each request or answer."""
        return not (self.core.draining or self.core.config.forwarded or self.eof or self.ended_at)

    # What llhttp says on the fast path: a body, or a second request, make it another sum.

    def on_message_begin(self) -> None:
        self.seen += BEGUN

    def on_body(self, body: bytes) -> None:
        self.seen += BODY

    def on_message_complete(self) -> None:
        self.seen += COMPLETE if self.parser.should_keep_alive() else LAST

    # Reading.

    def data_received(self, data: bytes) -> None:
        # The usual request: one read is one GET without a body, and it passes as it came. Whatever is else takes _long,
        # which starts from the bytes again. Inlined, since this is the way of every request; each check that llhttp
        # leaves to us is one search (head.py says which).
        if self.ready and data.startswith(b"GET /") and data.endswith(END) and not data.endswith(b"\r\n\r\n\r\n"):
            try:
                self.parser.feed_data(data)
            except (HttpParserError, HttpParserUpgrade):
                self.seen = 0
            line = data.find(b"\r\n")
            seen = self.seen
            self.seen = 0
            if seen in USUAL and data.startswith(b" HTTP/1.1", line - 9) and data[line - 10] != 32:
                low = data.lower()
                host = low.find(HOST, line)
                size = len(data)
                port = self.port
                chooser = port.chooser
                if 0 < host == low.rfind(HOST) and size <= self.most and not chooser.has_mirrors:
                    if chooser is not self.chooser:
                        self._learn(chooser)
                    row = None
                    for needle in self.needles:
                        if low.find(needle) >= 0:  # half the time that `in` takes
                            row = row_of(chooser, needle, data, low)
                            break
                    if row is None:
                        upstream = port.default
                    elif row is self.known:
                        upstream = self.target
                    else:
                        self.known = row
                        upstream = self.target = port.upstream(row)
                    up = self.up
                    if (
                        up is None
                        or up.upstream is not upstream
                        or (row is not None and (row.add or upstream.breaker.is_open))
                        or seen == LAST_REQUEST
                    ):
                        self.start(data, RequestHead(low, b"GET", seen == ONE_REQUEST, False), row)
                        return
                    # From here on the same as start() does, for the upstream that the last request went to.
                    if row is None:
                        self.stats = port.default_stats
                    elif row is not self.row:
                        self.stats = port.row_stats(row)
                    self.row = row
                    stats = self.stats
                    stats.requests += 1
                    stats.open += 1
                    stats.bytes_in += size
                    self.ready = False
                    self.busy = True
                    self.method = b"GET"
                    self.sent = data
                    up.waits = up.plain = True
                    self.begun = monotonic()
                    up.transport.write(data)
                    return
            else:
                self.parser = HttpRequestParser(self)
        self._long(data)

    def is_silent(self) -> None:
        """The time is over in which one who speaks first has spoken."""
        if self.door is not None and self.door.is_silent(self.transport):
            self._unknown(self.door, b"")

    def _first(self, door: Door, data: bytes) -> None:
        if not door.is_http1(self, data):
            self._unknown(door, data)
            return
        self.door = None
        self.port.stats.http1 += 1
        self.ready = self.quick
        self.data_received(data if data[0] > 13 else data.lstrip(b"\r\n"))

    def _unknown(self, door: Door, data: bytes) -> FirstBytes:
        self.door = None
        self.core.clients.discard(self)
        return door.unknown(self.transport, data)

    def _long(self, data: bytes) -> None:
        if self.ended_at:
            return
        if self.door is not None:
            self._first(self.door, data)
            return
        self.ready = False
        if self.body is not None:
            data = self._body(data)
        if not data:
            return
        self.held = self.held + data if self.held else data
        if not self.busy:
            self.next_request()
        elif len(self.held) > self.most:
            self.listen_not(HELD)

    def next_request(self) -> None:
        """The last one is done: look at what was read meanwhile."""
        self.listen_again(HELD)
        while self.held and not (self.busy or self.write_full or self.ended_at):
            self.held = self.held.removeprefix(b"\r\n")  # RFC 9112 section 2.2
            end = self.held.find(END, 0, self.most) + 4
            if end < 4:
                self._part_of_head()
                break
            head, self.held = self.held[:end], self.held[end:]
            self.head_since = 0.0
            self._request(head)
            if self.body is not None and self.held:
                rest, self.held = self.held, b""
                self.held = self._body(rest)
        self.ready = not self.held and not self.busy and self.quick
        if self.eof and (self.body is not None or not (self.busy or (self.held and self.write_full))):
            self.abandon()  # the rest will not come
            self.transport.close()

    def _part_of_head(self) -> None:
        if not self.head_since:
            self.head_since = self.core.loop.time()
        if len(self.held) >= self.most:
            self.port.stats.refused += 1
            self.end_with(431, "head too long", f"The request's head is longer than {self.most} bytes.")
        elif fault := fault_of_part(self.held):
            self._refuse(fault)

    def _request(self, head: bytes) -> None:
        try:
            request = read_request(head)
        except BadHead as bad:
            self._refuse(str(bad))
            return
        chooser = self.port.chooser
        if chooser is not self.chooser:
            self._learn(chooser)
        row = None
        for needle in self.needles:
            if needle in request.low:
                row = row_of(chooser, needle, head, request.low)
                if chooser.has_mirrors and not request.upgrade:
                    rows = chooser.mirrors(request_of(head))
                    self.mirrors = [mirror.Copy(self.core, self.port, one, head) for one in rows]
                break
        self.body = request_body(request.low)
        self.start(head, request, row)
        if self.body is None and not self.ended_at:
            for copy in self.mirrors:
                copy.send()

    def _body(self, data: bytes) -> bytes:
        """Pass on what belongs to the request, and return the rest."""
        body = self.body
        assert body is not None
        try:
            taken = body.feed(data)
        except BadBody as bad:
            self._refuse(f"a chunk is malformed: {bad}")
            return b""
        data, rest = data[:taken], data[taken:]
        self.held = rest  # seen by whoever asks whether the client has more to say
        self.upload(data)
        if body.done and self.body is body:
            self.request_complete()
        rest, self.held = self.held, b""
        return rest

    def _refuse(self, why: str) -> None:
        self.port.stats.refused += 1
        self.end_with(400, "bad request", f"The router refuses this request: {why}.")

    def _learn(self, chooser: Chooser) -> None:
        self.chooser, self.known, self.needles = chooser, None, needles(chooser)

    # Ends.

    def eof_received(self) -> bool:
        if self.door is not None:
            return self._unknown(self.door, b"").eof_received()
        if not self.busy or self.body is not None:
            self.abandon()
            return False
        self.eof = True
        self.ready = False
        self.pass_eof()
        return True

    def connection_lost(self, error: Exception | None) -> None:
        self.core.clients.discard(self)
        self.port.stats.open_connections -= 1
        self.quiet = 0
        self.abandon()
        self.ended_at = self.core.loop.time()
        del self.parser  # it refers to this
