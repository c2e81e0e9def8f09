"""What the router answers itself on a stream, and headers that it adds to others' answers."""

from __future__ import annotations

from urllib.parse import quote, quote_from_bytes

from ktpy_router.h2 import frames, hpack
from ktpy_router.h2.frames import Code, ConnectionFault

UNAVAILABLE = b"14"  # https://grpc.github.io/grpc/core/md_doc_statuscodes.html
NO_ERROR_RESET = Code.NO_ERROR


def answer(stream: int, status: int, reason: str, sentence: str, *, grpc: bool, body: bool) -> bytes:
    """Frames that answer with SENTENCE and end the stream; gRPC clients get a status of theirs (Trailers-Only).

    Without BODY the text is left out: the client's window may be too small, and the header says it in short.
    """
    # Lest a client that looks for a mark cannot tell who spoke, `ktpy-router` is in each of them.
    common = [(b"ktpy-router", quote(reason, safe=" ()-:,.'[]").encode())]
    if grpc:
        message = quote(sentence, safe=" !\"#$&'()*+,-./:;<=>?@[]^_`{|}~").encode()
        common = [
            (b"content-type", b"application/grpc"),
            (b"grpc-status", UNAVAILABLE),
            (b"grpc-message", message),
            *common,
        ]
        return frames.headers(stream, hpack.block([(b":status", b"200"), *common]), end=True)
    text = sentence.encode() + b"\n" if body else b""
    head = [(b":status", b"%d" % status), (b"content-type", b"text/plain; charset=utf-8"), *common]
    if not text:
        return frames.headers(stream, hpack.block(head), end=True)
    head.append((b"content-length", b"%d" % len(text)))
    return frames.headers(stream, hpack.block(head), end=False) + frames.data(stream, text, end=True)


def is_grpc(block: bytes) -> bool:
    """Whether the request wants a status of gRPC's."""
    return any(value.startswith(b"application/grpc") for value in _values(block, b"content-type"))


def is_idempotent(block: bytes) -> bool:
    """RFC 9110 section 9.2.2."""
    idempotent = (b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE")
    return any(method in idempotent for method in _values(block, b":method"))


def is_head(block: bytes) -> bool:
    return b"HEAD" in _values(block, b":method")


def is_final(block: bytes) -> bool:
    """Whether it is the head of an answer after which none follows (RFC 9110 section 15.2)."""
    statuses = _values(block, b":status")
    return len(statuses) == 1 and not statuses[0].startswith(b"1")


def pseudo(block: bytes) -> hpack.Fields:
    """Its pseudo-headers (RFC 9113, section 8.3). Errors: ConnectionFault when the block cannot be decoded."""
    return [field for field in hpack.fields(block) if field[0][:1] == b":"]


def fallback_field(mark: str) -> bytes:
    """Appended to the block of an answer that the original gave in the place of MARK's row."""
    return hpack.literal(b"ktpy-fallback", mark_value(mark))


def mark_value(mark: str) -> bytes:
    """Visible ASCII stays, all else is percent-encoded."""
    return quote_from_bytes(mark.encode(), safe=" !\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~").encode()


def _values(block: bytes, name: bytes) -> list[bytes]:
    try:
        return [value for _, value in hpack.fields(block, (name,))]
    except ConnectionFault:
        return []
