"""Of the first bytes of a connection as much is understood as may be shown, and no value of a query."""

from __future__ import annotations

import pytest

from ktpy.model import glimpse


@pytest.mark.parametrize(
    ("data", "seen"),
    [
        (b"GET /cart HTTP/1.1\r\n", ("GET", "/cart")),
        (b"GET / HTTP/1.0\n", ("GET", "/")),
        (b"PUT /a/b?token=s3cret&x=1&bare HTTP/1.1\r\nHost: x\r\n\r\n", ("PUT", "/a/b?token=…&x=…&…")),
        (b"GET /? HTTP/1.1\r\n", ("GET", "/?…")),
        (b"OPTIONS * HTTP/1.1\r\n", ("OPTIONS", "*")),
        (b"GET http://ana:pass@shop:80/x?k=v HTTP/1.1\r\n", ("GET", "/x?k=…")),
        (b"GET http://shop?k=v HTTP/1.1\r\n", ("GET", "/?k=…")),
        (b"GET /\x1b[2J\xff\\ HTTP/1.1\r\n", ("GET", "/\\x1b[2J\\xff\\x5c")),
        (b"GET /" + b"a" * 200 + b" HTTP/1.1\r\n", ("GET", "/" + "a" * 78 + "…")),
        (b"GET /" + b"a" * 5000, ("GET", "/" + "a" * 78 + "…")),
        (b"GET /cart HTT", None),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", None),
        (b"\x16\x03\x01", None),
        (b"*1\r\n$4\r\nPING\r\n", None),
        (b"QUIT now HTTP/1.1\r\n", None),
        (b"", None),
    ],
)
def test_a_request(data: bytes, seen: tuple[str, str] | None) -> None:
    assert glimpse.request(data) == seen


def test_every_beginning_of_a_request_may_become_one() -> None:
    whole = b"DELETE /cart?x=1 HTTP/1.1\r\n"
    assert all(glimpse.may_become_request(whole[:size]) for size in range(1, len(whole)))


@pytest.mark.parametrize("data", [b"\x16\x03\x01", b"PRI * HTTP/2", b"*1\r\n", b"\r\n", b"GET /x FTP", b"G" * 5000])
def test_what_may_not(data: bytes) -> None:
    assert not glimpse.may_become_request(data)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"HTTP/1.1 200 OK\r\n", 200),
        (b"HTTP/1.0 404\r\n", 404),
        (b"HTTP/1.1 101 Switching Protocols\r\n", 101),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 201 Created\r\n", 201),
        (b"HTTP/1.1 100 Continue\r\n\r\n", None),
        (b"HTTP/1.1 100 Continue\r\n", None),
        (b"HTTP/1.1 20", None),
        (b"+PONG\r\n", None),
    ],
)
def test_an_answer(data: bytes, status: int | None) -> None:
    assert glimpse.status(data) == status


@pytest.mark.parametrize(("data", "may"), [(b"H", True), (b"HTTP/1.1 100", True), (b"220 ready", False), (b"", True)])
def test_a_beginning_of_an_answer(data: bytes, may: bool) -> None:
    assert glimpse.may_become_answer(data) is may
