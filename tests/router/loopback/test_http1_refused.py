"""What two parsers may read differently goes no further: 400 to the client, or 502 when the upstream says it."""

from __future__ import annotations

import asyncio

import pytest

from tests.router.loopback.origins import Client, request
from tests.router.loopback.rawkit import IMPATIENT, until
from tests.router.loopback.stage import MARK, Stage, on_both_sides, run, stage

GET = b"GET / HTTP/1.1\r\nHost: a\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"

SHAPES = {
    "CL and TE": POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "TE and CL": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "two CL": POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "two equal CL": POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    "CL list": POST + b"Content-Length: 5, 5\r\n\r\nhello",
    "CL signed": POST + b"Content-Length: +5\r\n\r\nhello",
    "CL empty": POST + b"Content-Length:\r\n\r\n",
    "CL hexadecimal": POST + b"Content-Length: 0x5\r\n\r\nhello",
    "CL too large": POST + b"Content-Length: 99999999999999999999999\r\n\r\n",
    "TE unknown": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "TE not last": POST + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "TE twice": POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "TE with blank before the colon": POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "TE with VT": POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "TE with Upgrade": POST + b"Connection: upgrade\r\nUpgrade: x\r\nTransfer-Encoding: gzip\r\n\r\n",
    "TE in HTTP/1.0": b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "CONNECT with a body": b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
    "bare LF": GET + b"A: b\n\r\n",
    "bare LF after the request line": b"GET / HTTP/1.1\nHost: a\r\n\r\n",
    "bare LF everywhere": b"GET / HTTP/1.1\nHost: a\n\n",
    "bare LF in a value": GET + b"A: b\nX: c\r\n\r\n",
    "bare CR in a value": GET + b"A: b\rX: c\r\n\r\n",
    "two CR": GET + b"A: b\r\r\n\r\n",
    "obs-fold": GET + b"A: b\r\n c\r\n\r\n",
    "obs-fold by tab": GET + b"A: b\r\n\tc\r\n\r\n",
    "blank first": b"GET / HTTP/1.1\r\n Host: a\r\n\r\n",
    "blank before the colon": GET + b"A : b\r\n\r\n",
    "blank in a name": GET + b"A b: c\r\n\r\n",
    "no colon": GET + b"abc\r\n\r\n",
    "no name": GET + b": c\r\n\r\n",
    "NUL in a value": GET + b"A: b\x00c\r\n\r\n",
    "NUL in the path": b"GET /\x00 HTTP/1.1\r\nHost: a\r\n\r\n",
    "control character": GET + b"A: b\x01c\r\n\r\n",
    "no Host": b"GET / HTTP/1.1\r\nA: b\r\n\r\n",
    "two Hosts": GET + b"Host: b\r\n\r\n",
    "two Hosts in HTTP/1.0": b"GET / HTTP/1.0\r\nHost: a\r\nhost: a\r\n\r\n",
    "two blanks": b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
    "two blanks before the version": b"GET /  HTTP/1.1\r\nHost: a\r\n\r\n",
    "HTTP/1.2": b"GET / HTTP/1.2\r\nHost: a\r\n\r\n",
    "chunk size signed": CHUNKED + b"+3\r\nabc\r\n0\r\n\r\n",
    "chunk size 0x": CHUNKED + b"0x3\r\nabc\r\n0\r\n\r\n",
    "chunk size empty": CHUNKED + b"\r\nabc\r\n0\r\n\r\n",
    "chunk size too large": CHUNKED + b"FFFFFFFFFFFFFFFFF\r\nabc\r\n0\r\n\r\n",
    "chunk size with blank": CHUNKED + b"3 \r\nabc\r\n0\r\n\r\n",
    "chunk size with LF": CHUNKED + b"3\nabc\r\n0\r\n\r\n",
    "chunk extension with LF": CHUNKED + b"3;a=b\nabc\r\n0\r\n\r\n",
    "chunk extension with CR": CHUNKED + b"3;a=b\rc\r\nabc\r\n0\r\n\r\n",
    "chunk too long": CHUNKED + b"3\r\nabcd\r\n0\r\n\r\n",
    "chunk without end": CHUNKED + b"3\r\nabc0\r\n\r\n",
    "last chunk with LF": CHUNKED + b"0\n\r\n",
    "CL in a trailer": CHUNKED + b"0\r\nContent-Length: 5\r\n\r\n",
    "fold in a trailer": CHUNKED + b"0\r\nA: b\r\n c\r\n\r\n",
}


HOST = b"Host: a\r\n"
MARKED = {f"{name}, marked": shape.replace(HOST, HOST + MARK.encode() + b"\r\n") for name, shape in SHAPES.items()}


@pytest.mark.parametrize("name", [*SHAPES, *(name for name, shape in MARKED.items() if MARK.encode() in shape)])
@pytest.mark.parametrize("first", [True, False], ids=["first", "later"])
def test_smuggling_shapes_are_refused(name: str, first: bool) -> None:
    async def scenario() -> None:
        async with asyncio.timeout(10), stage(*([MARK] if name in MARKED else [])) as s:
            client = await s.client()
            if not first:
                await s.is_fine(client)
            client.send((SHAPES | MARKED)[name] + SMUGGLED)
            head, body = await client.answer()
            assert head.startswith(b"HTTP/1.1 400 ")
            assert b"ktpy-router: " in head
            assert b"Connection: close" in head
            assert body.startswith(b"The router refuses this request: ")
            assert await client.rest() == b""
            assert not any(b"smuggled" in head for head in s.original.heads + s.mine.heads)
            assert s.router.spoken()["refused"] == 1
            assert s.counted()["open"] == 0
            client.close()
            await until(s.router.is_left)

    run(scenario())


@pytest.mark.parametrize(
    "line", [b"GET / HTTP/0.9", b"GET / HTTP/2.0", b"GET / RTSP/1.0", b"GET /", b"\nGET / HTTP/1.1"]
)
def test_a_connection_that_speaks_http_1_keeps_to_it(line: bytes) -> None:
    """As its first line, each of these is for sniff.py to decide."""

    async def scenario() -> None:
        async with asyncio.timeout(10), stage() as s:
            client = await s.client()
            await s.is_fine(client)
            client.send(line + b"\r\nHost: a\r\n\r\n")
            assert (await client.answer())[0].startswith(b"HTTP/1.1 400 ")

    run(scenario())


def test_a_head_of_more_than_64_kib_is_refused() -> None:
    async def scenario() -> None:
        async with asyncio.timeout(10), stage() as s:
            client = await s.client()
            await s.is_fine(client)
            client.send(request("/", "X: " + "x" * 70_000))
            assert (await client.answer())[0].startswith(b"HTTP/1.1 431 ")
            assert s.original.paths == ["/fine"]

    run(scenario())


@pytest.mark.parametrize("first", [True, False], ids=["first", "later"])
def test_a_slow_head_is_ended(first: bool) -> None:
    async def scenario() -> None:
        async with asyncio.timeout(10), stage(config=IMPATIENT) as s:
            client = await s.client()
            if not first:
                await s.is_fine(client)
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\n")
            assert (await client.answer())[0].startswith(b"HTTP/1.1 408 ")
            assert await client.rest() == b""

    run(scenario())


def test_an_idle_client_is_let_go_and_a_waiting_one_is_not() -> None:
    async def scenario() -> None:
        async with asyncio.timeout(10), stage(config=IMPATIENT) as s:
            idle, waiting = await s.client(), await s.client()
            waiting.send(request("/hang"))
            await s.is_fine(idle)
            assert await idle.rest() == b""
            s.original.go.set()
            assert (await waiting.answer())[1] == b"original GET /hang 0"

    run(scenario())


def test_empty_lines_before_a_request_are_passed_over() -> None:
    async def scenario() -> None:
        async with asyncio.timeout(10), stage() as s:
            client = await s.client()
            for _ in range(3):
                client.send(request("/a") + b"\r\n")
                await client.answer()
            assert all(head.startswith(b"GET /a") for head in s.original.heads)

    run(scenario())


async def gives_up_in_the_middle(s: Stage, *lines: str) -> None:
    """Else the next client's request would be taken for the body of one that was given up."""
    client = await s.client()
    client.send(s.request("/impatient", "Content-Length: 100", *lines, method="POST", body=b"12345"))
    assert (await client.answer())[1] == b"ready"
    before = s.web.connections
    client.close()
    await until(s.router.is_left)
    await s.is_fine(await s.client())
    assert s.web.connections == before + 1


@on_both_sides
async def test_an_upstream_that_waits_for_the_rest_of_a_request_gets_no_other(s: Stage) -> None:
    await gives_up_in_the_middle(s)


@on_both_sides
async def test_nor_does_it_when_the_client_wanted_to_close(s: Stage) -> None:
    await gives_up_in_the_middle(s, "Connection: close")


async def refused_answer(s: Stage, path: str) -> Client:
    client = await s.client()
    head, _ = await s.get(client, path)
    assert head.startswith(b"HTTP/1.1 502 ")
    assert b"ktpy-router: " in head
    assert await client.rest() == b""
    return client


@on_both_sides
async def test_what_is_no_answer_becomes_a_502(s: Stage) -> None:
    for path in ("/bad", "/teapot", "/unasked", "/long-head"):
        await refused_answer(s, path)
    assert [s.counted()[name] for name in ("errors", "open", "requests")] == [4, 0, 4]


@on_both_sides
async def test_bytes_after_an_answer_are_nobodys(s: Stage) -> None:
    client = await s.client()
    for path in ("/surplus", "/line"):
        assert (await s.get(client, path))[1] == b"ok"
        await s.is_fine(client)
    assert s.web.connections == 3


@on_both_sides
async def test_an_answer_that_breaks_off_is_not_made_to_look_complete(s: Stage) -> None:
    client = await s.client()
    client.send(s.request("/broken"))
    assert b"Content-Length: 100" in await client.head()
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await client.reader.readexactly(100)


@pytest.mark.parametrize("mark", ["VERSION: ana", "version:ana", "Version: \t ana \t"])
def test_a_header_matches_as_http_reads_it(mark: str) -> None:
    async def scenario() -> None:
        async with asyncio.timeout(10), stage() as s:
            client = await s.client()
            for _ in range(2):
                assert (await client.get("/", mark))[1] == b"mine GET / 0"
            for other in ("version: anab", "version: Ana", "xversion: ana", "x: version: ana", "version:"):
                assert (await client.get("/", other))[1] == b"original GET / 0"
            assert (await client.get("/", "version: bob", MARK))[1] == b"mine GET / 0", "any of several values"

    run(scenario())
