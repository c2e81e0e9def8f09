"""Where a message's body ends: counted, in chunks, or with the connection (RFC 9112 section 6.3).

A framer is fed what was read and says how many bytes of it still belong to the message. The bytes are passed on as
they are; nothing here does I/O.
"""

from __future__ import annotations

from typing import Protocol

from httptools import HttpParserError, HttpRequestParser

from ktpy_router.head import END, is_chunked, values

_PRIMER = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"


class BadBody(Exception):
    """The chunks are malformed; the text says how."""


class Framer(Protocol):
    """One message's body."""

    done: bool

    def feed(self, data: bytes) -> int:
        """How many bytes of DATA belong to the body. Errors: BadBody; then none of DATA should be passed on."""


class Counted:
    """A body of Content-Length LEFT."""

    __slots__ = ("done", "left")

    def __init__(self, left: int) -> None:
        self.left = left
        self.done = not left

    def feed(self, data: bytes) -> int:
        taken = min(self.left, len(data))
        self.left -= taken
        self.done = not self.left
        return taken


class Chunked:
    """Chunks and trailers, in a request or an answer: checked by llhttp, which does not say where they end.

    But a last chunk or a trailer section ends with CRLF CRLF. So llhttp is fed slices that end with one, and is asked
    after each whether that was the end.
    """

    __slots__ = ("_parser", "_tail", "done")

    def __init__(self) -> None:
        self.done = False
        self._tail = b""
        # The parser holds bound methods of this: dropped at the end, to leave no cycle behind.
        self._parser: HttpRequestParser | None = HttpRequestParser(self)
        self._parser.feed_data(_PRIMER)

    def on_message_complete(self) -> None:
        self.done = True

    def feed(self, data: bytes) -> int:
        fed = 0
        # One that was split between two reads ends in the first three bytes of this one.
        at = (self._tail + data[:3]).find(END)
        end = at + 4 - len(self._tail) if at >= 0 else _after(data, 0)
        while end:
            self._feed(data[fed:end])
            fed = end
            if self.done:
                self._parser = None
                return fed
            # From there on: the line before the last empty one is never empty, so the end cannot overlap with this.
            end = _after(data, fed)
        self._feed(data[fed:] if fed else data)
        self._tail = (self._tail + data)[-3:] if len(data) < 3 else data[-3:]
        return len(data)

    def _feed(self, data: bytes) -> None:
        assert self._parser
        try:
            self._parser.feed_data(data)
        except HttpParserError as error:
            self._parser = None
            raise BadBody(str(error)) from None


class UntilEnd:
    """A body that ends with the connection."""

    __slots__ = ("done",)

    def __init__(self) -> None:
        self.done = False

    def feed(self, data: bytes) -> int:
        return len(data)


def request_body(low: bytes) -> Framer | None:
    """Of a request whose head passed `read_request`; None when it has no body."""
    if b"\r\ntransfer-encoding:" in low:
        return Chunked()
    length = _length(low)
    return Counted(length) if length else None


def answer_body(method: bytes, status: int, low: bytes) -> Framer:
    """Of an answer, other than 1xx and a tunnel's, whose head passed `read_answer`."""
    if method == b"HEAD" or status in (204, 304):
        return Counted(0)
    if b"\r\ntransfer-encoding:" in low:
        return Chunked() if is_chunked(low) else UntilEnd()
    length = _length(low)
    return UntilEnd() if length is None else Counted(length)


def _length(low: bytes) -> int | None:
    """llhttp has seen that there is at most one, of digits only."""
    found = values(low, b"content-length")
    return int(found[0]) if found else None


def _after(data: bytes, start: int) -> int:
    at = data.find(END, start)
    return at + 4 if at >= 0 else 0
