"""What the fuzzing has found, each as small as it gets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

pytest.importorskip("h2")
pytest.importorskip("h11")
pytest.importorskip("httptools")


from ktpy_router.config import Config
from ktpy_router.head import read_answer, read_request, values
from ktpy_router.http1 import Http1Client
from tests.router.fuzz import wires
from tests.router.fuzz.http1_framing import check_answer, check_requests
from tests.router.fuzz.wires import EOF, LISTEN, MemoryCore, SteppedLoop, Wire

HEAD = b"GET / HTTP/1.1\r\nHost: a\r\n"


@pytest.mark.parametrize(
    "request_bytes",
    [
        # Two lines of one name in a row: the split of `values` took the line end of the first, and raised.
        HEAD + b"Connection: close\r\nConnection: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        # httptools leaves the body of an Upgrade request to others; RFC 9112 section 6.3 does not, and neither do we.
        HEAD + b"Connection: Upgrade\r\nUpgrade: x\r\nContent-Length: 3\r\n\r\nab",
        # Empty lines before a request: one is passed over, whatever the reads; more are refused.
        b"\r\n" + HEAD + b"\r\n",
    ],
)
def test_others_see_the_same_requests(request_bytes: bytes) -> None:
    for pieces in ([request_bytes], [request_bytes[i : i + 1] for i in range(len(request_bytes))]):
        check_requests(request_bytes, pieces, Counter())


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 404 \r\nConnection:\r\nConnection:\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 \r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: deflate\r\n\r\nuntil the end",
        # llhttp keeps the tab and reads until the end; RFC 9110 section 5.5 takes it off, and so do h11 and we.
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\t\r\n\r\n0\r\n\r\n",
        # llhttp lets a NUL pass in a reason phrase, where nothing is framed by it.
        b"HTTP/1.1 304 \0\r\n\r\n",
    ],
)
def test_others_see_the_same_answers(answer: bytes) -> None:
    check_answer(answer, [answer], b"GET", Counter())


def test_lines_of_one_name_in_a_row_are_all_read() -> None:
    low = b"get / http/1.1\r\nconnection: a\r\nconnection: b\r\nhost: x\r\nconnection: c\r\n\r\n"

    assert values(low, b"connection") == [b"a", b"b", b"c"]
    assert not read_answer(b"HTTP/1.1 200 OK\r\nConnection: x\r\nConnection: close\r\n\r\n").keep
    assert not read_request(HEAD + b"Connection: x\r\nConnection: close\r\n\r\n").keep


class Http1Bench:
    """Clients of one worker, and the upstream connections that it made."""

    def __init__(self, loop: SteppedLoop) -> None:
        self.loop = loop
        self.upstreams: list[Wire] = []
        self.core = MemoryCore(Config(), wires.table(), self.accept)

    def accept(self, name: str, wire: Wire) -> bool:
        self.upstreams.append(wire)
        return True

    def client(self, first: bytes) -> Wire:
        wire = Wire(self.loop, None)
        self.core.ports[LISTEN].stats.open_connections += 1
        Http1Client(self.core, self.core.ports[LISTEN]).take_over(wire, first)
        self.settle()
        return wire

    def say(self, wire: Wire, *data: bytes | None) -> None:
        wire.inbox.extend(data)
        while wire.pump():
            pass
        self.settle()

    def settle(self) -> None:
        while self.loop.step():
            pass
        assert not self.loop.escaped


@pytest.fixture
def http1() -> Iterator[Http1Bench]:
    with SteppedLoop() as loop:
        yield Http1Bench(loop)


@pytest.mark.parametrize("version", [b"HTTP/1.1\r\nConnection: close", b"HTTP/1.0"])
def test_a_connection_with_half_a_request_on_it_is_not_used_again(http1: Http1Bench, version: bytes) -> None:
    """An answer that came before the request's end freed the connection: the next client's request was taken for the
    rest of that body. The worst kind of finding: requests of one client end in those of another."""
    client = http1.client(b"PUT / " + version + b"\r\nHost: a\r\nContent-Length: 1000\r\n\r\nhalf")
    http1.say(http1.upstreams[0], b"HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n")
    assert client.take().startswith(b"HTTP/1.1 413 No")

    http1.client(HEAD + b"\r\n")

    assert len(http1.upstreams) == 2
    assert http1.upstreams[0].closing
    assert http1.upstreams[1].take() == HEAD + b"\r\n"


def test_a_connection_whose_client_left_half_a_request_is_not_used_again(http1: Http1Bench) -> None:
    client = http1.client(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nhalf")
    http1.say(http1.upstreams[0], b"HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n")
    client.break_off()
    http1.settle()

    http1.client(HEAD + b"\r\n")

    assert http1.upstreams[0].closing
    assert http1.upstreams[1].take() == HEAD + b"\r\n"


def test_half_a_pipelined_request_and_an_end_are_the_end(http1: Http1Bench) -> None:
    """The rest was waited for, for ever, on both connections."""
    client = http1.client(HEAD + b"\r\nPUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nhalf")
    http1.say(client, EOF)

    http1.say(http1.upstreams[0], b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    client.take()
    http1.settle()

    assert client.lost
    assert all(upstream.closing for upstream in http1.upstreams)
