"""Frames of the client that cannot pass as they are: those of the connection, of other states, and wrong ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ktpy_router.h2 import flow, frames
from ktpy_router.h2.blocks import HeaderBlock, Rewriter, without_updates
from ktpy_router.h2.frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    LARGEST_WINDOW,
    PING,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    Code,
    ConnectionFault,
    expect,
    expect_size,
)
from ktpy_router.h2.limits import Budgets
from ktpy_router.h2.stream import Part, Stream

if TYPE_CHECKING:
    from ktpy_router.h2.connection import Connection

MOST_REMEMBERED = 512
"""Of ranges of ids that the client left out."""


class ClientFrames:
    """The state of the client's connection."""

    def __init__(self, relay: Connection) -> None:
        self.relay = relay
        self.last = 0
        """The largest stream that the client has opened."""
        self.heard_preface = False
        self.heard_settings = False
        self.plain = False
        """Whether its header blocks use no dynamic table: it has acknowledged our SETTINGS."""
        self.block_since = 0.0
        """When the header block began that is not complete; 0 when there is none."""
        self._unacknowledged = 1
        self._rewriter: Rewriter | None = None
        self._tail = b""
        self._skipped: list[range] = []
        self._block: HeaderBlock | None = None
        self._is_new = False
        self._depends_on_itself = False
        self._budgets = Budgets(relay.now)

    @property
    def mid_frame(self) -> bool:
        """Whether it has begun something that it did not finish: a preface, a frame, a header block."""
        return bool(self._tail) or self._block is not None

    def announced(self) -> None:
        """More SETTINGS of ours were sent, which it is to acknowledge."""
        self._unacknowledged += 1

    def _frame(self, kind: int, flags: int, sid: int, payload: bytes) -> None:
        if not self.heard_settings and (kind != SETTINGS or flags & ACK):
            raise ConnectionFault(Code.PROTOCOL_ERROR, "the first frame is not SETTINGS")  # section 3.4
        if self._block is not None and (kind != CONTINUATION or sid != self._block.stream):
            raise ConnectionFault(Code.PROTOCOL_ERROR, "a header block is interrupted")  # section 6.2
        if kind == DATA:
            self._data(flags, sid, payload)
        elif kind == HEADERS:
            self._headers(flags, sid, payload)
        elif kind == CONTINUATION:
            self._continuation(flags, payload)
        elif kind == RST_STREAM:
            self._rst(sid, payload)
        elif kind == SETTINGS:
            self._settings(flags, sid, payload)
        elif kind == PING:
            expect(sid == 0, "PING on a stream")
            expect_size(len(payload) == 8, "PING")
            if not flags & ACK:
                self._budgets.pings.spend(self.relay.now)
                self.relay.to_client.append(frames.frame(PING, ACK, 0, payload))
        elif kind == GOAWAY:
            expect(sid == 0, "GOAWAY on a stream")
            frames.goaway_of(payload)
            self.relay.client_leaves = True
        elif kind == WINDOW_UPDATE:
            self._window_update(sid, payload)
        elif kind == PRIORITY:
            self._priority(sid, payload)
        elif kind == PUSH_PROMISE:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "a client cannot push")  # section 8.4
        else:
            self._budgets.empty.spend(self.relay.now)  # unknown: ignored (section 5.5)

    def _data(self, flags: int, sid: int, payload: bytes) -> None:
        relay, length = self.relay, len(payload)
        stream = self._open_stream(sid, "DATA")
        body = frames.content(DATA, flags, sid, payload)
        relay.receive_window -= length
        if relay.receive_window < 0:
            raise ConnectionFault(Code.FLOW_CONTROL_ERROR, "more DATA than the connection's window")
        if stream is None or stream.client_ended:
            relay.credit += length
            self._closed(stream, sid)
            return
        stream.receive_window -= length
        if stream.receive_window < 0:
            relay.credit += length
            relay.break_off(stream, Code.FLOW_CONTROL_ERROR)
            return
        end = bool(flags & END_STREAM)
        if not body and not end:
            self._budgets.empty.spend(relay.now)
        # Padding ends here: the upstream will not give its credit back.
        stream.owed += length - len(body)
        stream.stats.bytes_in += len(body)
        if not stream.answered:
            stream.body += length
            if stream.kept is not None:
                stream.kept.append((False, body, end))
                if stream.body > relay.config.replay_bytes:
                    stream.kept = None
        relay.credit += length - len(body)
        self._add(stream, (False, body, end), len(body))
        if not end:
            flow.grant(relay, stream)

    def _add(self, stream: Stream, part: Part, length: int) -> None:
        """A stream whose upstream is not there yet goes on holding."""
        if stream.copy is not None:
            stream.copy.add(part, self.relay.config.replay_bytes)
        flow.hold_up(stream, part, length)
        if self.relay.is_launched(stream):
            flow.drain_up(self.relay, stream)
        if part[2]:
            self.relay.copy(stream)
            self.relay.client_ended(stream)

    def _headers(self, flags: int, sid: int, payload: bytes) -> None:
        expect(sid & 1 == 1, "HEADERS on a stream that is no client's")  # section 5.1.1
        self._depends_on_itself = frames.depends_on_itself(flags, sid, payload)
        self._block = HeaderBlock(flags, sid, frames.content(HEADERS, flags, sid, payload))
        self.block_since = self.relay.now
        if sid > self.last:
            if sid != self.last + 2:
                self._skip(sid)
            self.last, self._is_new = sid, True
        else:
            self._is_new = False
            if any(sid in gap for gap in self._skipped):
                raise ConnectionFault(Code.PROTOCOL_ERROR, "a stream's id is not larger than those before")
        if flags & END_HEADERS:
            self._whole_block()

    def _continuation(self, flags: int, payload: bytes) -> None:
        if self._block is None:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "CONTINUATION without HEADERS")  # section 6.10
        # Twice the limit is read, so that the one stream can be told (431); more is taken for an attack.
        self._block.add(payload, 2 * self.relay.config.head_bytes)
        if flags & END_HEADERS:
            self._whole_block()

    def _whole_block(self) -> None:
        relay = self.relay
        assert self._block is not None
        whole, self._block, self.block_since = self._block, None, 0.0
        sid, end, block = whole.stream, bool(whole.flags & END_STREAM), self._stateless(whole.whole())
        if self._depends_on_itself:
            relay.forget(sid)
            relay.to_client.append(frames.rst_stream(sid, Code.PROTOCOL_ERROR))
        elif self._is_new:
            stream = relay.admit(sid, block, end=end, direct=False)
            if stream is not None:
                relay.place(stream)
        else:
            self._trailers(sid, block, end)

    def _trailers(self, sid: int, block: bytes, end: bool) -> None:
        stream = self.relay.streams.get(sid)
        if stream is None or stream.client_ended:
            self._closed(stream, sid, is_headers=True)
        elif not end:  # section 8.1: only trailers may follow
            self.relay.break_off(stream, Code.PROTOCOL_ERROR)
        else:
            if stream.kept is not None:
                stream.kept.append((True, block, True))
            self._add(stream, (True, block, True), 0)

    def _stateless(self, block: bytes) -> bytes:
        """BLOCK, such that it can be read without those before it (RFC 7541, section 2.2)."""
        if self.plain:
            return without_updates(block)
        if self._rewriter is None:
            self._rewriter = Rewriter(2 * self.relay.config.head_bytes)
        return self._rewriter.rewrite(block)

    def _rst(self, sid: int, payload: bytes) -> None:
        expect(sid > 0, "RST_STREAM on stream 0")
        expect_size(len(payload) == 4, "RST_STREAM")
        stream = self._open_stream(sid, "RST_STREAM")
        if stream is None:
            self._budgets.strays.spend(self.relay.now)
            return
        if not stream.answered:
            self._budgets.resets.spend(self.relay.now)
        self.relay.client_reset(stream, frames.word(payload))

    def _settings(self, flags: int, sid: int, payload: bytes) -> None:
        expect(sid == 0, "SETTINGS on a stream")
        if flags & ACK:
            expect_size(not payload, "the acknowledgement of SETTINGS")
            expect(self._unacknowledged > 0, "an acknowledgement of no SETTINGS")
            self._unacknowledged -= 1
            # The first ones said that we keep no dynamic table. Later ones change nothing here.
            self.plain, self._rewriter = True, None
            return
        found = frames.settings_of(payload)
        if self.heard_settings:
            self._budgets.settings.spend(self.relay.now)
        self.heard_settings = True
        self.relay.settings.came(found)

    def _window_update(self, sid: int, payload: bytes) -> None:
        expect_size(len(payload) == 4, "WINDOW_UPDATE")
        relay = self.relay
        credit = frames.word(payload) & LARGEST_WINDOW
        if not sid:
            relay.send_window += credit
            expect(credit > 0, "WINDOW_UPDATE of nothing")
            if relay.send_window > LARGEST_WINDOW:
                raise ConnectionFault(Code.FLOW_CONTROL_ERROR, "the connection's window is above 2^31-1")
            flow.drain_down(relay)
            return
        stream = self._open_stream(sid, "WINDOW_UPDATE")
        if stream is None:
            self._budgets.strays.spend(relay.now)
        elif not credit:
            relay.break_off(stream, Code.PROTOCOL_ERROR)
        elif stream.room + credit > LARGEST_WINDOW:
            relay.break_off(stream, Code.FLOW_CONTROL_ERROR)
        else:
            stream.room += credit
            if stream.link is not None and relay.is_launched(stream):
                stream.link.out.append(frames.window_update(sid, credit))

    def _priority(self, sid: int, payload: bytes) -> None:
        """Ignored (section 5.3.2), and not passed: the upstream does not see the same streams."""
        expect(sid > 0, "PRIORITY on stream 0")
        self._budgets.pings.spend(self.relay.now)
        stream = self.relay.streams.get(sid)
        if len(payload) != 5 or frames.word(payload[:4]) & LARGEST_WINDOW == sid:
            code = Code.FRAME_SIZE_ERROR if len(payload) != 5 else Code.PROTOCOL_ERROR
            if stream is not None:
                self.relay.break_off(stream, code)
            elif sid > self.last:
                # An idle stream cannot be reset (section 5.1): the connection has to bear it.
                raise ConnectionFault(code, "a wrong PRIORITY frame on an idle stream")

    def _open_stream(self, sid: int, kind: str) -> Stream | None:
        """None when it is closed. Errors: ConnectionFault for an idle one (section 5.1)."""
        stream = self.relay.streams.get(sid)
        if stream is None:
            expect(sid & 1 == 1 and sid <= self.last, f"{kind} on an idle stream")
        return stream

    def _closed(self, stream: Stream | None, sid: int, *, is_headers: bool = False) -> None:
        """DATA or HEADERS on a stream that takes none any more (section 5.1, `half-closed (remote)` and `closed`)."""
        self._budgets.strays.spend(self.relay.now)
        if sid in self.relay.forgotten:
            return  # it was on its way when we, or the upstream, ended the stream
        if stream is not None:
            self.relay.break_off(stream, Code.STREAM_CLOSED)
        elif is_headers:
            raise ConnectionFault(Code.STREAM_CLOSED, "HEADERS on a closed stream")
        else:
            self.relay.to_client.append(frames.rst_stream(sid, Code.STREAM_CLOSED))

    def _skip(self, sid: int) -> None:
        """Ids that are left out are closed by the use of a larger one (section 5.1.1)."""
        self._skipped.append(range(self.last + 2 if self.last else 1, sid))
        del self._skipped[:-MOST_REMEMBERED]
