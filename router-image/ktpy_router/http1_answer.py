"""The way of an answer back to an HTTP/1 client, and how its connection ends: the lower half of Http1Client."""

from __future__ import annotations

import asyncio
from time import monotonic

from ktpy_router import mirror, pool
from ktpy_router.core import Core, PortState
from ktpy_router.framing import Framer
from ktpy_router.head import END, BadHead, own_answer, with_close, with_line
from ktpy_router.http1_upstream import HELD, REACHING, UNREAD, UPLOAD, UpstreamConnection
from ktpy_router.pipe import Pipe, reset
from ktpy_router.table import Row

LINGER_SECONDS = 5.0
"""How long a client is heard out after its last answer."""
STICKY_SECONDS = 5.0
"""How long an idle client keeps its upstream connection from others."""


class Answering(asyncio.Protocol):
    """The state of a client connection and of its current request, and what happens to them on the way back."""

    __slots__ = (
        "answering", "begun", "body", "busy", "core", "ended_at", "eof", "fallen", "head_since", "held",
        "keep", "method", "mirrors", "over", "parked", "port", "quiet", "reaching", "ready", "row", "sent",
        "served_at", "stats", "told", "transport", "up", "upgrade", "write_full",
    )  # fmt: skip

    def __init__(self, core: Core, port: PortState) -> None:
        self.core = core
        self.port = port
        self.transport: asyncio.Transport
        self.up: UpstreamConnection | None = None
        """The one in use, or the last used: it stays until another upstream is wanted, or for some idle seconds."""
        self.busy = False
        """A request is not complete, or its answer is not."""
        self.ready = False
        """Nothing is going on, and nothing is special: the next request may take the fast path."""
        self.held = b""
        """Read, but not looked at yet: part of a head, or requests that were pipelined."""
        self.eof = False
        self.ended_at = 0.0
        """When the last answer was given; what comes is no longer looked at."""
        self.quiet = 0
        self.write_full = False
        self.row: Row | None = None
        self.stats = port.default_stats
        self.begun = 0.0
        """When the request was complete, by the monotonic clock."""
        self.sent = b""
        """All of the request so far, as it came, while it can still be given to another upstream."""
        self.reaching: asyncio.Task[None] | None = None
        self.told = core.draining
        """That the router is going."""
        self.head_since = 0.0
        """When the first byte of the head came that is not complete yet."""
        self.served_at = core.loop.time()
        """When a tick last saw a request running."""
        self.forget_request()

    def forget_request(self) -> None:
        self.method = b"GET"
        self.body: Framer | None = None
        """What is left of the request's; None when it is complete."""
        self.keep = True
        """The connection goes on after this answer."""
        self.upgrade = False
        self.answering = False
        """A byte of the answer has gone out, so there is no way back."""
        self.over = False
        """The answer is complete, and the request is not."""
        self.fallen = b""
        """The header line that says that the original answers for the row."""
        self.parked = 0.0
        """Seconds of the row's hold that are used up."""
        self.mirrors: list[mirror.Copy] = []

    def next_request(self) -> None:
        raise NotImplementedError

    # What the upstream's connection calls.

    def interim(self, data: bytes) -> None:
        """RFC 9110 section 15.2: a 1xx, which is not the answer."""
        self.sent = b""
        self.stats.bytes_out += len(data)
        self.transport.write(data)

    def dressed(self, head: bytes, *, keep: bool) -> bytes:
        """The answer's head for the client. KEEP: the upstream goes on after it, and its head says nothing else."""
        if self.core.draining:
            self.keep = False
        if self.fallen:
            head = with_line(head, self.fallen)
        if not self.keep and keep:
            head = with_close(head)
        self.keep = self.keep and keep
        return head

    def answer(self, data: bytes) -> None:
        """The answer's next bytes."""
        self.answering = True
        self.sent = b""
        self.stats.bytes_out += len(data)
        self.transport.write(data)

    def last_answer(self, up: UpstreamConnection, data: bytes) -> None:
        """The whole of a usual answer, after which the connection ends."""
        end = data.find(END) + 4
        self.answer(self.dressed(data[:end], keep=True) + data[end:])
        up.answered()

    def answered(self) -> None:
        """The answer is complete. When the request is not, its rest still goes up, as long as both sides go on."""
        self.stats.open -= 1
        self.stats.took(monotonic() - self.begun)
        self.over = True
        if self.body is None:
            self.finish()
        elif not self.keep:
            self.linger()

    def finish(self) -> None:
        """Request and answer are complete."""
        if self.up:
            self.up.resume()
            if not self.up.is_idle:
                self.release()
        if self.keep and (self.held or not self.eof):
            self.forget_request()
            self.busy = False
            self.next_request()
        elif self.held:
            self.linger()
        else:
            self.abandon()
            self.transport.close()

    def switch(self, up: UpstreamConnection, head: bytes, rest: bytes) -> None:
        """101, or 2xx to CONNECT: from here on bytes of another protocol, both ways (RFC 9110 section 7.8)."""
        if self.body is not None or not (self.upgrade or self.method == b"CONNECT"):
            raise BadHead("it switches protocols without being asked to")
        if self.fallen:
            head = with_line(head, self.fallen)
        self.stats.open -= 1
        self.stats.took(monotonic() - self.begun)
        self.core.clients.discard(self)
        self.busy = False
        self.up = None
        pipe = Pipe(self.core, self.port, self.stats, up.upstream)
        pipe.start(self.transport, up.transport, to_upstream=self.held, to_client=head + rest, answered=True)

    def lost(self, up: UpstreamConnection) -> None:
        """The upstream's connection ended while no answer was outstanding on it."""
        if self.up is up:
            self.up = None
            self.listen_again(UPLOAD)
            if self.over:
                self.linger()

    # Ends.

    def end_with(self, status: int, short: str, sentence: str) -> None:
        """An answer of our own, the last one. In the middle of another there is only one way to say that it failed."""
        if self.answering:
            self.abandon()
            reset(self.transport)
            return
        self.transport.write(own_answer(status, short, sentence, body=self.method != b"HEAD"))
        self.linger()

    def linger(self) -> None:
        """The last answer is given: say so, and read on without looking, since a reset would take the answer back.

        RFC 9112 section 9.6.
        """
        self.abandon()
        self.ended_at = self.core.loop.time()
        if self.eof or self.transport.is_closing():
            self.transport.close()
            return
        self.transport.write_eof()
        self.listen_again(UPLOAD | REACHING | HELD | UNREAD)

    def abandon(self) -> None:
        """Nobody waits for an answer any more, and nothing more is asked."""
        if self.busy and not self.over:
            self.stats.open -= 1
        self.busy = self.ready = False
        self.held = self.sent = b""
        if self.body is not None:
            self.body = None
            if self.up:  # half a request is on it: the next one would be taken for the other half
                self.up.keep = False
        if self.reaching:
            self.reaching.cancel()
            self.reaching = None
        self.release()

    def release(self) -> None:
        """Somebody else may use the upstream's connection, if it is of use."""
        up, self.up = self.up, None
        if up:
            up.resume()
            self.listen_again(UPLOAD)
            pool.give(up, self.core.config.pool_size)

    # Flow.

    def listen_not(self, reason: int) -> None:
        if not self.quiet and not self.transport.is_closing():
            self.transport.pause_reading()
        self.quiet |= reason

    def listen_again(self, reasons: int) -> None:
        if self.quiet & reasons:
            self.quiet &= ~reasons
            if not self.quiet and not self.transport.is_closing():
                self.transport.resume_reading()

    def pause_writing(self) -> None:
        self.write_full = True
        if self.up and self.up.waits:
            self.up.pause()
        if self.body is None:  # else it may be one that sends all before it reads
            self.listen_not(UNREAD)

    def resume_writing(self) -> None:
        self.write_full = False
        if self.up:
            self.up.resume()
        self.listen_again(UNREAD)
        if not self.busy and self.held:
            self.next_request()

    # The core's calls.

    def tick(self, now: float) -> None:
        config = self.core.config
        if self.ended_at:
            if self.transport.get_write_buffer_size():
                self.ended_at = now
            elif now - self.ended_at > LINGER_SECONDS:
                self.abort()
        elif self.busy:
            self.served_at = now
        elif self.head_since and self.held:
            if now - self.head_since > config.head_seconds:
                self.port.stats.refused += 1
                self.end_with(
                    408, "slow head", f"The request's head was not complete within {config.head_seconds:g} s."
                )
        elif now - max(self.served_at, self.begun) > config.idle_seconds:
            self.transport.close()
        elif self.up and now - self.up.used > STICKY_SECONDS:
            self.release()

    def drain(self) -> None:
        self.ready = False
        if self.up:
            self.up.plain = False
        if self.told:
            self._drained()
        else:
            self.told = True
            self.core.loop.call_later(self.core.config.linger_seconds, self._drained)

    def _drained(self) -> None:
        if not self.busy and not self.held and not self.ended_at:
            self.transport.close()

    def abort(self) -> None:
        self.transport.abort()
