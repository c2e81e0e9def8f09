"""The second opinion on HTTP/1: what h11, and llhttp given all at once, see in the same bytes."""

from __future__ import annotations

from typing import Any, NamedTuple

import h11
from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser, HttpResponseParser

MOST_HEAD = 1 << 20
CR_LF = b"\r\n"
NOT_COMPARED = (b"connection", b"ktpy-fallback", b"keep-alive")
"""Of each hop alone, or ours."""


class Message(NamedTuple):
    """LINE is the method or the status, TARGET the request's. RAW are its bytes, as far as a parser says where it ends.

    SWITCHED: what follows is of another protocol.
    """

    line: bytes
    target: bytes
    version: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    raw: bytes
    switched: bool = False

    @property
    def essence(self) -> tuple[object, ...]:
        """What must be the same on both sides of the router."""
        kept = tuple(field for field in self.headers if field[0] not in NOT_COMPARED)
        return self.line, self.target, self.version, kept, self.body

    def values(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.headers if key == name]

    @property
    def id(self) -> bytes:
        return b"".join(self.values(b"x-id"))


NOTHING = Message(b"", b"", b"", (), b"", b"")


class Seen(NamedTuple):
    """REST is what no whole message is made of; ERROR why not, empty when it may go on."""

    messages: list[Message]
    rest: bytes
    error: str
    interim: list[bytes]


def request(data: bytes) -> tuple[Message | None, bytes, str]:
    """The first request: itself if it is whole, what follows it, and what is wrong with it."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=MOST_HEAD)
    head: h11.Request | None = None
    body = b""
    try:
        connection.receive_data(data)
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                break
            else:
                return None, data, ""
    except h11.RemoteProtocolError as error:
        return None, data, str(error) or "?"
    assert head is not None
    rest = connection.trailing_data[0]
    asked = any(b"upgrade" in value.lower() for name, value in head.headers if name == b"connection")
    switched = connection.their_state is h11.MIGHT_SWITCH_PROTOCOL and (asked or head.method == b"CONNECT")
    raw = data[: len(data) - len(rest)]
    return Message(head.method, head.target, head.http_version, tuple(head.headers), body, raw, switched), rest, ""


def requests(data: bytes, *, switching: bool = True, most: int = 100) -> Seen:
    """All of a client's stream. One empty line before a request is nothing (RFC 9112 section 2.2).

    SWITCHING: whoever asks for another protocol gets it.
    """
    found: list[Message] = []
    while data and len(found) < most:
        message, rest, error = request(data.removeprefix(CR_LF))
        if message is None:
            return Seen(found, data, error, [])
        found.append(message)
        data = rest
        if message.switched and switching:
            return Seen(found, data, "", [])
    return Seen(found, data, "", [])


def answer(data: bytes, method: bytes, *, ended: bool) -> tuple[Message | None, bytes, str, list[bytes]]:
    """The same for the final answer to METHOD, and the interim ones before it."""
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=MOST_HEAD)
    asked = [(b"host", b"a")]
    if method == b"UPGRADE":
        method, asked = b"GET", [*asked, (b"connection", b"upgrade"), (b"upgrade", b"x")]
    connection.send(h11.Request(method=method, target=b"/", headers=asked))
    connection.send(h11.EndOfMessage())
    head: h11.Response | h11.InformationalResponse | None = None
    body, interim = b"", []
    switched = False
    try:
        connection.receive_data(data)
        if ended:
            connection.receive_data(b"")
        while True:
            event = connection.next_event()
            if isinstance(event, h11.InformationalResponse):
                if event.status_code == 101:
                    head, switched = event, True
                    break
                interim.append(b"%d" % event.status_code)
            elif isinstance(event, h11.Response):
                head = event
                if method == b"CONNECT" and event.status_code < 300:
                    switched = True
                    break
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                break
            else:
                return None, data, "" if event is h11.NEED_DATA else f"it ended with {event!r}", interim
    except h11.RemoteProtocolError as error:
        return None, data, str(error) or "?", interim
    assert head is not None
    rest = connection.trailing_data[0]
    raw = data[: len(data) - len(rest)]
    status = b"%d" % head.status_code
    return Message(status, b"", head.http_version, tuple(head.headers), body, raw, switched), rest, "", interim


def answers(data: bytes, methods: list[bytes], *, ended: bool) -> Seen:
    """All of an upstream's stream to these requests."""
    found: list[Message] = []
    interim: list[bytes] = []
    for method in methods:
        if not data:
            break
        message, rest, error, between = answer(data, method, ended=ended)
        interim += between
        if message is None:
            return Seen(found, data, error, interim)
        found.append(message)
        data = rest
        if message.switched:
            break
    return Seen(found, data, "", interim)


class _Listener:
    """Notes what llhttp says."""

    def __init__(self) -> None:
        self.urls: list[bytes] = []
        self.headers: list[list[tuple[bytes, bytes]]] = []
        self.bodies: list[bytes] = []
        self.ends = 0

    def on_message_begin(self) -> None:
        self.urls.append(b"")
        self.headers.append([])
        self.bodies.append(b"")

    def on_url(self, url: bytes) -> None:
        self.urls[-1] += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[-1].append((name.lower(), value))

    def on_body(self, body: bytes) -> None:
        self.bodies[-1] += body

    def on_message_complete(self) -> None:
        self.ends += 1


class Fresh(NamedTuple):
    """What a fresh llhttp saw."""

    urls: list[bytes]
    headers: list[list[tuple[bytes, bytes]]]
    bodies: list[bytes]
    ends: int
    error: str
    upgraded_at: int


def by_llhttp(data: bytes, *, of: str = "requests") -> Fresh:
    """All of DATA in one call."""
    seen = _Listener()
    parser: Any = (HttpRequestParser if of == "requests" else HttpResponseParser)(seen)
    error, at = "", -1
    try:
        parser.feed_data(data)
    except HttpParserUpgrade as upgrade:
        at = int(upgrade.args[0])
    except HttpParserError as fault:
        error = str(fault) or "?"
    return Fresh(seen.urls, seen.headers, seen.bodies, seen.ends, error, at)
