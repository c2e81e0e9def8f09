"""Heads of HTTP/1 messages: what llhttp lets through and we do not, what of them is matched, and the few edits.

RFC 9112 names the shapes that two parsers may read differently: sections 2.2 (bare LF and CR), 3 (request line), 3.2
(Host), 5.1 (space before colon), 5.2 (obs-fold), 6.1 (Transfer-Encoding) and 6.3 (Content-Length). llhttp, as it comes,
refuses most of them; `read_request` adds the rest. Nothing here does I/O.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import quote

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser, HttpResponseParser

from ktpy_router.request import Request

END = b"\r\n\r\n"
HOST = b"\r\nhost:"
_CONNECTION = b"\r\nconnection:"
_CLOSE = b"\r\nConnection: close\r\n"
_KEEP = b"\r\nConnection: keep-alive\r\n"
_TE = b"\r\ntransfer-encoding:"
_LINE = re.compile(rb"[A-Z-]+ [^ \r\n]+ HTTP/1\.([01])\r\n")
_BARE_LF = re.compile(rb"(?<!\r)\n")
_SAFE = "!\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~"

IDEMPOTENT = frozenset(b"GET HEAD OPTIONS TRACE PUT DELETE PROPFIND SEARCH REPORT QUERY".split())
"""RFC 9110 section 9.2.2, and the safe ones of the IANA registry that llhttp knows: they may be sent again."""

REASONS = {
    400: b"Bad Request",
    408: b"Request Timeout",
    431: b"Request Header Fields Too Large",
    502: b"Bad Gateway",
    503: b"Service Unavailable",
}


class BadHead(Exception):
    """It cannot be relayed safely; the text says why."""


class RequestHead(NamedTuple):
    """What the relay must know of a request. LOW is the head in lower case; KEEP: the client goes on after it."""

    low: bytes
    method: bytes
    keep: bool
    upgrade: bool


class AnswerHead(NamedTuple):
    """What the relay must know of an answer. KEEP: the upstream's connection can live on after it."""

    low: bytes
    status: int
    keep: bool


class _Ended:
    """What llhttp says when a head ends: it forgets Connection as soon as the message is complete."""

    __slots__ = ("keep", "parser")

    def on_headers_complete(self) -> None:
        self.keep = self.parser.should_keep_alive()

    parser: HttpRequestParser
    keep: bool


def read_request(head: bytes) -> RequestHead:
    """Errors: BadHead, for whatever two parsers may read differently. HEAD ends with its empty line."""
    line = _LINE.match(head)
    if line is None:
        raise BadHead("the request line is malformed")
    ended = _Ended()
    parser = ended.parser = HttpRequestParser(ended)
    upgrade = False
    try:
        parser.feed_data(head)
    except HttpParserUpgrade:
        upgrade = True
    except HttpParserError as error:
        raise BadHead(_words(error)) from None
    low = head.lower()
    method = head[: head.index(b" ")]
    hosts = low.count(HOST)
    if hosts > 1 or (line[1] == b"1" and not hosts):
        raise BadHead("HTTP/1.1 needs exactly one Host header")
    if _TE in low:
        if line[1] == b"0":
            raise BadHead("Transfer-Encoding does not exist in HTTP/1.0")
        if not is_chunked(low):  # with Upgrade, llhttp does not look
            raise BadHead("the last Transfer-Encoding is not chunked")
    if method == b"CONNECT" and (_TE in low or b"\r\ncontent-length:" in low):
        raise BadHead("CONNECT has no body")
    return RequestHead(low, method, ended.keep, upgrade)


def read_answer(head: bytes) -> AnswerHead:
    """Errors: BadHead. HEAD ends with its empty line."""
    if not head.startswith(b"HTTP/1."):
        raise BadHead("it is no HTTP/1 answer")
    parser = HttpResponseParser(None)
    try:
        parser.feed_data(head)
    except HttpParserUpgrade:
        pass
    except HttpParserError as error:
        # A 101 without Upgrade headers comes as an error after the whole head.
        if parser.get_status_code() != 101 or "Pause" not in str(error):
            raise BadHead(_words(error)) from None
    status = parser.get_status_code()
    if status < 100:
        raise BadHead(f"status {status} is none")
    low = head.lower()
    # Not llhttp's should_keep_alive: it does not know that an answer to HEAD has no body.
    kept = b"close" not in tokens(low) if head[7] == 49 else b"keep-alive" in tokens(low)
    return AnswerHead(low, status, kept)


def fault_of_part(part: bytes) -> str | None:
    """What is wrong already with the beginning of a head: who ends lines with LF alone would wait for ever."""
    return "a line ends with LF alone" if _BARE_LF.search(part) else None


def values(low: bytes, name: bytes) -> list[bytes]:
    """The values of each line of that header, both in lower case."""
    lines = low.split(b"\r\n" + name + b":")[1:]
    # Of two such lines in a row, the first has lost its line end to the split.
    return [line.partition(b"\r\n")[0].strip(b" \t") for line in lines]


def tokens(low: bytes) -> list[bytes]:
    """The members of Connection."""
    return [token.strip(b" \t") for line in values(low, b"connection") for token in line.split(b",")]


def is_chunked(low: bytes) -> bool:
    """Whether the last transfer coding is chunked."""
    return b",".join(values(low, b"transfer-encoding")).rpartition(b",")[2].strip(b" \t") == b"chunked"


def request_of(head: bytes) -> Request:
    """What is matched. An authority in the request line goes before Host (RFC 9112 section 3.2.2)."""
    first, *lines = head[:-4].split(b"\r\n")
    method, path, _ = first.split(b" ")
    headers = []
    host = b""
    for line in lines:
        name, _, value = line.partition(b":")
        name, value = name.lower(), value.strip(b" \t")
        headers.append((name, value))
        if name == b"host":
            host = value
    if not path.startswith(b"/") and b"://" in path:
        host = re.split(rb"[/?#]", path.partition(b"://")[2], maxsplit=1)[0].rpartition(b"@")[2]
    elif method == b"CONNECT":
        host = path
    return Request(method, path, host, headers)


def without_close(head: bytes) -> bytes:
    """The head for an upstream connection that shall live on: `close` is for this hop only (RFC 9110 section 7.6.1)."""
    at = head.find(_CLOSE)
    if at > 0 and head.lower().count(_CONNECTION) == 1:  # as nearly everybody writes it
        return head[:at] + head[at + len(_CLOSE) - 2 :]
    return _without(head, drop=b"close")


def with_close(head: bytes) -> bytes:
    """The head of the connection's last answer (RFC 9112 section 9.6)."""
    low = head.lower()
    if _CONNECTION not in low:
        return with_line(head, b"Connection: close")
    at = head.find(_KEEP)
    if at > 0 and low.count(_CONNECTION) == 1:
        return b"%b%b%b" % (head[:at], _CLOSE, head[at + len(_KEEP) :])
    if b"close" in tokens(low):
        return head
    return with_line(_without(head, drop=b"keep-alive"), b"Connection: close")


def with_line(head: bytes, line: bytes) -> bytes:
    """One more header line, as the last."""
    return b"%b%b\r\n\r\n" % (head[:-2], line)


def with_set(head: bytes, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """These headers, with these values only: lines of the same name are replaced."""
    for name, value in headers:
        lines = head[:-4].split(b"\r\n")
        kept = [lines[0], *(line for line in lines[1:] if line.partition(b":")[0].lower() != name.lower())]
        head = b"\r\n".join((*kept, name + b": " + value)) + END
    return head


def with_forwarded(head: bytes, peer: tuple[str, int] | None) -> bytes:
    """PEER's address at the end of X-Forwarded-For and of Forwarded (RFC 7239), where the request has lines of these in
    the last of them, since many programs read one line only."""
    lines = head[:-4].split(b"\r\n")
    for title, text in forwarded_fields(peer):
        found = [i for i, line in enumerate(lines) if i and line.partition(b":")[0].lower() == title.lower()]
        if found:
            old = lines[found[-1]].rstrip(b" \t")
            lines[found[-1]] = old + (b" " if old.endswith(b":") else b", ") + text
        else:
            lines.append(title + b": " + text)
    return b"\r\n".join(lines) + END


def forwarded_fields(peer: tuple[str, int] | None) -> tuple[tuple[bytes, bytes], tuple[bytes, bytes]]:
    """X-Forwarded-For and Forwarded for a client at PEER, a socket's address. None: it has gone."""
    text = peer[0].partition("%")[0].removeprefix("::ffff:") if peer else "unknown"
    node = f'"[{text}]"' if ":" in text else text  # RFC 7239 section 6
    return (b"X-Forwarded-For", text.encode()), (b"Forwarded", b"for=" + node.encode())


def fallback_line(mark: str) -> bytes:
    """Says that the original answered in place of the row with that mark."""
    return b"ktpy-fallback: " + quote(mark, safe=_SAFE).encode()


def own_answer(status: int, short: str, sentence: str, *, body: bool = True) -> bytes:
    """An answer of the router's own, after which the connection ends. SHORT and SENTENCE are made ASCII."""
    text = sentence.encode("ascii", "backslashreplace") + b"\n"
    lines = (
        b"HTTP/1.1 %d %b" % (status, REASONS[status]),
        b"Content-Type: text/plain",
        b"Content-Length: %d" % len(text),
        b"ktpy-router: " + quote(short, safe=_SAFE + " ").encode(),
        b"Connection: close",
    )
    return b"\r\n".join(lines) + END + (text if body else b"")


def _without(head: bytes, *, drop: bytes) -> bytes:
    """The head without that member of Connection; a line that has no other goes with it."""
    lines = head[:-4].split(b"\r\n")
    made = lines[:1]
    for line in lines[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"connection" and drop in value.lower():
            rest = [token for token in (t.strip(b" \t") for t in value.split(b",")) if token and token.lower() != drop]
            if not rest:
                continue
            line = name + b": " + b", ".join(rest)
        made.append(line)
    return b"\r\n".join(made) + END


def _words(error: HttpParserError) -> str:
    said = str(error)
    return said[:1].lower() + said[1:] if said else "it is malformed"
