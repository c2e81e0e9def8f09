"""The first bytes of a connection tell what it speaks."""

from __future__ import annotations

import httptools
import pytest

from ktpy_router.sniff import METHODS, PREFACE, Kind, decide

# The start of a TLS 1.3 ClientHello: record type 22, version 3.1, length, handshake type 1 (RFC 8446, section 5.1)
CLIENT_HELLO = bytes.fromhex("16 03 01 02 00 01 00 01 fc 03 03")


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n",
        b"GET / HTTP/1.0\r\n\r\n",
        b"GET / HTTP/1.1\n",  # a bare LF is for the HTTP side to refuse
        b"POST /a%20b?c=d HTTP/1.1\r\n",
        b"OPTIONS * HTTP/1.1\r\n",
        b"CONNECT shop:443 HTTP/1.1\r\n",
        b"PROPFIND /dav HTTP/1.1\r\n",
        b"M-SEARCH * HTTP/1.1\r\n",
        b"\r\nGET / HTTP/1.1\r\n",
        b"\n\r\n\nSEARCH / HTTP/1.1\r\n",
        b"GET / HTTP/1.9\r\n",
        b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n",
    ],
)
def test_a_request_line_is_http1(data: bytes) -> None:
    assert decide(data) is Kind.HTTP1


@pytest.mark.parametrize("method", METHODS)
def test_every_method_is_one_that_the_parser_knows(method: str) -> None:
    line = f"{method} {'shop:1' if method == 'CONNECT' else '/'} HTTP/1.1\r\n".encode()

    httptools.HttpRequestParser(object()).feed_data(line)
    assert decide(line) is Kind.HTTP1
    assert all(decide(line[:length]) is Kind.WAIT for length in range(1, len(line) - 1))


@pytest.mark.parametrize(
    "data",
    [
        b"GET foo\r\n",  # Redis, inline
        b"GET \r\n",
        b"GET  \n",
        b"*2\r\n$3\r\nGET\r\n$3\r\nfoo\r\n",
        b"PING\r\n",
        b"get foo\r\n",  # memcached
        b"GET / HTTP/2.0\r\n",
        b"GET / HTTP/1.1 \r\n",
        b"OPTIONS rtsp://camera/1 RTSP/1.0\r\n",
        b"OPTIONS sip:ana@shop SIP/2.0\r\n",
        b"BREW /pot HTTP/1.1\r\n",
        b"GETTING / HTTP/1.1\r\n",
        bytes.fromhex("00 00 00 08 04 d2 16 2f"),  # PostgreSQL's SSLRequest
        bytes.fromhex("16 02 00"),  # type 22, but of no TLS
        b"\r\n* OK",
        b"\r\n" + PREFACE,
        b"\x00",
        b"PRI * HTTP/1.1\r\n",
        PREFACE[:-4] + b"XX\r\n",
    ],
)
def test_anything_else_is_raw(data: bytes) -> None:
    assert decide(data) is Kind.RAW


@pytest.mark.parametrize("data", [b"G", b"GET", b"GET ", b"GET /index", b"P", b"PR", b"PROP", b"\r", b"\r\n", b"\r\nG"])
def test_half_a_line_waits_for_the_rest(data: bytes) -> None:
    assert decide(data) is Kind.WAIT


def test_the_preface_is_h2_when_it_is_whole() -> None:
    assert decide(PREFACE + b"\x00\x00\x00\x04") is Kind.H2
    assert all(decide(PREFACE[:length]) is Kind.WAIT for length in range(1, len(PREFACE)))


@pytest.mark.parametrize("length", [1, 2, 5, 11])
def test_a_client_hello_is_tls(length: int) -> None:
    assert decide(CLIENT_HELLO[:length]) is Kind.TLS
