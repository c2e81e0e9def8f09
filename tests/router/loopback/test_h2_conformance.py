"""What RFC 9113 asks of an endpoint, case by case, on real connections; each names its section.

What the router does not judge is left to the upstream, which sees the request as the client sent it (section 8.2 and
8.3, and header blocks that cannot be decoded): then the case says that no good answer comes, and that others still do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

from ktpy_router.h2.frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    PREFACE,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    SETTINGS_ACK,
    WINDOW_UPDATE,
    WITH_PRIORITY,
    Code,
    data,
    frame,
    goaway,
    goaway_of,
    headers,
    rst_stream,
    settings,
    window_update,
    word,
)
from tests.router.loopback.h2kit import Loop, Origin, Router, Wire, router, row

GET = b"\x82\x86\x84\x41\x04shop"
POST = b"\x83\x86\x84\x41\x04shop"
SILENT = b"\x83\x86\x04\x07/silent\x41\x04shop"
BIG = b"\x82\x86\x04\x09/big?1000\x41\x04shop"
GREETING = PREFACE + settings() + SETTINGS_ACK
NOW_OPEN = headers(1, SILENT, end=False)
WAITS = headers(1, SILENT, end=True)
Check = Callable[[Wire], None]


def ends(*codes: Code) -> Check:
    """A connection error: GOAWAY with one of CODES, and the end."""

    def check(wire: Wire) -> None:
        found = wire.until(lambda seen: [goaway_of(f.payload)[1] for f in seen if f.kind == GOAWAY])
        assert found, wire.seen
        assert found[0] in codes
        wire.until(lambda _: wire.closed)

    return check


def resets(stream: int, *codes: Code) -> Check:
    """A stream error: RST_STREAM with one of CODES, and the connection goes on."""

    def check(wire: Wire) -> None:
        found = wire.until(lambda seen: [word(f.payload) for f in seen if f.kind == RST_STREAM and f.stream == stream])
        assert found, wire.seen
        assert found[0] in codes
        alive(wire)

    return check


def answers(stream: int = 1, body: bytes | None = None) -> Check:
    def check(wire: Wire) -> None:
        head, got = wire.answer(stream)
        assert head[":status"] == "200", (head, got)
        assert body is None or got == body
        alive(wire)

    return check


def alive(wire: Wire) -> None:
    """The connection is of use, and so is the upstream."""
    wire.sync()
    wire.send(headers(999, GET, end=True))
    head, body = wire.answer(999)
    assert (head[":status"], body) == ("200", b"origin")


def no_good_answer(wire: Wire) -> None:
    """The upstream refuses the stream; the connection goes on."""
    wire.until(lambda seen: any(f.stream == 1 and f.kind in (RST_STREAM, HEADERS) for f in seen))
    first = next(f for f in wire.seen if f.stream == 1 and f.kind in (RST_STREAM, HEADERS))
    if first.kind == HEADERS:
        assert wire.answer(1)[0][":status"] in ("400", "502")
    alive(wire)


def unreadable(wire: Wire) -> None:
    """Where the router must read the block to find its row, the connection ends; else the upstream refuses it."""
    if wire.until(lambda seen: [f for f in seen if f.kind == GOAWAY or f.stream == 1])[0].kind == GOAWAY:
        ends(BROKEN)(wire)
    else:
        no_good_answer(wire)


def seen(*wanted: tuple[int, int, int, bytes]) -> Check:
    def check(wire: Wire) -> None:
        for one in wanted:
            assert wire.until(lambda found, one=one: one in found), wire.seen
        alive(wire)

    return check


class Case(NamedTuple):
    section: str
    title: str
    sent: bytes
    check: Check
    greeting: bytes = GREETING


ERR = Code.PROTOCOL_ERROR
SIZE = Code.FRAME_SIZE_ERROR
FLOW = Code.FLOW_CONTROL_ERROR
CLOSED = Code.STREAM_CLOSED
BROKEN = Code.COMPRESSION_ERROR
CALM = Code.ENHANCE_YOUR_CALM

CASES = [
    # Starting
    Case("3.4", "preface, SETTINGS, and a request at once", headers(1, GET, end=True), answers()),
    Case(
        "3.4",
        "a request before our SETTINGS are acknowledged",
        headers(1, GET, end=True),
        answers(),
        PREFACE + settings(),
    ),
    Case("3.4", "the first frame is not SETTINGS", b"", ends(ERR), PREFACE + frame(PING, 0, 0, bytes(8))),
    Case("3.4", "the first frame is HEADERS", b"", ends(ERR), PREFACE + headers(1, GET, end=True)),
    Case("3.4", "the first frame is an acknowledgement", b"", ends(ERR), PREFACE + SETTINGS_ACK),
    # Frames
    Case("4.1", "an unknown type is ignored", frame(0x16, 0, 0, bytes(8)) + frame(0xFF, 255, 3), alive),
    Case("4.1", "unknown flags are ignored", frame(PING, 0xFE, 0, b"12345678"), seen((PING, ACK, 0, b"12345678"))),
    Case("4.1", "the reserved bit is ignored", frame(PING, 0, 1 << 31, b"12345678"), seen((PING, ACK, 0, b"12345678"))),
    Case("4.1", "the reserved bit of a request is ignored", frame(HEADERS, 5, 1 << 31 | 1, GET), answers()),
    Case(
        "4.2",
        "DATA of the largest size",
        headers(1, POST, end=False) + frame(DATA, END_STREAM, 1, bytes(16384)),
        answers(),
    ),
    Case("4.2", "DATA above the largest size", NOW_OPEN + frame(DATA, END_STREAM, 1, bytes(16385)), ends(SIZE)),
    Case("4.2", "HEADERS above the largest size", frame(HEADERS, 5, 1, bytes(16385)), ends(SIZE)),
    Case("4.2", "an unknown frame above the largest size", frame(0x16, 0, 0, bytes(16385)), ends(SIZE)),
    Case(
        "4.3",
        "a broken block before the acknowledgement",
        headers(1, b"\x40", end=True),
        ends(BROKEN),
        PREFACE + settings(),
    ),
    Case("4.3", "a broken block", headers(1, GET + b"\x40", end=True), unreadable),
    Case("4.3", "an index of no table", headers(1, GET + b"\xfe", end=True), unreadable),
    Case("4.3", "the table is made larger than its limit", headers(1, b"\x3f\xe1\x1f" + GET, end=True), ends(BROKEN)),
    Case("4.3", "the table is emptied", headers(1, b"\x20" + GET, end=True), answers()),
    Case("4.3", "PRIORITY within a block", frame(HEADERS, 1, 1, GET) + frame(PRIORITY, 0, 1, bytes(5)), ends(ERR)),
    Case("4.3", "DATA within a block", frame(HEADERS, 0, 1, POST) + data(1, b"x", end=True), ends(ERR)),
    Case(
        "4.3",
        "HEADERS of another stream within a block",
        frame(HEADERS, 1, 1, GET) + headers(3, GET, end=True),
        ends(ERR),
    ),
    Case("4.3", "SETTINGS within a block", frame(HEADERS, 1, 1, GET) + settings(), ends(ERR)),
    Case("5.5", "an unknown frame within a block", frame(HEADERS, 1, 1, GET) + frame(0x16, 0, 0), ends(ERR)),
    # States of streams
    Case("5.1", "idle: DATA", data(1, b"x", end=True), ends(ERR)),
    Case("5.1", "idle: RST_STREAM", rst_stream(1, 8), ends(ERR)),
    Case("5.1", "idle: WINDOW_UPDATE", window_update(1, 1), ends(ERR)),
    Case("5.1", "idle: CONTINUATION", frame(CONTINUATION, END_HEADERS, 1, GET), ends(ERR)),
    Case("5.1", "idle: PRIORITY", frame(PRIORITY, 0, 5, bytes(5)) + headers(1, GET, end=True), answers()),
    Case("5.1", "half-closed: DATA", WAITS + data(1, b"x", end=True), resets(1, CLOSED)),
    Case("5.1", "half-closed: HEADERS", WAITS + headers(1, GET, end=True), resets(1, CLOSED)),
    Case("5.1", "half-closed: CONTINUATION", WAITS + frame(CONTINUATION, END_HEADERS, 1, GET), ends(ERR)),
    Case("5.1", "half-closed: WINDOW_UPDATE", headers(1, GET, end=True) + window_update(1, 9), answers()),
    Case("5.1", "half-closed: PRIORITY", headers(1, GET, end=True) + frame(PRIORITY, 0, 1, bytes(5)), answers()),
    Case("5.1", "closed by RST_STREAM: DATA", NOW_OPEN + rst_stream(1, 8) + data(1, b"x", end=True), resets(1, CLOSED)),
    Case("5.1", "closed by RST_STREAM: HEADERS", NOW_OPEN + rst_stream(1, 8) + headers(1, GET, end=True), ends(CLOSED)),
    Case(
        "5.1",
        "closed by RST_STREAM: CONTINUATION",
        NOW_OPEN + rst_stream(1, 8) + frame(CONTINUATION, 4, 1, GET),
        ends(ERR),
    ),
    Case("5.1", "closed by RST_STREAM: RST_STREAM", NOW_OPEN + rst_stream(1, 8) * 2, alive),
    Case("5.1", "closed by RST_STREAM: WINDOW_UPDATE", NOW_OPEN + rst_stream(1, 8) + window_update(1, 9), alive),
    Case("5.1.1", "an even id", headers(2, GET, end=True), ends(ERR)),
    Case("5.1.1", "a smaller id", headers(5, GET, end=True) + headers(3, GET, end=True), ends(ERR)),
    Case("5.1.1", "ids with gaps", headers(7, GET, end=True) + headers(21, GET, end=True), answers(21)),
    Case(
        "5.1.2",
        "more streams than announced",
        b"".join(headers(i, SILENT, end=True) for i in range(1, 516, 2)),
        lambda w: refuses(w, 513),
    ),
    Case(
        "5.4.1",
        "GOAWAY names the last stream",
        headers(5, SILENT, end=True) + data(0, b"", end=True),
        lambda w: last(w, 5),
    ),
    # Priorities
    Case(
        "7540/5.3.1",
        "HEADERS that depend on themselves",
        frame(HEADERS, 0x25, 1, b"\0\0\0\1\x0a" + GET),
        resets(1, ERR),
    ),
    Case(
        "7540/5.3.1", "PRIORITY that depends on itself", WAITS + frame(PRIORITY, 0, 1, b"\0\0\0\1\x0a"), resets(1, ERR)
    ),
    Case("6.3", "PRIORITY on stream 0", frame(PRIORITY, 0, 0, bytes(5)), ends(ERR)),
    Case("6.3", "PRIORITY of 4 bytes", WAITS + frame(PRIORITY, 0, 1, bytes(4)), resets(1, SIZE)),
    Case("6.2", "HEADERS with priority", frame(HEADERS, 0x25, 1, bytes(4) + b"\x0a" + GET), answers()),
    # DATA and HEADERS
    Case("6.1", "DATA on stream 0", data(0, b"x", end=True), ends(ERR)),
    Case("6.1", "padding longer than DATA", NOW_OPEN + frame(DATA, PADDED | END_STREAM, 1, b"\x06abcde"), ends(ERR)),
    Case("6.1", "padded DATA without a length", NOW_OPEN + frame(DATA, PADDED | END_STREAM, 1, b""), ends(SIZE)),
    Case(
        "6.1",
        "padded DATA",
        headers(1, POST, end=False) + frame(DATA, PADDED | END_STREAM, 1, b"\x03ab\0\0\0"),
        answers(),
    ),
    Case("6.2", "HEADERS on stream 0", headers(0, GET, end=True), ends(ERR)),
    Case("6.2", "padding longer than HEADERS", frame(HEADERS, PADDED | 5, 1, b"\xff" + GET), ends(ERR)),
    Case("6.2", "HEADERS too short for a priority", frame(HEADERS, WITH_PRIORITY | 5, 1, b"\0\0\0"), ends(SIZE)),
    Case("6.2", "padded HEADERS with priority", frame(HEADERS, 0x2D, 1, b"\x02" + bytes(5) + GET + b"\0\0"), answers()),
    # RST_STREAM
    Case("6.4", "RST_STREAM on stream 0", rst_stream(0, 8), ends(ERR)),
    Case("6.4", "RST_STREAM of 3 bytes", NOW_OPEN + frame(RST_STREAM, 0, 1, bytes(3)), ends(SIZE)),
    Case("6.4", "RST_STREAM with an unknown code", NOW_OPEN + rst_stream(1, 0xFFFF), alive),
    # SETTINGS
    Case("6.5", "an acknowledgement with a payload", frame(SETTINGS, ACK, 0, bytes(6)), ends(SIZE)),
    Case("6.5", "SETTINGS on a stream", frame(SETTINGS, 0, 1, b""), ends(ERR)),
    Case("6.5", "SETTINGS of 3 bytes", frame(SETTINGS, 0, 0, bytes(3)), ends(SIZE)),
    Case("6.5.2", "ENABLE_PUSH of 2", settings((2, 2)), ends(ERR)),
    Case("6.5.2", "INITIAL_WINDOW_SIZE above its limit", settings((4, 2**31)), ends(FLOW)),
    Case("6.5.2", "MAX_FRAME_SIZE below its limit", settings((5, 16383)), ends(ERR)),
    Case("6.5.2", "MAX_FRAME_SIZE above its limit", settings((5, 2**24)), ends(ERR)),
    Case("6.5.2", "an unknown setting", settings((0xFF, 1)), alive),
    Case("6.5.3", "SETTINGS are acknowledged", settings((3, 100)), seen((SETTINGS, ACK, 0, b""))),
    Case("6.5.3", "the last value counts", settings((4, 0), (4, 65535)) + headers(1, GET, end=True), answers()),
    Case("6.5.3", "an acknowledgement of nothing", SETTINGS_ACK * 2, ends(ERR)),
    # The others of the connection
    Case("6.6", "PUSH_PROMISE of a client", NOW_OPEN + frame(PUSH_PROMISE, 4, 1, b"\0\0\0\2" + GET), ends(ERR)),
    Case("6.7", "PING is answered", frame(PING, 0, 0, b"abcdefgh"), seen((PING, ACK, 0, b"abcdefgh"))),
    Case("6.7", "an answer to no PING", frame(PING, ACK, 0, b"abcdefgh"), alive),
    Case("6.7", "PING on a stream", frame(PING, 0, 1, bytes(8)), ends(ERR)),
    Case("6.7", "PING of 6 bytes", frame(PING, 0, 0, bytes(6)), ends(SIZE)),
    Case("6.8", "GOAWAY on a stream", frame(GOAWAY, 0, 1, bytes(8)), ends(ERR)),
    Case("6.8", "GOAWAY of 4 bytes", frame(GOAWAY, 0, 0, bytes(4)), ends(SIZE)),
    Case("6.8", "the answer comes after GOAWAY", headers(1, GET, end=True) + goaway(0, 0), lambda w: then_ends(w)),
    # Flow control
    Case("6.9", "credit of nothing on the connection", window_update(0, 0), ends(ERR)),
    Case("6.9", "credit of nothing on a stream", NOW_OPEN + window_update(1, 0), resets(1, ERR)),
    Case("6.9", "WINDOW_UPDATE of 3 bytes", frame(WINDOW_UPDATE, 0, 0, bytes(3)), ends(SIZE)),
    Case("6.9.1", "the connection's window overflows", window_update(0, 2**31 - 1), ends(FLOW)),
    Case("6.9.1", "a stream's window overflows", WAITS + window_update(1, 2**31 - 1), resets(1, FLOW)),
    Case("6.9.1", "more DATA than a stream's window", NOW_OPEN + frame(DATA, 0, 1, bytes(16384)) * 4, resets(1, FLOW)),
    Case("6.9.2", "a window of 1", settings((4, 1)) + headers(1, BIG, end=True), lambda w: drips(w)),
    Case(
        "6.9.2",
        "the window grows with SETTINGS",
        settings((4, 0)) + headers(1, BIG, end=True) + settings((4, 2000)),
        answers(1, bytes(1000)),
    ),
    Case("6.9.2", "a window below 0", settings((4, 3)) + headers(1, BIG, end=True), lambda w: below_nothing(w)),
    # CONTINUATION
    Case(
        "6.10",
        "a block in three frames",
        frame(HEADERS, 1, 1, GET[:2]) + frame(CONTINUATION, 0, 1, GET[2:5]) + frame(CONTINUATION, 4, 1, GET[5:]),
        answers(),
    ),
    Case("6.10", "CONTINUATION on stream 0", frame(HEADERS, 1, 1, GET) + frame(CONTINUATION, 4, 0, b""), ends(ERR)),
    Case(
        "6.10", "CONTINUATION of another stream", frame(HEADERS, 1, 1, GET) + frame(CONTINUATION, 4, 3, b""), ends(ERR)
    ),
    Case("6.10", "CONTINUATION after the end of a block", WAITS + frame(CONTINUATION, 4, 1, b""), ends(ERR)),
    Case(
        "6.10",
        "CONTINUATION after DATA",
        NOW_OPEN + data(1, b"x", end=False) + frame(CONTINUATION, 4, 1, b""),
        ends(ERR),
    ),
    Case(
        "10.5", "CONTINUATION without end", frame(HEADERS, 1, 1, GET) + frame(CONTINUATION, 0, 1, b"") * 100, ends(CALM)
    ),
    Case(
        "10.5",
        "a head list without bounds",
        frame(HEADERS, 1, 1, GET) + frame(CONTINUATION, 0, 1, b"\x82" * 16384) * 9,
        ends(CALM),
    ),
    Case("10.5", "PING without end", frame(PING, 0, 0, bytes(8)) * 1500, ends(CALM)),
    Case("10.5", "SETTINGS without end", settings() * 300, ends(CALM)),
    Case("10.5", "empty DATA without end", NOW_OPEN + frame(DATA, 0, 1, b"") * 4000, ends(CALM)),
    Case(
        "10.5",
        "streams that are opened and reset without end",
        b"".join(headers(i, SILENT, end=True) + rst_stream(i, 8) for i in range(1, 4000, 2)),
        ends(CALM),
    ),
    # HTTP
    Case(
        "8.1", "a second HEADERS that ends nothing", NOW_OPEN + headers(1, b"\x00\x01a\x01b", end=False), resets(1, ERR)
    ),
    Case("8.1", "trailers", headers(1, POST, end=False) + headers(1, b"\x00\x01a\x01b", end=True), answers()),
    Case("8.2.1", "a name in upper case", headers(1, GET + b"\x00\x01A\x01b", end=True), no_good_answer),
    Case(
        "8.2.2",
        "a header of the connection",
        headers(1, GET + b"\x00\x0aconnection\x05close", end=True),
        no_good_answer,
    ),
    Case("8.3", "an unknown pseudo-header", headers(1, GET + b"\x00\x05:test\x01b", end=True), no_good_answer),
    Case("8.3", "a pseudo-header after others", headers(1, b"\x82\x86\x00\x01a\x01b\x84", end=True), no_good_answer),
    Case("8.3.1", "no method", headers(1, b"\x86\x84\x41\x04shop", end=True), no_good_answer),
    Case("8.3.1", "two methods", headers(1, GET + b"\x82", end=True), no_good_answer),
    Case("8.4", "a promise of a client on stream 0", frame(PUSH_PROMISE, 4, 0, b"\0\0\0\2" + GET), ends(ERR)),
]


def refuses(wire: Wire, stream: int) -> None:
    wire.until(lambda seen: (RST_STREAM, 0, stream, b"\0\0\0\x07") in seen)
    wire.sync()


def last(wire: Wire, stream: int) -> None:
    (found,) = wire.until(lambda seen: [goaway_of(f.payload) for f in seen if f.kind == GOAWAY])
    assert found[0] == stream


def then_ends(wire: Wire) -> None:
    assert wire.answer(1)[0][":status"] == "200"
    wire.until(lambda _: wire.closed)


def drips(wire: Wire) -> None:
    for expected in (1, 2, 3):
        wire.until(lambda seen, expected=expected: len(body(seen)) == expected)
        wire.sync()
        assert len(body(wire.seen)) == expected
        wire.send(window_update(1, 1))


def below_nothing(wire: Wire) -> None:
    wire.until(lambda seen: len(body(seen)) == 3)
    wire.send(settings((4, 2)))
    wire.send(window_update(1, 1))
    wire.sync()
    assert len(body(wire.seen)) == 3
    wire.send(window_update(1, 1))
    wire.until(lambda seen: len(body(seen)) == 4)


def body(found: list[Any]) -> bytes:
    return b"".join(f.payload for f in found if f.kind == DATA and f.stream == 1)


@pytest.fixture(scope="module", params=["unmarked", "marked"])
def running(request: pytest.FixtureRequest) -> Iterator[Router]:
    """Marked is a row that takes everything here: the frames of the cases have no room for a mark. It is not the only
    one, since then a client that is silent for 5 ms hears the server, whatever that speaks."""
    with Loop() as loop:
        origin, other = loop.listen(lambda: Origin("origin")), loop.listen(lambda: Origin("other"))
        marked = request.param == "marked"
        rows = [row(other, "bob"), *([row(origin, match=[])] if marked else [])]
        with router(other if marked else origin, rows, loop=loop) as found:
            yield found


@pytest.mark.parametrize("case", CASES, ids=[f"{case.section} {case.title}" for case in CASES])
def test_case(case: Case, running: Router) -> None:
    with Wire(running.port, case.greeting) as wire:
        wire.send(case.sent)
        case.check(wire)
