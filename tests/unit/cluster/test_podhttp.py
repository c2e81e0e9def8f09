"""One HTTP request through a port-forward: answers in pieces, nonsense, and every way that it can end without one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from ktpy.cluster import podhttp
from ktpy.cluster.endpoint import Endpoint
from ktpy.cluster.podhttp import Incomplete, ask, parsed
from ktpy.errors import Forbidden, KtError, NotFound, TunnelLost, Unreachable

WHERE = Endpoint("api.example", 6443, "", None, None, dict)
OK = b"HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 5\r\n\r\nhello"


class Stream(asyncio.Transport):
    """What `dial` gives; SENT is what was written to it, ABORTED whether it was left."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = b""
        self.aborted = False

    def write(self, data: bytes) -> None:  # type: ignore[override]
        self.sent += data

    def abort(self) -> None:
        self.aborted = True


Answering = Callable[[asyncio.Protocol], object]


@pytest.fixture
def answered(monkeypatch: pytest.MonkeyPatch) -> Callable[[Answering | Exception], Stream]:
    """Let the pod do ANSWERING to our protocol, or the dialling fail."""

    def by(answering: Answering | Exception) -> Stream:
        stream = Stream()

        async def dial(*args: Any, timeout: float) -> tuple[Stream, asyncio.Protocol]:
            if isinstance(answering, Exception):
                raise answering
            protocol = args[-1]()
            protocol.connection_made(stream)
            answering(protocol)
            return stream, protocol

        monkeypatch.setattr(podhttp, "dial", dial)
        return stream

    return by


def asked(method: str = "GET", body: str = "", timeout: float = 5.0) -> tuple[int, str]:
    return ask(WHERE, "team", "shop-kt-router-1", 9901, method, "/routes", body, timeout=timeout)


@pytest.mark.parametrize(("data", "answer"), [
    (OK, (200, "hello")),
    (OK + b"more than was announced", (200, "hello")),
    (b"HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n", (204, "")),
    (b"HTTP/1.1 409 \r\nCONTENT-LENGTH:\t2 \r\n\r\nno", (409, "no")),  # white space around a value
    (b"HTTP/1.1 500\r\nContent-Length: 2\r\n\r\n\xff\xfe", (500, "��")),  # no reason; not UTF-8
    (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n\r\n\r", (200, "\r\n\r")),  # a body that looks like an end of heads
])  # fmt: skip
def test_an_answer_is_status_and_text(data: bytes, answer: tuple[int, str]) -> None:
    assert parsed(data) == answer


def test_an_answer_that_is_not_whole_is_waited_for_at_every_byte() -> None:
    for cut in range(len(OK)):
        with pytest.raises(Incomplete):
            parsed(OK[:cut])


@pytest.mark.parametrize("data", [
    b"\r\n\r\n",
    b"SSH-2.0-OpenSSH_9.6\r\n\r\n",  # another program listens there
    b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 999 X\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 20 X\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n\r\n",  # no length
    b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX-Content-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
])  # fmt: skip
def test_what_is_no_answer_is_told(data: bytes) -> None:
    with pytest.raises(ValueError, match="is no answer"):
        parsed(data)


def test_a_request_names_its_length_in_bytes_and_asks_for_the_end(answered: Any) -> None:
    stream = answered(lambda protocol: protocol.data_received(OK))

    assert asked("PUT", '{"mark":"ü"}') == (200, "hello")
    assert stream.sent == (
        b"PUT /routes HTTP/1.1\r\nHost: localhost:9901\r\nContent-Length: 13\r\nConnection: close\r\n\r\n"
        + '{"mark":"ü"}'.encode()
    )
    assert stream.aborted


def test_an_answer_may_come_byte_by_byte_and_what_comes_after_it_is_not_read(answered: Any) -> None:
    def slowly(protocol: asyncio.Protocol) -> None:
        for at in range(len(OK)):
            protocol.data_received(OK[at : at + 1])
        protocol.data_received(b"nonsense")
        protocol.connection_lost(ConnectionResetError("late"))

    answered(slowly)

    assert asked() == (200, "hello")


@pytest.mark.parametrize(("answering", "why"), [
    (lambda protocol: protocol.connection_lost(None), "it ended without an answer"),
    (lambda protocol: protocol.connection_lost(ConnectionResetError("reset")), "reset"),
    (lambda protocol: protocol.connection_lost(TunnelLost("nobody listens on port 9901")), "nobody listens"),
    (lambda protocol: protocol.data_received(b"nonsense\r\n\r\n"), "is no answer"),
    (lambda protocol: None, "no answer in time"),
    (TunnelLost("the kubelet refused"), "the kubelet refused"),
    (KtError("something else"), "something else"),
    (OSError("no route"), "no route"),
    (TimeoutError(), "no answer in time"),
])  # fmt: skip
def test_no_answer_is_unreachable_with_the_reason(answered: Any, answering: Any, why: str) -> None:
    stream = answered(answering)

    with pytest.raises(Unreachable, match=rf"pod/shop-kt-router-1, port 9901: .*{why}"):
        asked(timeout=0.01)

    assert stream.aborted or isinstance(answering, Exception)


@pytest.mark.parametrize("error", [NotFound("pod/x is not there."), Forbidden("no rights"), Unreachable("no server")])
def test_what_the_api_server_says_is_passed_on(answered: Any, error: KtError) -> None:
    answered(error)

    with pytest.raises(KtError) as told:
        asked()

    assert told.value is error


def test_an_answer_without_end_is_not_kept(answered: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(podhttp, "MOST_BYTES", 10)
    answered(lambda protocol: protocol.data_received(b"x" * 11))

    with pytest.raises(Unreachable, match="too long"):
        asked()
