"""New clients with a usual request: taken when nothing is special, served as an Http1Client serves, whole when odd."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from dataclasses import replace
from random import Random
from typing import Any, cast

import pytest

from ktpy_router.config import Config
from ktpy_router.core import Core
from ktpy_router.door import Silence
from ktpy_router.http1 import Http1Client
from ktpy_router.http1_upstream import UpstreamConnection
from ktpy_router.once import Once, Onces
from ktpy_router.upstream import Upstream
from tests.router.fuzz import http1_grammar as grammar
from tests.router.fuzz.http1_mutations import mutate
from tests.router.unit.test_raw import Noted
from tests.router.unit.test_table import raw, read, row

LISTEN = 8080
GET = b"GET /a HTTP/1.1\r\nHost: shop\r\nConnection: close\r\nX-Y: z\r\n\r\n"
STAYS = SENT = b"GET /a HTTP/1.1\r\nHost: shop\r\nX-Y: z\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
ANSWERED = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi"


class Counter:
    """A port at which clients are taken, with idle upstream connections."""

    def __init__(self, config: Config, **table: Any) -> None:
        self.core = Core(config, read(raw(**table)))
        self.port = self.core.ports[LISTEN]
        self.silence = Silence(self.core, self.port)
        self.onces = Onces(self.core, self.port, self.silence)
        self.up = self.idle(self.port.default)
        self.here, self.client = socket.socketpair()
        self.client.setblocking(False)

    def idle(self, upstream: Upstream) -> UpstreamConnection:
        up = UpstreamConnection(upstream, self.core.config)
        up.connection_made(Noted())
        up.fresh = False
        upstream.idle.append(up)
        return up

    def take(self, data: bytes = GET) -> bool:
        return self.onces.take(socket.SocketType(fileno=self.here.detach()), data)

    def sent(self, up: UpstreamConnection | None = None) -> bytes:
        return b"".join(one for one in did(up or self.up) if isinstance(one, bytes))

    def got(self) -> bytes:
        try:
            return self.client.recv(1 << 20)
        except BlockingIOError:
            return b"nothing yet"

    @property
    def one(self) -> Any:
        (client,) = self.core.clients
        return client


def did(up: UpstreamConnection) -> list[Any]:
    return cast(Noted, up.transport).did


def at_counter(
    check: Callable[[Counter], Awaitable[None]] | None = None, config: Config | None = None, **table: Any
) -> Any:
    def decorated(check: Callable[[Counter], Awaitable[None]]) -> Callable[[], None]:
        def test() -> None:
            async def main() -> None:
                counter = Counter(config or Config(), **table)
                with counter.client, counter.here:
                    await check(counter)
                    for client in tuple(counter.core.clients):
                        client.abort()
                    await turn()
                    assert not counter.core.clients
                    assert not counter.port.stats.open_connections

            asyncio.run(main())

        return test

    return decorated(check) if check else decorated


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


async def turn() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


@at_counter
async def test_one_request_one_answer_and_nothing_is_left(at: Counter) -> None:
    assert at.take()
    assert isinstance(at.one, Once)
    assert at.sent() == SENT
    assert not at.port.default.idle

    at.up.data_received(ANSWER)

    assert at.got() == ANSWERED
    assert at.got() == b"", "and the end"
    assert at.port.default.idle == [at.up]
    assert at.up.client is None
    assert not at.core.clients
    stats, counts = at.port.default_stats, at.port.stats
    assert (stats.requests, stats.open, stats.bytes_in, stats.bytes_out) == (1, 0, len(GET), len(ANSWERED))
    assert sum(stats.histogram) == 1
    assert (counts.connections, counts.open_connections, counts.http1) == (1, 0, 1)


@at_counter(rows=[row()])
async def test_a_row_takes_its_own(at: Counter) -> None:
    mine = at.idle(at.port.upstream(at.core.table.rows[0]))
    assert at.take(GET.replace(b"X-Y: z", b"Version: ana"))

    assert at.sent(mine)
    assert not at.sent()
    assert at.core.row_stats["s1"].requests == 1


@at_counter
async def test_one_that_may_ask_again_is_answered_and_may_go(at: Counter) -> None:
    assert at.take(STAYS)
    at.up.data_received(ANSWER)

    assert (at.sent(), at.got(), at.got()) == (STAYS, ANSWER, b"nothing yet")
    assert at.port.default.idle == [at.up]
    assert at.port.default_stats.open == 0
    assert at.port.stats.open_connections == 1
    at.client.shutdown(socket.SHUT_WR)
    await turn()
    assert at.got() == b""
    assert at.port.stats.open_connections == 0


@at_counter
async def test_one_that_asks_again_gets_a_client_of_its_own(at: Counter) -> None:
    assert at.take(STAYS)
    at.up.data_received(ANSWER)
    at.client.send(STAYS[:5])
    await until(lambda: isinstance(at.one, Http1Client))
    at.client.send(STAYS[5:])
    await until(lambda: at.up.waits)
    at.up.data_received(ANSWER)
    assert at.sent() == STAYS * 2
    assert at.got() == ANSWER * 2

    at.client.send(GET)
    await until(lambda: at.up.waits)
    at.up.data_received(ANSWER)
    assert at.got() == ANSWERED
    counts = at.port.stats
    assert (counts.connections, counts.http1, at.port.default_stats.requests) == (1, 1, 3)


@at_counter(config=replace(Config(), sniff_seconds=0.01, eager_seconds=0.01))
async def test_one_that_stays_silent_gets_a_client_that_is_http1(at: Counter) -> None:
    assert at.take(STAYS)
    at.up.data_received(ANSWER)
    await until(lambda: isinstance(at.one, Http1Client))
    assert at.got() == ANSWER

    at.client.send(STAYS)
    await until(lambda: at.up.waits)
    at.up.data_received(ANSWER)
    assert at.got() == ANSWER


@at_counter(config=replace(Config(), linger_seconds=0.01, sniff_seconds=0.01, eager_seconds=0.01))
async def test_one_that_stays_learns_that_the_router_goes(at: Counter) -> None:
    assert at.take(STAYS)
    at.up.data_received(ANSWER)
    at.core.drain()
    await until(lambda: not at.core.clients)
    assert (at.got(), at.got()) == (ANSWER, b"")


@at_counter
async def test_an_odd_answer_leaves_one_that_stays_open(at: Counter) -> None:
    assert at.take(STAYS)
    at.up.data_received(ANSWER[:20])
    at.up.data_received(ANSWER[20:])
    assert (at.got(), at.got()) == (ANSWER, b"nothing yet")

    at.client.send(STAYS)
    await until(lambda: at.up.waits)
    at.up.data_received(ANSWER)
    assert at.got() == ANSWER


REFUSED = {
    "another spelling": GET.replace(b"close", b"Close"),
    "a list": GET.replace(b"close", b"close, x"),
    "a body": GET.replace(b"X-Y: z", b"Content-Length: 1") + b"x",
    "a body to come": GET.replace(b"X-Y: z", b"Content-Length: 1"),
    "chunks": GET.replace(b"X-Y: z", b"Transfer-Encoding: chunked"),
    "POST": GET.replace(b"GET", b"POST"),
    "an old version": GET.replace(b"1.1", b"1.0"),
    "no host": GET.replace(b"Host", b"Hast"),
    "two hosts": GET.replace(b"X-Y: z", b"host: b"),
    "Connection twice": GET.replace(b"X-Y: z", b"connection: keep-alive"),
    "Connection: close twice": GET.replace(b"X-Y: z", b"Connection: close"),
    "another that llhttp takes for it": GET.replace(b"X-Y: z", b"Proxy-Connection: close"),
    "a line that goes on": GET.replace(b"X-Y: z", b" folded"),
    "a line that goes on with a tab": GET.replace(b"Host: shop\r\n", b"").replace(b"X-Y", b"\tX\r\nHost: shop\r\nX-Y"),
    "a bare LF": GET.replace(b"X-Y: z", b"X-Y: z\nA: b"),
    "a space before the colon": GET.replace(b"X-Y:", b"X-Y :"),
    "two spaces": GET.replace(b" HTTP", b"  HTTP"),
    "two requests": GET + GET,
    "half a request": GET[:-2],
    "more line ends": GET + b"\r\n",
    "a line end before it": b"\r\n" + GET,
    "a long head": GET.replace(b"X-Y: z", b"X-Y: " + bytes(70_000).replace(b"\0", b"z")),
    "another protocol": b"SUBSCRIBE x\r\nConnection: close\r\n\r\n",
}


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED)
def test_what_is_not_usual_is_not_taken(data: bytes) -> None:
    @at_counter
    async def check(at: Counter) -> None:
        assert not at.onces.take(cast(Any, None), data)
        assert not did(at.up)
        assert not at.port.stats.connections
        assert at.take(), "and the next one is"

    check()


@pytest.mark.parametrize("what", ["draining", "forwarded", "mirror", "add", "down", "no idle connection"])
def test_nothing_is_taken_where_more_is_to_be_done(what: str) -> None:
    more = {"mirror": {"mirror": True}, "add": {"add": {"x": "1"}}}.get(what, {})

    @at_counter(config=Config(forwarded=what == "forwarded"), rows=[row(**more)])
    async def check(at: Counter) -> None:
        at.core.draining = what == "draining"
        mine = at.port.upstream(at.core.table.rows[0])
        at.idle(mine)
        if what == "down":
            mine.breaker.failed_connect()
        if what == "no idle connection":
            mine.idle.clear()

        assert not at.onces.take(cast(Any, None), GET.replace(b"X-Y: z", b"Version: ana"))

    check()


ODD = {
    "in two reads": ([ANSWER[:20], ANSWER[20:]], ANSWERED),
    "without the end of its body": ([ANSWER[:-1], ANSWER[-1:]], ANSWERED),
    "an interim answer": ([b"HTTP/1.1 103 Hints\r\n\r\n" + ANSWER], b"HTTP/1.1 103 Hints\r\n\r\n" + ANSWERED),
    "its last one": (
        [ANSWER.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")],
        ANSWER.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"),
    ),
    "nonsense": ([b"nonsense\r\n\r\n"], b"HTTP/1.1 502 Bad Gateway"),
}


@pytest.mark.parametrize(("parts", "expected"), ODD.values(), ids=ODD)
def test_odd_answers_are_those_of_a_whole_client(parts: list[bytes], expected: bytes) -> None:
    @at_counter
    async def check(at: Counter) -> None:
        assert at.take()
        for part in parts:
            at.up.data_received(part)

        assert at.got().startswith(expected)
        await turn()
        assert at.got() == b""
        assert at.port.default_stats.open == 0

    check()


@at_counter
async def test_an_answer_that_does_not_fit_arrives_whole(at: Counter) -> None:
    at.here.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    body = bytes(200_000)
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    assert at.take()
    at.up.data_received(answer)

    got = b""
    while data := await asyncio.get_running_loop().sock_recv(at.client, 1 << 20):
        got += data
    assert got.endswith(body)
    assert b"\r\nConnection: close\r\n" in got
    assert at.port.default_stats.bytes_out == len(got)
    assert sum(at.port.default_stats.histogram) == 1


@at_counter
async def test_one_that_says_more_is_heard_out(at: Counter) -> None:
    assert at.take()
    at.client.send(b"GET /more HTTP/1.1\r\n\r\n")
    at.up.data_received(ANSWER)
    at.client.send(b"GET /and more")
    await turn()

    assert at.got() == ANSWERED
    assert at.got() == b"", "no reset, which would take the answer back"
    assert isinstance(at.one, Http1Client)


@at_counter
async def test_a_late_answer_is_for_who_still_waits(at: Counter) -> None:
    assert at.take()
    at.one.is_silent()
    assert isinstance(at.one, Http1Client)
    at.up.data_received(ANSWER)
    assert at.got() == ANSWERED


@at_counter(config=replace(Config(), sniff_seconds=0.01, eager_seconds=0.01))
async def test_one_that_leaves_meanwhile_is_not_waited_for(at: Counter) -> None:
    assert at.take()
    at.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    at.client.close()
    async with asyncio.timeout(5):
        while "eof" not in did(at.up) and "abort" not in did(at.up):
            await asyncio.sleep(0.005)


@at_counter(rows=[row()])
async def test_the_original_answers_for_a_row_that_is_down(at: Counter) -> None:
    mine = at.idle(at.port.upstream(at.core.table.rows[0]))
    mine.fresh = True
    assert at.take(GET.replace(b"X-Y: z", b"Version: ana"))
    mine.connection_lost(None)
    assert at.sent() == SENT.replace(b"X-Y: z", b"Version: ana"), "without the close again"

    at.up.data_received(ANSWER)
    assert b"\r\nktpy-fallback: ana\r\n" in at.got()


@at_counter(config=replace(Config(), linger_seconds=5))
async def test_the_answer_says_that_the_router_goes(at: Counter) -> None:
    assert at.take(STAYS)
    at.core.drain()
    at.up.data_received(ANSWER)
    assert at.got() == ANSWERED
    await turn()
    assert at.got() == b""


@at_counter
async def test_one_without_a_transport_is_counted_as_gone(at: Counter) -> None:
    async def fails(*_: Any) -> None:
        raise OSError

    at.core.loop.connect_accepted_socket = fails  # type: ignore[method-assign,assignment]
    assert at.take(STAYS)
    at.up.data_received(ANSWER)
    at.client.send(STAYS)
    await until(lambda: not at.core.clients)
    assert at.got() == ANSWER


@at_counter
async def test_the_end_of_the_router_ends_it(at: Counter) -> None:
    assert at.take()
    at.one.tick(1e9)
    at.one.drain()
    assert isinstance(at.one, Once)
    at.one.abort()
    await turn()
    assert at.got() == b""
    assert "abort" in did(at.up), "and its answer is nobody's"


def test_what_is_taken_goes_up_as_it_would_from_a_client_of_many_requests() -> None:
    rng = Random(7)
    taken = 0

    async def main() -> None:
        nonlocal taken
        one = Counter(Config(), rows=[row()])
        for number in range(600):
            made = grammar.request(rng, number, final=True).raw if rng.random() < 0.5 else STAYS
            if rng.random() < 0.5:
                made = made.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
            data = mutate(rng, made, rng.randrange(1, 3)) if rng.random() < 0.8 else made
            if not one.onces.take(cast(Any, one.here), data):
                continue
            taken += 1
            other = Counter(Config(), rows=[row()])
            with one.client, one.here, other.client, other.here:
                client = Http1Client(other.core, other.port)
                client.take_over(Noted(), data)
                assert one.sent() == other.sent() != b"", data
                assert not cast(Noted, client.transport).did, data
            one = Counter(Config(), rows=[row()])
        one.client.close()
        one.here.close()

    asyncio.run(main())
    assert taken > 50
