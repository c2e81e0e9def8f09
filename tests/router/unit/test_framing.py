"""Bodies: where they end, however the bytes are cut."""

from __future__ import annotations

import pytest

from ktpy_router.framing import BadBody, Chunked, Counted, Framer, UntilEnd, answer_body, request_body

CHUNKS = (
    b"5\r\nhello\r\n0\r\n\r\n",
    b"0\r\n\r\n",
    b"000\r\n\r\n",
    b'5;a=b;c="d"\r\nhello\r\n0\r\n\r\n',
    b"4\r\n\r\n\r\n\r\n0\r\n\r\n",  # chunk data that looks like an end
    b"6\r\n\r\n\r\n\r\n\r\na\r\n0\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n",
    b"3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n",
    b"3\r\nabc\r\n0\r\nX: 1\r\nY: 2\r\n\r\n",
)


def feed(framer: Framer, data: bytes, size: int) -> int:
    """What it takes when DATA comes SIZE bytes at a time."""
    taken = 0
    while taken < len(data) and not framer.done:
        part = data[taken : taken + size]
        got = framer.feed(part)
        taken += got
        if got < len(part):
            break
    return taken


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 100])
@pytest.mark.parametrize("body", CHUNKS)
def test_chunks_end_where_they_end(body: bytes, size: int) -> None:
    for after in (b"", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"\r\n\r\n", b"\r"):
        framer = Chunked()

        assert feed(framer, body + after, size) == len(body)
        assert framer.done


@pytest.mark.parametrize("body", CHUNKS)
def test_chunks_that_are_not_complete_are_not_done(body: bytes) -> None:
    framer = Chunked()

    assert framer.feed(body[:-1]) == len(body) - 1
    assert not framer.done


@pytest.mark.parametrize("size", [1, 100])
@pytest.mark.parametrize(
    "bad",
    [
        b"x\r\n",
        b"-1\r\n",
        b"3 \r\nabc\r\n",
        b"3\nabc\r\n",
        b"3\r\nabcd\r\n",
        b"3;a=b\nabc\r\n",
        b"0\r\nX: 1\n\r\n",
        b"0\r\nContent-Length: 1\r\n\r\n",
        b"FFFFFFFFFFFFFFFFF\r\n",
    ],
)
def test_malformed_chunks_are_refused(bad: bytes, size: int) -> None:
    with pytest.raises(BadBody):
        feed(Chunked(), bad, size)


def test_counted_bodies_end_by_number() -> None:
    body = Counted(5)

    assert body.feed(b"abc") == 3
    assert not body.done
    assert body.feed(b"defg") == 2
    assert body.done
    assert Counted(0).done


def head(first: str, *lines: str) -> bytes:
    return "\r\n".join((first, *lines, "", "")).lower().encode()


def test_which_requests_have_a_body() -> None:
    assert request_body(head("GET / HTTP/1.1", "Host: a")) is None
    assert request_body(head("POST / HTTP/1.1", "Content-Length: 0")) is None
    assert isinstance(request_body(head("POST / HTTP/1.1", "Content-Length: 7 ")), Counted)
    assert isinstance(request_body(head("GET / HTTP/1.1", "Transfer-Encoding: chunked")), Chunked)


@pytest.mark.parametrize(
    ("method", "status", "lines", "kind", "done"),
    [
        (b"GET", 200, ["Content-Length: 5"], Counted, False),
        (b"GET", 200, ["Content-Length: 0"], Counted, True),
        (b"GET", 200, ["Transfer-Encoding: chunked"], Chunked, False),
        (b"GET", 200, ["Transfer-Encoding: gzip"], UntilEnd, False),
        (b"GET", 200, [], UntilEnd, False),
        (b"HEAD", 200, ["Content-Length: 5"], Counted, True),
        (b"HEAD", 200, ["Transfer-Encoding: chunked"], Counted, True),
        (b"GET", 204, [], Counted, True),
        (b"GET", 304, ["Content-Length: 5"], Counted, True),
        (b"GET", 205, [], UntilEnd, False),
    ],
)
def test_how_answers_end(method: bytes, status: int, lines: list[str], kind: type[Framer], done: bool) -> None:
    body = answer_body(method, status, head("HTTP/1.1 200 OK", *lines))

    assert isinstance(body, kind)
    assert body.done is done


def test_a_body_that_ends_with_the_connection_takes_all() -> None:
    body = UntilEnd()

    assert body.feed(b"abc") == 3
    assert not body.done
