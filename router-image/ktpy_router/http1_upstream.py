"""The upstream's side of HTTP/1: frames answers, and hands them to the client whose request is outstanding."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING, cast

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from ktpy_router import pool
from ktpy_router.config import Config
from ktpy_router.fallback import Failure
from ktpy_router.framing import BadBody, Framer, UntilEnd, answer_body
from ktpy_router.head import END, BadHead, read_answer
from ktpy_router.stats import LAST_BUCKET
from ktpy_router.upstream import Upstream

if TYPE_CHECKING:
    from ktpy_router.http1_request import Asking
    from ktpy_router.once import Once

BEGUN = 1
COMPLETE = 16
ONE_ANSWER = BEGUN + COMPLETE
UPLOAD, REACHING, HELD, UNREAD = 1, 2, 4, 8
"""Why a client is not read from: its upstream takes no more, there is none yet, too much is pipelined, and it does not
read its answers."""
ONE_READ = 256_000
"""uvloop reads at most so much at once, and hands it over whole: it comes on top of a limit."""


def high_water(config: Config) -> int:
    """At how many bytes in a write buffer its source is paused, so that buffer_bytes are not passed by much."""
    return max(config.buffer_bytes - ONE_READ, config.buffer_bytes // 4)


class UpstreamConnection(asyncio.Protocol):
    """One request at a time. CLIENT is whose request is outstanding, or whose turn it is next; None in the pool."""

    __slots__ = (
        "body", "client", "config", "fresh", "held", "keep", "parser", "paused", "plain", "seen", "transport",
        "upstream", "used", "waits",
    )  # fmt: skip

    def __init__(self, upstream: Upstream, config: Config) -> None:
        self.upstream = upstream
        self.config = config
        self.client: Asking | Once | None = None
        self.fresh = True
        """Nothing was answered on it yet."""
        self.plain = False
        """The outstanding request is a usual one: its answer may be passed on as it is, unless it is odd itself."""
        self.waits = False
        """The end of an answer is outstanding."""
        self.keep = True
        self.held = b""
        self.body: Framer | None = None
        self.paused = False
        self.used = monotonic()
        self.seen = 0
        self.parser = HttpResponseParser(self)

    @property
    def is_idle(self) -> bool:
        """Fit for another request."""
        return self.keep and not self.waits and not self.transport.is_closing()

    # What llhttp says on the fast path. BEGUN twice, or COMPLETE without keep-alive, is not ONE_ANSWER.

    def on_message_begin(self) -> None:
        self.seen += BEGUN

    def on_message_complete(self) -> None:
        if self.parser.should_keep_alive():
            self.seen += COMPLETE

    # The transport's calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=high_water(self.config))

    def data_received(self, data: bytes) -> None:
        if self.plain:
            # The usual answer: one read is the whole of it. llhttp has looked at all bytes, and they go on as they
            # are. Anything else is looked at again, in parts, by _long. Inlined, as this is the way of every request.
            self.plain = False
            client = self.client
            parser = self.parser
            assert client is not None
            try:
                if data[-1] > 13:
                    parser.feed_data(data)
                else:
                    # llhttp passes over line ends after an answer without a word. Is the last one the answer's own?
                    parser.feed_data(data[:-1])
                    if self.seen < COMPLETE:
                        parser.feed_data(data[-1:])
                    else:
                        self.seen = 0
            except (HttpParserError, HttpParserUpgrade):
                self.seen = 0
            if self.seen == ONE_ANSWER and parser.get_status_code() >= 200 and data.startswith(b"HTTP/1.1 "):
                self.seen = 0
                if self.fresh:
                    self.fresh = False
                    self.upstream.worked()
                if not client.keep:
                    client.last_answer(self, data)
                    return
                if TYPE_CHECKING:  # its request is not the last
                    assert not isinstance(client, Once)
                self.waits = False
                client.transport.write(data)
                stats = client.stats
                stats.bytes_out += len(data)
                stats.open -= 1
                self.used = now = monotonic()
                took = int((now - client.begun) * 1e6).bit_length()
                stats.histogram[took if took < LAST_BUCKET else LAST_BUCKET] += 1
                client.busy = False
                if client.held:
                    client.next_request()
                else:
                    client.ready = True
                return
            self.seen = 0
            self.parser = HttpResponseParser(self)
        self._long(data)

    def eof_received(self) -> bool:
        if self.waits and self.body is not None and isinstance(self.body, UntilEnd):
            self.keep = False
            self.answered()
        else:
            self._ended()
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self._ended()
        del self.parser  # it refers to this

    def pause_writing(self) -> None:
        if self.client is not None:
            self.client.whole().listen_not(UPLOAD)

    def resume_writing(self) -> None:
        if self.client is not None:
            self.client.whole().listen_again(UPLOAD)

    # The client's calls.

    def ask(self, client: Asking, request: bytes, *, plain: bool) -> None:
        """Send (the beginning of) a request; the answer's parts are handed to CLIENT."""
        self.client = client
        self.waits = True
        self.plain = plain
        self.transport.write(request)

    def pause(self) -> None:
        if not self.paused and not self.transport.is_closing():
            self.paused = True
            self.transport.pause_reading()

    def resume(self) -> None:
        if self.paused and not self.transport.is_closing():
            self.paused = False
            self.transport.resume_reading()

    def close(self) -> None:
        """Whatever is outstanding is not wanted any more."""
        self.client = None
        self.plain = self.waits = self.keep = False
        self.transport.abort()

    # The core's calls, while it waits in the pool.

    def tick(self, now: float) -> None:
        if now - self.used > self.config.pool_seconds:
            self.abort()

    def abort(self) -> None:
        pool.discard(self)
        self.close()

    # The long way.

    def _long(self, data: bytes) -> None:
        client = self._client()
        if client is None or not self.waits:
            self._out_of_turn()
            return
        try:
            if self.body is not None:
                self._more(client, b"", data)
            else:
                self._head(client, self.held + data if self.held else data)
        except (BadHead, BadBody) as bad:
            self.keep = False
            client.upstream_failed(Failure.BAD, f"sent a bad answer: {bad}")

    def _head(self, client: Asking, data: bytes) -> None:
        """Up to the end of the answer's head. Interim answers before it are passed on, and are not the answer."""
        most = self.config.head_bytes
        while True:
            end = data.find(END, 0, most) + 4
            if end < 4:
                if len(data) >= most:
                    raise BadHead(f"its head is longer than {most} bytes")
                self.held = data
                return
            head = read_answer(data[:end])
            if head.status >= 200 or head.status == 101:
                break
            client.interim(data[:end])
            data = data[end:]
            if not data:
                self.held = b""
                return
        self.held = b""
        if self.fresh:
            self.fresh = False
            self.upstream.worked()
        if head.status == 101 or (client.method == b"CONNECT" and head.status < 300):
            client.switch(self, data[:end], data[end:])
            return
        self.body = answer_body(client.method, head.status, head.low)
        self.keep = self.keep and head.keep and not isinstance(self.body, UntilEnd)
        self._more(client, client.dressed(data[:end], keep=self.keep), data[end:])

    def _more(self, client: Asking, head: bytes, data: bytes) -> None:
        """Some of the answer's body. What comes after its end is nobody's (RFC 9112 section 9.2)."""
        body = self.body
        assert body is not None
        taken = body.feed(data)
        if taken < len(data):
            self.keep = False
            data = data[:taken]
        client.answer(head + data if head else data)
        if body.done and self.client is client:
            self.answered()

    def answered(self) -> None:
        """The answer is complete. Whether the request is, the client knows."""
        client = self._client()
        assert client is not None
        self.waits = False
        self.body = None
        self.used = monotonic()
        client.answered()

    def _client(self) -> Asking | None:
        return None if self.client is None else self.client.whole()

    def _out_of_turn(self) -> None:
        """An answer that nobody asked for, or more than one: nothing that comes after can be trusted."""
        self.keep = False
        self._lose()
        self.transport.abort()

    def _ended(self) -> None:
        """EOF or an error: after the answer's last byte a matter of course, before the first a failure."""
        client, waits = self._client(), self.waits
        reused = not self.fresh
        begun = self.body is not None
        self.keep = False
        if client is None or not waits:
            self._lose()
            return
        self.waits = self.plain = False
        if begun or self.held:
            client.upstream_failed(Failure.BAD, "closed the connection in the middle of its answer")
        else:
            kind = Failure.CLOSED_REUSED if reused else Failure.CLOSED_FRESH
            client.upstream_failed(kind, "closed the connection before its answer")

    def _lose(self) -> None:
        """No use any more to whoever has it."""
        if self.client is None:
            pool.discard(self)
        else:
            self.client.whole().lost(self)
