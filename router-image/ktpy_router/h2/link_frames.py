"""Frames of an upstream that cannot pass as they are: those of the connection, of other states, and wrong ones.

A fault that RFC 9113 calls one of the stream ends the stream, at both sides; others end the upstream's connection. The
client must not see either: what it would have to answer with the end of its own connection ends here.
"""

from __future__ import annotations

from ktpy_router.h2 import answer, flow, frames, hpack, rescue
from ktpy_router.h2.blocks import HeaderBlock
from ktpy_router.h2.flow import Down
from ktpy_router.h2.frames import (
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
from ktpy_router.h2.link import Link
from ktpy_router.h2.stream import Stream


class LinkFrames(Link):
    """Takes such frames one by one."""

    def _frame(self, kind: int, flags: int, sid: int, payload: bytes) -> None:
        if self._block is not None:
            if kind != CONTINUATION or sid != self._block.stream:
                raise ConnectionFault(Code.PROTOCOL_ERROR, "a header block is interrupted")
            self._continuation(flags, payload)
        elif kind == DATA:
            self._data(flags, sid, payload)
        elif kind == HEADERS:
            self._headers(flags, sid, payload)
        elif kind == RST_STREAM:
            self._rst(sid, payload)
        elif kind == SETTINGS:
            self._settings(flags, sid, payload)
        elif kind == PING:
            expect(sid == 0, "PING on a stream")
            expect_size(len(payload) == 8, "PING")
            if not flags & frames.ACK:
                self.out.append(frames.frame(PING, frames.ACK, 0, payload))
        elif kind == GOAWAY:
            expect(sid == 0, "GOAWAY on a stream")
            last, _ = frames.goaway_of(payload)
            rescue.leaving(self.relay, self, last)
        elif kind == WINDOW_UPDATE:
            self._window_update(sid, payload)
        elif kind == PUSH_PROMISE:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "pushes, which it was told not to")
        elif kind == CONTINUATION:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "CONTINUATION without HEADERS")
        elif kind == PRIORITY:
            expect(sid != 0, "PRIORITY on stream 0")
        # All else is unknown and ignored (section 5.5), also ALTSVC and ORIGIN: they speak of the upstream's hop.

    def _stream(self, sid: int, kind: str) -> Stream | None:
        """The open one, or None when it is closed. Errors: ConnectionFault when it was never opened."""
        stream = self.relay.streams.get(sid)
        if stream is not None and stream.link is self and sid <= self.last and stream not in self.queue:
            return stream
        expect(0 < sid <= self.last and sid & 1 == 1, f"{kind} on a stream that was not opened")
        return None

    def _data(self, flags: int, sid: int, payload: bytes) -> None:
        stream = self._stream(sid, "DATA")
        body = frames.content(DATA, flags, sid, payload)
        self.receive_window -= len(payload)
        if self.receive_window < 0:
            raise ConnectionFault(Code.FLOW_CONTROL_ERROR, "sends more than its window")
        if stream is None or stream.upstream_done:
            self.credit += len(payload)
            return
        if not stream.headed or len(body) > max(stream.room, 0):
            self.credit += len(payload)
            if stream.headed:
                rescue.wrong(self.relay, stream, Code.FLOW_CONTROL_ERROR, "sent more than the client's window")
            else:
                rescue.wrong(self.relay, stream, Code.PROTOCOL_ERROR, "sent DATA before its answer's head")
            return
        stream.room -= len(body)
        # Padding ends here. What it took of the stream's window goes back; the client never sees it.
        self.credit += len(payload) - len(body)
        if len(payload) > len(body) and not flags & END_STREAM:
            self.out.append(frames.window_update(sid, len(payload) - len(body)))
        stream.stats.bytes_out += len(body)
        stream.upstream_done = bool(flags & END_STREAM)
        self.relay.waiting.append(Down(self, stream, b"", body, stream.upstream_done))
        flow.drain_down(self.relay)

    def _headers(self, flags: int, sid: int, payload: bytes) -> None:
        expect(sid & 1 == 1, "HEADERS on a stream that cannot be")
        self._block = HeaderBlock(flags, sid, frames.content(HEADERS, flags, sid, payload))
        if flags & END_HEADERS:
            self._whole_block()

    def _continuation(self, flags: int, payload: bytes) -> None:
        assert self._block is not None
        self._block.add(payload, self.relay.config.head_bytes)
        if flags & END_HEADERS:
            self._whole_block()

    def _whole_block(self) -> None:
        assert self._block is not None
        whole, self._block = self._block, None
        sid, end, block = whole.stream, bool(whole.flags & END_STREAM), whole.whole()
        if self._rewriter is not None:
            block = self._rewriter.rewrite(block)
        pseudo = answer.pseudo(block)
        stream = self._stream(sid, "HEADERS")
        if stream is None or stream.upstream_done:
            return
        relay = self.relay
        if fault := _fault(stream, pseudo, end=end):
            rescue.wrong(relay, stream, Code.PROTOCOL_ERROR, fault)
            return
        if not self.answered:
            self.answered = True
            self.upstream.worked()
        stream.answered, stream.kept, stream.block = True, None, b""
        stream.headed = stream.headed or not pseudo[0][1].startswith(b"1")
        if stream.mark and stream.headed:
            block, stream.mark = block + stream.mark, b""
        if not relay.primed:
            relay.primed = True
            block = hpack.EMPTY_TABLE + block.lstrip(hpack.EMPTY_TABLE)
        self.may_be_plain()
        stream.upstream_done = end
        relay.waiting.append(Down(self, stream, frames.headers(sid, block, end=end), b"", end))
        flow.drain_down(relay)

    def _rst(self, sid: int, payload: bytes) -> None:
        expect_size(len(payload) == 4, "RST_STREAM")
        stream = self._stream(sid, "RST_STREAM")
        if stream is not None:
            self.relay.upstream_reset(stream, frames.word(payload))

    def _settings(self, flags: int, sid: int, payload: bytes) -> None:
        expect(sid == 0, "SETTINGS on a stream")
        if flags & frames.ACK:
            expect_size(not payload, "the acknowledgement of SETTINGS")
            expect(bool(self._acknowledging), "it acknowledges SETTINGS that it did not get")
            change = self._acknowledging.popleft()
            if change is None:
                self._rewriter = None
                self.may_be_plain()
            else:
                change.left -= 1
                self.relay.settings.acknowledge()
            return
        found = frames.settings_of(payload)
        self.out.append(frames.SETTINGS_ACK)
        if frames.INITIAL_WINDOW_SIZE in found:
            self._new_initial_window(found[frames.INITIAL_WINDOW_SIZE])
        # Silence means no limit in the first ones, and no change in others (section 6.5.2).
        self.limit = found.get(frames.MAX_CONCURRENT_STREAMS, self.limit if self._heard_settings else 2**31)
        self._heard_settings = True
        if found.get(frames.ENABLE_CONNECT_PROTOCOL):
            self.relay.extended_connect(self)
        self.relay.launch_queued(self)

    def _new_initial_window(self, size: int) -> None:
        """Section 6.9.2: all its streams gain or lose the difference."""
        change, self.initial_window = size - self.initial_window, size
        for stream in list(self.relay.streams.values()):
            if stream.link is self and stream not in self.queue:
                stream.owed += change
                self._more(stream, change)

    def _window_update(self, sid: int, payload: bytes) -> None:
        expect_size(len(payload) == 4, "WINDOW_UPDATE")
        credit = frames.word(payload) & LARGEST_WINDOW
        if not sid:
            self.send_window += credit
            if not credit or self.send_window > LARGEST_WINDOW:
                raise ConnectionFault(Code.FLOW_CONTROL_ERROR if credit else Code.PROTOCOL_ERROR, "a wrong window")
            starved, self.starved = self.starved, {}
            for hungry in starved.values():
                if self.relay.streams.get(hungry.id) is hungry and hungry.link is self:
                    flow.drain_up(self.relay, hungry)
            return
        stream = self._stream(sid, "WINDOW_UPDATE")
        if stream is None:
            return
        if not credit:
            rescue.wrong(self.relay, stream, Code.PROTOCOL_ERROR, "granted a credit of nothing")
            return
        stream.owed += credit
        self._more(stream, credit)

    def _more(self, stream: Stream, credit: int) -> None:
        stream.send_window += credit
        if stream.send_window > LARGEST_WINDOW:
            rescue.wrong(self.relay, stream, Code.FLOW_CONTROL_ERROR, "granted more than a window can be")
            return
        if stream.held:
            flow.drain_up(self.relay, stream)
        flow.grant(self.relay, stream)


def _fault(stream: Stream, pseudo: hpack.Fields, *, end: bool) -> str:
    """What is wrong about HEADERS with these pseudo-headers (sections 8.1 and 8.3), if anything."""
    if stream.headed:
        if pseudo:
            return "sent a second head"
        return "" if end else "sent trailers that do not end the stream"
    if [name for name, _ in pseudo] != [b":status"]:
        return "sent a head whose pseudo-headers are not its status alone"
    return "ended with an interim answer" if end and pseudo[0][1].startswith(b"1") else ""
