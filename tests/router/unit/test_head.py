"""Heads: what is refused, what is matched, and that an edit changes one thing only."""

from __future__ import annotations

import pytest

from ktpy_router.head import (
    BadHead,
    fallback_line,
    fault_of_part,
    forwarded_fields,
    is_chunked,
    own_answer,
    read_answer,
    read_request,
    request_of,
    tokens,
    values,
    with_close,
    with_forwarded,
    with_line,
    with_set,
    without_close,
)


def head(*lines: str, first: str = "GET / HTTP/1.1", host: str | None = "Host: a") -> bytes:
    return "\r\n".join((first, *([host] if host else []), *lines, "", "")).encode("latin-1")


@pytest.mark.parametrize(
    ("read", "keep"),
    [
        (head(), True),
        (head("Connection: close"), False),
        (head("Connection: TE, Close"), False),
        (head("Connection: keep-alive"), True),
        (head(first="GET / HTTP/1.0", host=None), False),
        (head("Connection: Keep-Alive", first="GET / HTTP/1.0", host=None), True),
    ],
)
def test_whether_the_client_goes_on(read: bytes, keep: bool) -> None:
    assert read_request(read).keep is keep


@pytest.mark.parametrize(
    "good",
    [
        head(first="M-SEARCH * HTTP/1.1"),
        head(first="OPTIONS * HTTP/1.1"),
        head(first="GET http://b/x?y HTTP/1.1"),
        head("Transfer-Encoding: gzip, chunked"),
        head("Transfer-Encoding: gzip", "transfer-encoding: CHUNKED"),
        head("Content-Length:\t5 "),
        head("X: caf\xe9", "under_score: 1", "Empty:"),
        head(host="hOST: a"),
    ],
)
def test_unusual_heads_pass(good: bytes) -> None:
    read_request(good)


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (head(host=None), "exactly one Host"),
        (head("host: b"), "exactly one Host"),
        (head(first="GET  / HTTP/1.1"), "request line"),
        (head(first="GET / HTTP/2.0"), "request line"),
        (head(first="GET / RTSP/1.0"), "request line"),
        (head(first="GET /"), "request line"),
        (head(first="get / HTTP/1.1"), "request line"),
        (head(first="FOO / HTTP/1.1"), "invalid method"),
        (head("Transfer-Encoding: gzip"), "Transfer-Encoding"),
        (head("Connection: upgrade", "Upgrade: x", "Transfer-Encoding: gzip"), "not chunked"),
        (head("Transfer-Encoding: chunked", first="GET / HTTP/1.0"), "HTTP/1.0"),
        (head("Content-Length: 5", first="CONNECT a:80 HTTP/1.1"), "CONNECT"),
        (head("A : b"), "header token"),
    ],
)
def test_why_a_head_is_refused(bad: bytes, why: str) -> None:
    with pytest.raises(BadHead, match=why):
        read_request(bad)


def test_upgrades_are_seen() -> None:
    assert read_request(head("Connection: keep-alive, Upgrade", "Upgrade: websocket")).upgrade
    assert not read_request(head("Upgrade: websocket")).upgrade


def test_a_beginning_that_can_never_end_well_is_seen_early() -> None:
    assert fault_of_part(b"GET / HTTP/1.1\nHost: a\n\n")
    assert fault_of_part(b"GET / HTTP/1.1\r\nHost: a\r") is None


@pytest.mark.parametrize(
    ("read", "status", "keep"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", 200, True),
        (b"HTTP/1.1 200\r\nConnection: close\r\n\r\n", 200, False),
        (b"HTTP/1.0 200 OK\r\n\r\n", 200, False),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n", 200, True),
        (b"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", 101, True),
        (b"HTTP/1.1 101 S\r\n\r\n", 101, True),
        (b"HTTP/1.1 103 E\r\nLink: x\r\n\r\n", 103, True),
    ],
)
def test_answers(read: bytes, status: int, keep: bool) -> None:
    answer = read_answer(read)

    assert (answer.status, answer.keep) == (status, keep)


@pytest.mark.parametrize(
    "bad",
    [
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"RTSP/1.0 200 OK\r\n\r\n",
        b"HTTP/1.1 099 OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 101 S\r\nA : b\r\n\r\n",
        b"\r\nHTTP/1.1 200 OK\r\n\r\n",
    ],
)
def test_bad_answers(bad: bytes) -> None:
    with pytest.raises(BadHead):
        read_answer(bad)


def test_headers_are_found_by_their_whole_name() -> None:
    low = head("X-Connection: no", "Connection: A ,b", "connection:\tc").lower()

    assert values(low, b"connection") == [b"a ,b", b"c"]
    assert tokens(low) == [b"a", b"b", b"c"]
    assert is_chunked(head("Transfer-Encoding: gzip , chunked").lower())
    assert not is_chunked(head("Transfer-Encoding: chunked, gzip").lower())


@pytest.mark.parametrize(
    ("first", "host"),
    [
        ("GET /x?y=1 HTTP/1.1", b"shop:80"),
        ("GET http://user@other:81/x HTTP/1.1", b"other:81"),
        ("GET http://other?x HTTP/1.1", b"other"),
        ("GET /x?u=http://other/ HTTP/1.1", b"shop:80"),
        ("CONNECT db:5432 HTTP/1.1", b"db:5432"),
    ],
)
def test_what_is_matched(first: str, host: bytes) -> None:
    request = request_of(head("Version: Ana ", "X:", first=first, host="HOST: shop:80"))

    assert request.method == first.split(" ")[0].encode()
    assert request.path == first.split(" ")[1].encode()
    assert request.host == host
    assert request.headers == [(b"host", b"shop:80"), (b"version", b"Ana"), (b"x", b"")]


def test_close_is_taken_out_and_what_stands_beside_it_stays() -> None:
    assert without_close(head("Connection: close", "A: close")) == head("A: close")
    assert without_close(head("connection: TE,Close")) == head("connection: TE")
    assert without_close(head("Connection: upgrade")) == head("Connection: upgrade")


def test_close_is_put_in_once() -> None:
    assert with_close(head("Connection: close")) == head("Connection: close")
    assert with_close(head("Connection: keep-alive")) == head("Connection: close")
    assert with_close(head("Connection: x")) == head("Connection: x", "Connection: close")


def test_lines_are_added_and_replaced() -> None:
    assert with_line(head(), b"A: b") == head("A: b")
    assert with_line(b"HTTP/1.1 200 OK\r\n\r\n", b"A: b") == b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n"
    assert with_set(head("A: b", "B: c", "a: d"), ((b"a", b"e"), (b"f", b"g"))) == head("B: c", "a: e", "f: g")
    for_2 = "Forwarded: for=2"
    assert with_forwarded(head(), ("::1", 9)) == head("X-Forwarded-For: ::1", 'Forwarded: for="[::1]"')
    assert with_forwarded(head("x-forwarded-for: 1"), ("2", 9)) == head("x-forwarded-for: 1, 2", for_2)
    assert with_forwarded(head("X-Forwarded-For:"), ("2", 9)) == head("X-Forwarded-For: 2", for_2)
    assert with_forwarded(head("forwarded: for=1"), ("2", 9)) == head("forwarded: for=1, for=2", "X-Forwarded-For: 2")


@pytest.mark.parametrize(
    ("peer", "address", "node"),
    [
        (("10.1.2.3", 9), b"10.1.2.3", b"for=10.1.2.3"),
        (("::ffff:10.1.2.3", 9), b"10.1.2.3", b"for=10.1.2.3"),
        (("fe80::1%eth0", 9), b"fe80::1", b'for="[fe80::1]"'),
        (None, b"unknown", b"for=unknown"),
    ],
)
def test_a_client_is_named_as_its_own_family_writes_it(
    peer: tuple[str, int] | None, address: bytes, node: bytes
) -> None:
    assert forwarded_fields(peer) == ((b"X-Forwarded-For", address), (b"Forwarded", node))


def test_a_mark_is_safe_in_a_header() -> None:
    assert fallback_line("ana") == b"ktpy-fallback: ana"
    assert fallback_line("a\r\nb ñ%") == b"ktpy-fallback: a%0D%0Ab%20%C3%B1%25"


def test_our_own_answers_say_why_and_end() -> None:
    said = own_answer(503, "is\r\ndown", "The upstream of row 'ñ' is down.")

    assert said.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert b"\r\nktpy-router: is%0D%0Adown\r\n" in said
    assert b"\r\nConnection: close\r\n" in said
    start, _, body = said.partition(b"\r\n\r\n")
    assert body == b"The upstream of row '\\xf1' is down.\n"
    assert b"Content-Length: %d" % len(body) in start
    assert own_answer(503, "x", "y", body=False).endswith(b"\r\n\r\n")
