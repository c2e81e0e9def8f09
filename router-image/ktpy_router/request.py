"""What of a request decides its way: method, path, host, headers; and what is read out of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple
from urllib.parse import unquote_to_bytes


class Request(NamedTuple):
    """One request's head. PATH is as sent, with its query; names of HEADERS are in lower case, values are stripped."""

    method: bytes
    path: bytes
    host: bytes
    headers: Sequence[tuple[bytes, bytes]]


def header_values(request: Request, name: bytes) -> Iterator[bytes]:
    """The values of each line of that header, in their order."""
    return (value for key, value in request.headers if key == name)


def cookie_values(request: Request, name: bytes) -> Iterator[bytes]:
    """RFC 6265 section 4.2.1; HTTP/2 may send each pair in a line of its own (RFC 9113 section 8.2.3)."""
    for line in header_values(request, b"cookie"):
        for pair in line.split(b";"):
            key, equals, value = pair.strip().partition(b"=")
            if equals and key == name:
                yield value.strip(b'"')


def baggage_values(request: Request, name: bytes) -> Iterator[bytes]:
    """Members of W3C Baggage, section 3.3: `key=value;property, key=value`; values are percent-encoded."""
    for line in header_values(request, b"baggage"):
        for member in line.split(b","):
            key, equals, value = member.partition(b";")[0].partition(b"=")
            if equals and key.strip() == name:
                yield unquote_to_bytes(value.strip())


def query_values(request: Request, name: bytes) -> Iterator[bytes]:
    """Parameters of the query as forms send them: `+` is a blank, %XX a byte."""
    _, _, query = request.path.partition(b"?")
    for pair in query.partition(b"#")[0].split(b"&"):
        key, _, value = pair.partition(b"=")
        if _decoded(key) == name:
            yield _decoded(value)


def path_of(request: Request) -> bytes:
    """Without query, and without what precedes it when a proxy's client sends a whole address (RFC 9112, 3.2.2)."""
    path = request.path.partition(b"?")[0]
    if path[:7].lower() == b"http://" or path[:8].lower() == b"https://":
        return b"/" + path.split(b"/", 3)[3] if path.count(b"/") > 2 else b"/"
    return path


def host_of(request: Request) -> bytes:
    """In lower case, without port."""
    host = request.host.lower()
    if host.startswith(b"["):
        return host.partition(b"]")[0] + b"]"
    return host.partition(b":")[0]


def _decoded(text: bytes) -> bytes:
    return unquote_to_bytes(text.replace(b"+", b" "))
