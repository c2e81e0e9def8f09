"""Reads what an upstream sends: frames are checked, and passed to the client as they are where that is possible."""

from __future__ import annotations

from ktpy_router.h2 import answer, frames
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
    SETTINGS,
    WITH_PRIORITY,
    Code,
    ConnectionFault,
)
from ktpy_router.h2.link_frames import LinkFrames
from ktpy_router.h2.stream import Stream

LONG = 32768
_FINAL = range(0x88, 0x8F)
"""First bytes of a final head: indices of 200, 204, 206, 304, 400, 404 and 500 (RFC 7541, appendix A)."""
_NO_TRAILERS = frozenset(range(0x20, 0x40)).union(
    form | index for form in (0x00, 0x10, 0x40, 0x80) for index in range(1, 15)
)
"""First bytes of blocks that begin with a pseudo-header of the static table, or resize the dynamic one."""


class LinkReader(LinkFrames):
    """Reads what the upstream sends. Runs of frames that pass unchanged leave as one slice."""

    def received(self, data: bytes) -> None:
        """Errors: ConnectionFault when the upstream is of no use any more. What was right before it has been passed."""
        if self._tail:
            data = self._tail + data
        if not self._heard:
            self._first(data)
        relay = self.relay
        streams, out, head = relay.streams, relay.to_client, HEAD.unpack_from
        at = start = 0
        size = len(data)
        try:
            while size - at >= FRAME_HEAD:
                both, flags, sid = head(data, at)
                length = both >> 8
                if length > LARGEST_FRAME:
                    raise ConnectionFault(Code.FRAME_SIZE_ERROR, "a frame is larger than we announced")
                end = at + FRAME_HEAD + length
                if end > size:
                    break
                kind = both & 255
                if kind == DATA:
                    stream = streams.get(sid)
                    if (
                        stream is not None
                        and stream.headed
                        and stream.link is self
                        and not flags & PADDED
                        and length <= stream.room
                        and length <= relay.send_window
                        and length <= self.receive_window
                        and not relay.waiting
                        and not stream.upstream_done
                        and self._block is None
                    ):
                        relay.send_window -= length
                        self.receive_window -= length
                        stream.room -= length
                        self.credit += length
                        stream.stats.bytes_out += length
                        if flags & END_STREAM:
                            relay.upstream_ended(stream)
                        at = end
                        continue
                elif kind == HEADERS and self.plain and flags & END_HEADERS:
                    stream = streams.get(sid)
                    if (
                        stream is not None
                        and stream.link is self
                        and not stream.mark
                        and not flags & (PADDED | WITH_PRIORITY)
                        and not relay.waiting
                        and not stream.upstream_done
                        and self._block is None
                        and sid <= self.last
                        and length
                        and (
                            (flags & END_STREAM and data[at + FRAME_HEAD] not in _NO_TRAILERS)
                            if stream.headed
                            else data[at + FRAME_HEAD] in _FINAL or answer.is_final(data[at + FRAME_HEAD : end])
                        )
                        and (self.trusted or self._is_right(data[at + FRAME_HEAD : end], stream))
                    ):
                        if not stream.headed:
                            stream.headed = stream.answered = True
                            stream.kept = None
                            stream.block = b""
                        if flags & END_STREAM:
                            relay.upstream_ended(stream)
                        at = end
                        continue
                # Not one that passes as it is: first what passed before it, then what it asks for.
                if start < at:
                    out.append(data[start:at])
                start = at = end
                self._frame(kind, flags, sid & LARGEST_WINDOW, data[end - length : end])
        finally:
            if start < at:
                # Large ones are not copied once more.
                out.append(data[start:at] if at - start < LONG else memoryview(data)[start:at])
        self._tail = data[at:] if at < size else b""

    def _is_right(self, block: bytes, stream: Stream) -> bool:
        """Whether a block of a developer's server may pass. All is decoded: a Huffman string may be broken."""
        return [name for name, _ in answer.pseudo(block)] == ([] if stream.headed else [b":status"])

    def _first(self, data: bytes) -> None:
        """The first frame must be SETTINGS (section 3.4); a server of HTTP/1 answers the preface with an error."""
        if data[:6] == b"HTTP/1":
            raise ConnectionFault(Code.HTTP_1_1_REQUIRED, "speaks HTTP/1 and no HTTP/2")
        if len(data) < FRAME_HEAD:
            return
        if data[3] != SETTINGS or data[4] & frames.ACK:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "does not speak HTTP/2")
        self._heard = True
