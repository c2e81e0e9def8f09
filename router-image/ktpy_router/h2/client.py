"""The client's side of a connection: its frames are checked, and passed to the upstreams of their streams."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ktpy_router.h2 import flow
from ktpy_router.h2.client_frames import ClientFrames
from ktpy_router.h2.frames import (
    DATA,
    END_HEADERS,
    END_STREAM,
    FRAME_HEAD,
    HEAD,
    HEADERS,
    LARGEST_FRAME,
    LARGEST_WINDOW,
    PADDED,
    PREFACE,
    WINDOW_UPDATE,
    WITH_PRIORITY,
    WORD,
    Code,
    ConnectionFault,
)

if TYPE_CHECKING:
    from ktpy_router.h2.link import Link

_SIZE_UPDATES = range(0x20, 0x40)


class Client(ClientFrames):
    """Reads what the client sends. Runs of frames that go to the same upstream unchanged leave as one slice."""

    def received(self, data: bytes) -> None:
        """Errors: ConnectionFault, when the connection is to end. What was right before it has been passed."""
        if self._tail:
            data = self._tail + data
        at = start = 0
        if not self.heard_preface:
            if not data.startswith(PREFACE[: len(data)]):
                raise ConnectionFault(Code.PROTOCOL_ERROR, "the preface is wrong")
            if len(data) < len(PREFACE):
                self._tail = data
                return
            self.heard_preface = True
            at = start = len(PREFACE)
        relay = self.relay
        streams, head, replay_bytes = relay.streams, HEAD.unpack_from, relay.config.replay_bytes
        word = WORD.unpack_from
        run: Link | None = None
        size = len(data)
        try:
            while size - at >= FRAME_HEAD:
                both, flags, sid = head(data, at)
                length = both >> 8
                if length > LARGEST_FRAME:
                    raise ConnectionFault(Code.FRAME_SIZE_ERROR, "a frame is larger than was announced")
                end = at + FRAME_HEAD + length
                if end > size:
                    break
                kind = both & 255
                to: Link | None = None
                if kind == HEADERS:
                    if (
                        self.plain
                        and flags & (END_HEADERS | PADDED | WITH_PRIORITY) == END_HEADERS
                        and LARGEST_WINDOW >= sid > self.last
                        and sid & 1
                        and length
                        and self._block is None
                        and data[at + FRAME_HEAD] not in _SIZE_UPDATES
                    ):
                        if sid != self.last + 2:
                            self._skip(sid)
                        self.last = sid
                        stream = relay.admit(sid, data[at + FRAME_HEAD : end], end=flags & END_STREAM == END_STREAM)
                        to = stream.link if stream is not None else None
                        if to is None:
                            if run is not None:
                                run.out.append(data[start:at])
                                run = None
                            at = end
                            if stream is not None:
                                relay.place(stream)
                            continue
                elif kind == DATA:
                    stream = streams.get(sid)
                    if (
                        stream is not None
                        and stream.held is None
                        and not stream.client_ended
                        and not flags & PADDED
                        and (length or flags & END_STREAM)
                        and length <= stream.receive_window
                        and length <= relay.receive_window
                        and length <= stream.send_window
                        and (to := stream.link) is not None
                        and length <= to.send_window
                        and stream.copy is None
                        and self._block is None
                    ):
                        relay.receive_window -= length
                        stream.receive_window -= length
                        stream.send_window -= length
                        to.send_window -= length
                        if to.congested:
                            to.parked += length
                        else:
                            relay.credit += length
                        stream.stats.bytes_in += length
                        if not stream.answered:
                            stream.body += length
                            if stream.kept is not None:
                                if stream.body <= replay_bytes:
                                    part = data[at + FRAME_HEAD : end]
                                    stream.kept.append((False, part, flags & END_STREAM == END_STREAM))
                                else:
                                    stream.kept = None
                        if flags & END_STREAM:
                            relay.client_ended(stream)
                        elif stream.owed > 0:
                            flow.grant(relay, stream)
                    else:
                        to = None
                elif kind == WINDOW_UPDATE and sid:
                    stream = streams.get(sid)
                    if (
                        stream is not None
                        and stream.answered
                        and stream.held is None
                        and length == 4
                        and 0 < (credit := word(data, at + FRAME_HEAD)[0]) <= LARGEST_WINDOW
                        and stream.room + credit <= LARGEST_WINDOW
                        and self._block is None
                        and (to := stream.link) is not None
                    ):
                        stream.room += credit
                if to is not run:
                    if run is not None:
                        run.out.append(data[start:at])
                    run, start = to, at
                at = end
                if to is None:
                    self._frame(kind, flags, sid & LARGEST_WINDOW, data[end - length : end])
        finally:
            if run is not None:
                run.out.append(data[start:at])
        self._tail = data[at:] if at < size else b""
