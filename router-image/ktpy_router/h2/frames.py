"""HTTP/2 frames as bytes: their layout, and making and checking them (RFC 9113, sections 4 and 6)."""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from struct import Struct, error

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)

END_STREAM = ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
WITH_PRIORITY = 0x20

HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = (
    range(1, 7)
)
ENABLE_CONNECT_PROTOCOL = 8  # RFC 8441

FRAME_HEAD = 9
LARGEST_FRAME = 16384
"""What we announce as SETTINGS_MAX_FRAME_SIZE, by silence: the least that is legal, so all that we take may be sent."""
LARGEST_WINDOW = 2**31 - 1
DEFAULT_WINDOW = 65535

# One read gives length and type together (>> 8 and & 255), the flags, and the stream with its reserved bit.
HEAD = Struct(">IBI")
_SETTING = Struct(">HI")
WORD = Struct(">I")
_GOAWAY = Struct(">II")


class Code(IntEnum):
    """Error codes, RFC 9113 section 7."""

    NO_ERROR = 0x0
    PROTOCOL_ERROR = 0x1
    INTERNAL_ERROR = 0x2
    FLOW_CONTROL_ERROR = 0x3
    SETTINGS_TIMEOUT = 0x4
    STREAM_CLOSED = 0x5
    FRAME_SIZE_ERROR = 0x6
    REFUSED_STREAM = 0x7
    CANCEL = 0x8
    COMPRESSION_ERROR = 0x9
    CONNECT_ERROR = 0xA
    ENHANCE_YOUR_CALM = 0xB
    INADEQUATE_SECURITY = 0xC
    HTTP_1_1_REQUIRED = 0xD


class ConnectionFault(Exception):
    """The peer broke a rule that ends the connection (RFC 9113, section 5.4.1). Caught where its bytes are read."""

    def __init__(self, code: Code, reason: str) -> None:
        super().__init__(reason)
        self.code = code


def expect(right: bool, fault: str) -> None:
    if not right:
        raise ConnectionFault(Code.PROTOCOL_ERROR, fault)


def expect_size(right: bool, what: str) -> None:
    if not right:
        raise ConnectionFault(Code.FRAME_SIZE_ERROR, f"the length of {what} is wrong")


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One frame."""
    return HEAD.pack(len(payload) << 8 | kind, flags, stream) + payload


def headers(stream: int, block: bytes, *, end: bool) -> bytes:
    """HEADERS, and as many CONTINUATION as the block needs."""
    flags = END_STREAM if end else 0
    if len(block) <= LARGEST_FRAME:
        return frame(HEADERS, flags | END_HEADERS, stream, block)
    out = [frame(HEADERS, flags, stream, block[:LARGEST_FRAME])]
    for at in range(LARGEST_FRAME, len(block), LARGEST_FRAME):
        last = END_HEADERS if at + LARGEST_FRAME >= len(block) else 0
        out.append(frame(CONTINUATION, last, stream, block[at : at + LARGEST_FRAME]))
    return b"".join(out)


def data(stream: int, payload: bytes, *, end: bool) -> bytes:
    """DATA, in as many frames as it needs; one even when PAYLOAD is empty."""
    if len(payload) <= LARGEST_FRAME:
        return frame(DATA, END_STREAM if end else 0, stream, payload)
    parts = [payload[at : at + LARGEST_FRAME] for at in range(0, len(payload), LARGEST_FRAME)]
    last = len(parts) - 1
    return b"".join(frame(DATA, END_STREAM if end and i == last else 0, stream, p) for i, p in enumerate(parts))


def settings(*pairs: tuple[int, int]) -> bytes:
    return frame(SETTINGS, 0, 0, b"".join(_SETTING.pack(*pair) for pair in pairs))


SETTINGS_ACK = frame(SETTINGS, ACK, 0)


def window_update(stream: int, credit: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, stream, WORD.pack(credit))


def rst_stream(stream: int, code: int) -> bytes:
    return frame(RST_STREAM, 0, stream, WORD.pack(code))


def goaway(last: int, code: int, reason: str = "") -> bytes:
    return frame(GOAWAY, 0, 0, _GOAWAY.pack(last, code) + reason.encode())


def word(payload: bytes) -> int:
    """An unsigned 32-bit number: an error code, or a window's credit with its reserved bit."""
    (number,) = WORD.unpack(payload)
    return int(number)


def goaway_of(payload: bytes) -> tuple[int, int]:
    """The last stream, and the error code."""
    try:
        last, code = _GOAWAY.unpack_from(payload)
    except error:
        raise ConnectionFault(Code.FRAME_SIZE_ERROR, "GOAWAY is too short") from None
    return last & LARGEST_WINDOW, code


def settings_of(payload: bytes) -> dict[int, int]:
    """Identifier → value, the last one said (section 6.5.3), all within their limits (section 6.5.2)."""
    if len(payload) % 6:
        raise ConnectionFault(Code.FRAME_SIZE_ERROR, "the length of SETTINGS is no multiple of 6")
    found = {}
    for key, value in _SETTING.iter_unpack(payload):
        if key == ENABLE_PUSH and value > 1:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "SETTINGS_ENABLE_PUSH is neither 0 nor 1")
        if key == INITIAL_WINDOW_SIZE and value > LARGEST_WINDOW:
            raise ConnectionFault(Code.FLOW_CONTROL_ERROR, "SETTINGS_INITIAL_WINDOW_SIZE is above 2^31-1")
        if key == MAX_FRAME_SIZE and not LARGEST_FRAME <= value < 2**24:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "SETTINGS_MAX_FRAME_SIZE is out of its range")
        if key == ENABLE_CONNECT_PROTOCOL and value > 1:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "SETTINGS_ENABLE_CONNECT_PROTOCOL is neither 0 nor 1")
        found[key] = value
    return found


def content(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """PAYLOAD of DATA or HEADERS without padding and priority (sections 6.1 and 6.2)."""
    start, end = 0, len(payload)
    if flags & PADDED:
        if not payload:
            raise ConnectionFault(Code.FRAME_SIZE_ERROR, "a padded frame is empty")
        start, end = 1, end - payload[0]
    if kind == HEADERS and flags & WITH_PRIORITY:
        start += 5
    if start > end:
        if start > len(payload):
            raise ConnectionFault(Code.FRAME_SIZE_ERROR, "HEADERS is too short for its flags")
        raise ConnectionFault(Code.PROTOCOL_ERROR, "padding is longer than its frame")
    return payload[start:end]


def depends_on_itself(flags: int, stream: int, payload: bytes) -> bool:
    """Whether HEADERS names its own stream as its parent; RFC 7540 section 5.3.1 forbids it."""
    at = 1 if flags & PADDED else 0
    return (
        bool(flags & WITH_PRIORITY) and len(payload) >= at + 4 and word(payload[at : at + 4]) & LARGEST_WINDOW == stream
    )


def read(buffer: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """Each whole frame as (type, flags, stream, payload). For tests and short inputs: the relay has its own loops."""
    at = 0
    while len(buffer) - at >= FRAME_HEAD:
        both, flags, stream = HEAD.unpack_from(buffer, at)
        end = at + FRAME_HEAD + (both >> 8)
        if end > len(buffer):
            return
        yield both & 255, flags, stream & LARGEST_WINDOW, buffer[at + FRAME_HEAD : end]
        at = end
