"""The way of an HTTP/1 request to its upstream, and what happens when that is down: the middle of Http1Client.

What becomes of a request whose upstream fails is decided in fallback.py; here it is done.
"""

from __future__ import annotations

from time import monotonic

from ktpy_router import pool
from ktpy_router.fallback import Action, Failure, Plight, decide
from ktpy_router.head import (
    END,
    IDEMPOTENT,
    RequestHead,
    fallback_line,
    with_forwarded,
    with_set,
    without_close,
)
from ktpy_router.http1_answer import Answering
from ktpy_router.http1_upstream import REACHING, UNREAD, UPLOAD, UpstreamConnection
from ktpy_router.table import Row
from ktpy_router.upstream import Upstream, UpstreamDown


class Asking(Answering):
    """A client connection as far as its current request goes."""

    __slots__ = ()

    def whole(self) -> Asking:
        """As opposed to once.Once, which has yet to become one."""
        return self

    def start(self, head: bytes, request: RequestHead, row: Row | None) -> None:
        """A request's head was read. Its body, if there is one, follows through `upload`."""
        self.busy = True
        self.ready = False
        self.method = request.method
        self.keep = request.keep
        self.upgrade = request.upgrade
        self.row = row
        self.stats = self.port.row_stats(row)
        self.stats.requests += 1
        self.stats.open += 1
        self.stats.bytes_in += len(head)
        self.begun = monotonic()
        self.sent = head
        self.reach()

    def reach(self, *, fresh: bool = False) -> None:
        """Send what there is of the request to where it should go now; FRESH: on a connection that never served."""
        row = None if self.fallen else self.row
        upstream = self.port.upstream(row)
        # A request that must not be sent twice should not meet a connection that is about to be closed.
        used_after = 0.0 if self.method in IDEMPOTENT else monotonic() - pool.SURE_SECONDS
        down = row is not None and upstream.is_open
        up = self.up
        if up and (fresh or down or up.upstream is not upstream or not up.is_idle or up.used < used_after):
            self.release()
            up = None
        if down:
            self._failed(Failure.OPEN, upstream, "is down")
            return
        if up is None and not fresh:
            up = pool.take(upstream, used_after=used_after)
        if up:
            self._ask(up)
            return
        task = self.core.loop.create_task(self._connect(upstream))
        if not task.done():  # an eager task may be, and may have begun another
            self.reaching = task

    def upload(self, data: bytes) -> None:
        """More of the request's body."""
        self.stats.bytes_in += len(data)
        for copy in self.mirrors:
            copy.add(data)
        if self.up:
            self.up.transport.write(data)
            if self.sent:
                fits = len(self.sent) + len(data) <= self.core.config.replay_bytes
                self.sent = self.sent + data if fits else b""
        elif not self.over:
            self.sent += data
            if len(self.sent) > self.core.config.replay_bytes:
                self.listen_not(REACHING)

    def request_complete(self) -> None:
        """Its last byte has gone up, or waits for that."""
        self.body = None
        for copy in self.mirrors:
            copy.send()
        if self.over:
            self.finish()
            return
        self.begun = monotonic()
        if self.up and self.up.waits and not self.answering:
            self.up.plain = self._is_usual()
        if self.write_full:
            self.listen_not(UNREAD)

    def pass_eof(self) -> None:
        """The client will say no more: what that means, the upstream decides, as it would without a router."""
        if self.up and self.up.waits and not self.held:
            self.up.keep = self.up.plain = False
            self.up.transport.write_eof()

    def upstream_failed(self, failure: Failure, why: str) -> None:
        """The connection with the outstanding request is of no use any more."""
        up, self.up = self.up, None
        assert up
        up.close()
        self.listen_again(UPLOAD)
        if failure is Failure.CLOSED_FRESH:
            up.upstream.closed_early()
        self._failed(failure, up.upstream, why)

    def silent(self, upstream: Upstream, since: float) -> None:
        up = self.up
        if up and up.upstream is upstream and up.waits and self.begun > since and not self.answering:
            self.upstream_failed(Failure.SILENT, "is asleep, or has lost its network")

    async def _connect(self, upstream: Upstream) -> None:
        """Cancelled when the client goes away."""
        config = self.core.config
        try:
            _, up = await upstream.connect(
                lambda: UpstreamConnection(upstream, config), alternative=upstream is not self.port.default
            )
        except UpstreamDown as down:
            self.reaching = None
            self._failed(Failure.CONNECT, upstream, str(down))
            return
        self.reaching = None
        if up.transport.is_closing():
            self.up = up
            self.upstream_failed(Failure.CLOSED_FRESH, "closed the connection before its answer")
        else:
            self._ask(up)

    async def _hold(self, upstream: Upstream, row: Row) -> None:
        """Cancelled when the client goes away."""
        since = monotonic()
        await upstream.back(row.hold - self.parked)
        self.parked += max(monotonic() - since, 0.001)
        self.reaching = None
        self.reach()

    def _ask(self, up: UpstreamConnection) -> None:
        self.up = up
        up.ask(self, self._dressed_request(), plain=self._is_usual())
        if len(self.sent) > self.core.config.replay_bytes:
            self.sent = b""
        self.listen_again(REACHING)
        if self.write_full:
            up.pause()
        if self.eof and self.body is None:
            self.pass_eof()

    def _is_usual(self) -> bool:
        """The answer needs no edit but for `close`, nothing of the request need be forgotten, and its method does not
        frame it."""
        if self.body is not None or self.method in (b"HEAD", b"CONNECT"):
            return False
        if self.fallen or self.parked or self.mirrors or self.upgrade or self.eof:
            return False
        return not (self.core.draining or self.core.config.forwarded)

    def _dressed_request(self) -> bytes:
        """As it came, but for what concerns the connection, and what its row adds, whoever answers in the end."""
        row = self.row
        forwarded = self.core.config.forwarded
        if self.keep and not forwarded and not (row and row.add):
            return self.sent
        end = self.sent.index(END) + 4
        head = self.sent[:end]
        if not self.keep:
            head = without_close(head)
        if row and row.add:
            head = with_set(head, row.add)
        if forwarded:
            head = with_forwarded(head, self.transport.get_extra_info("peername"))
        return head + self.sent[end:]

    def _failed(self, failure: Failure, upstream: Upstream, why: str) -> None:
        row = None if self.fallen else self.row
        plight = Plight(
            row=row is not None,
            strict=row is not None and row.strict,
            hold=row.hold - self.parked if row else 0.0,
            replayable=bool(self.sent),
            idempotent=self.method in IDEMPOTENT,
        )
        action = decide(failure, plight)
        if action is Action.RETRY:
            self.reach(fresh=True)
        elif action is Action.HOLD:
            assert row
            task = self.core.loop.create_task(self._hold(upstream, row))
            if not task.done():
                self.reaching = task
        elif action is Action.FALL_BACK:
            assert row
            self.stats.fallbacks += 1
            self.fallen = fallback_line(row.mark)
            self.reach()
        else:
            whose = f"of row {row.mark!r} at {upstream.name}" if row else f"at {upstream.name} (the original)"
            self.stats.errors += 1
            status = 502 if action is Action.ANSWER_502 else 503
            self.end_with(status, f"upstream {why}", f"The upstream {whose} {why}.")
