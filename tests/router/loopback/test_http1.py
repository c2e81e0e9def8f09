"""HTTP/1 through the router, line by line of what proxies get wrong, for a row's requests and for the others."""

from __future__ import annotations

import asyncio
import random
import socket
import struct

import pytest

from tests.router.loopback.origins import LARGE, request
from tests.router.loopback.rawkit import until
from tests.router.loopback.stage import MARK, Stage, on_both_sides, run, stage

CHUNKS = b"4\r\n\r\n\r\n\r\n8;x=y\r\n0\r\n\r\n0\r\n\r\n0\r\nX-Sum: 1\r\n\r\n"


@on_both_sides
async def test_each_request_of_a_connection_is_decided_on_its_own(s: Stage) -> None:
    client = await s.client()
    for i in range(200):
        _, body = await client.get(f"/{i}", *([MARK] if i % 2 else []))
        assert body == f"{'mine' if i % 2 else 'original'} GET /{i} 0".encode()

    assert (s.original.connections, s.mine.connections) == (1, 1)
    assert [s.router.counted(row)["requests"] for row in ("", "m")] == [100, 100]


@on_both_sides
async def test_pipelined_requests_are_answered_in_their_order(s: Stage) -> None:
    client = await s.client()
    chunked = b"3\r\nabc\r\n5;x=y\r\n\r\n\r\nz\r\n0\r\nX-Sum: 1\r\n\r\n"
    all_of_them = b""
    for i in range(20):
        mark = [MARK] if i % 2 else []
        all_of_them += request(f"/{i}a", *mark)
        all_of_them += request(f"/{i}b", *mark, "Content-Length: 4", method="POST", body=b"\r\n\r\n")
        all_of_them += request(f"/{i}c", "Transfer-Encoding: chunked", method="POST", body=chunked)
    client.send(all_of_them)

    for i in range(20):
        who = "mine" if i % 2 else "original"
        assert (await client.answer())[1] == f"{who} GET /{i}a 0".encode()
        assert (await client.answer())[1] == f"{who} POST /{i}b 4".encode()
        assert (await client.answer())[1] == f"original POST /{i}c 8".encode()


@pytest.mark.parametrize("seed", range(12))
def test_it_does_not_matter_how_the_bytes_are_cut(seed: int) -> None:
    async def scenario() -> None:
        async with asyncio.timeout(20), stage() as s:
            chance = random.Random(seed)
            kinds = (
                lambda i, *m: request(f"/{i}", *m),
                lambda i, *m: request(f"/{i}", *m, method="HEAD"),
                lambda i, *m: request(f"/{i}", *m, "Content-Length: 9", method="POST", body=b"\r\n\r\nGET /"),
                lambda i, *m: request(f"/{i}", *m, "Transfer-Encoding: chunked", method="PUT", body=b"0\r\n\r\n"),
                lambda i, *m: request(f"/{i}", *m, "Transfer-Encoding: chunked", method="PUT", body=CHUNKS),
                lambda i, *m: request("/chunked", *m),
                lambda i, *m: request("/304", *m),
            )
            plan = [(chance.randrange(len(kinds)), chance.random() < 0.5) for _ in range(60)]
            stream = b"".join(kinds[kind](i, *([MARK] if mark else [])) for i, (kind, mark) in enumerate(plan))
            client = await s.client()

            async def write() -> None:
                left = stream
                while left:
                    size = chance.choice((1, 2, 3, 7, 50, 200, 5000))
                    client.send(left[:size])
                    left = left[size:]
                    await asyncio.sleep(0)

            writing = asyncio.ensure_future(write())
            for i, (kind, mark) in enumerate(plan):
                _, body = await client.answer("HEAD" if kind == 1 else "GET")
                who = "mine" if mark else "original"
                expected = [f"{who} GET /{i} 0", "", f"{who} POST /{i} 9", f"{who} PUT /{i} 0", f"{who} PUT /{i} 12"]
                if kind < len(expected):
                    assert body == expected[kind].encode()
            await writing
            assert s.original.connections == s.mine.connections == 1

    run(scenario())


@on_both_sides
async def test_a_request_may_come_byte_by_byte(s: Stage) -> None:
    client = await s.client()
    body = b"3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n"
    for byte in s.request("/slowly", "Transfer-Encoding: chunked", method="POST", body=body):
        client.send(bytes([byte]))
        await asyncio.sleep(0)

    assert (await client.answer())[1] == f"{s.web.name} POST /slowly 3".encode()
    await s.is_fine(client)


@on_both_sides
async def test_chunks_and_their_trailers_go_both_ways_as_they_are(s: Stage) -> None:
    client = await s.client()

    assert (await s.get(client, "/chunked"))[1] == b"5;ext=1\r\nhello\r\n4\r\n\r\n\r\n\r\n0\r\n\r\n"
    assert (await s.get(client, "/trailers"))[1] == b"3\r\nabc\r\n0\r\nX-Sum: 42\r\n\r\n"
    assert (await s.get(client, "/parts"))[1] == b"3\r\nabc\r\n0\r\n\r\n"
    client.send(s.request("/up", "Transfer-Encoding: chunked", method="POST", body=CHUNKS))
    assert (await client.answer())[1] == f"{s.web.name} POST /up 12".encode()
    assert s.web.trailers == [b"X-Sum: 1\r\n"]
    await s.is_fine(client)


@on_both_sides
async def test_answers_without_a_body_are_complete_with_their_head(s: Stage) -> None:
    client = await s.client()

    assert (await s.get(client, "/204"))[0].startswith(b"HTTP/1.1 204 ")
    assert b"Content-Length: 1000" in (await s.get(client, "/304"))[0]
    for path in ("/", "/no-length", "/bare"):
        assert (await s.get(client, path, method="HEAD"))[0].startswith(b"HTTP/1.1 200 ")
    await s.is_fine(client)
    assert s.web.connections == 1


@on_both_sides
async def test_a_body_after_head_is_not_passed_on(s: Stage) -> None:
    client = await s.client()

    await s.get(client, "/headbody", method="HEAD")
    await s.is_fine(client)


@on_both_sides
async def test_http_1_0(s: Stage) -> None:
    client = await s.client()
    lines = "".join(f"{line}\r\n" for line in s.lines).encode()
    client.send(b"GET /ten HTTP/1.0\r\n" + lines + b"Connection: keep-alive\r\n\r\n")
    assert (await client.answer())[1] == f"{s.web.name} GET /ten 0".encode()
    client.send(b"GET /ten HTTP/1.0\r\n" + lines + b"\r\n")
    assert (await client.rest()).endswith(f"{s.web.name} GET /ten 0".encode())


@on_both_sides
async def test_bodies_that_end_with_the_connection(s: Stage) -> None:
    for path, body in (("/eof", b"until the end"), ("/old", b"old"), ("/bye", b"bye")):
        client = await s.client()
        client.send(s.request(path))
        assert (await client.rest()).endswith(b"\r\n\r\n" + body)


@on_both_sides
async def test_who_wants_to_close_does_not_cost_an_upstream_connection(s: Stage) -> None:
    for i in range(5):
        client = await s.client()
        client.send(s.request(f"/{i}", "Connection: close"))
        answer = await client.rest()
        assert answer.endswith(f"{s.web.name} GET /{i} 0".encode())
        assert b"Connection: close\r\n" in answer

    assert s.web.connections == 1
    assert not any(b"close" in head for head in s.web.heads)


@on_both_sides
async def test_early_hints_pass_and_are_not_the_answer(s: Stage) -> None:
    client = await s.client()
    client.send(s.request("/early"))
    assert await client.head() == b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"
    s.web.go.set()
    assert (await client.answer())[1] == b"ok"

    client.send(s.request("/early?together"))
    assert b"103" in await client.head()
    assert (await client.answer())[1] == b"ok"
    await s.is_fine(client)


@on_both_sides
async def test_expect_is_between_the_ends(s: Stage) -> None:
    client = await s.client()
    client.send(s.request("/continue", "Expect: 100-continue", "Content-Length: 5", method="POST"))
    assert await client.head() == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.send(b"hello")
    assert (await client.answer())[1] == b"5"
    assert b"Expect: 100-continue" in s.web.heads[0]
    await s.is_fine(client)


@on_both_sides
async def test_an_event_passes_before_the_next_is_made(s: Stage) -> None:
    client = await s.client()
    client.send(s.request("/sse"))
    await client.head()
    assert await client.reader.readexactly(14) == b"9\r\ndata: 1\n\n\r\n"
    s.web.go.set()
    assert await client.reader.readexactly(19) == b"9\r\ndata: 2\n\n\r\n0\r\n\r\n"
    await s.is_fine(client)


@on_both_sides
async def test_a_head_passes_before_its_body_is_made(s: Stage) -> None:
    client = await s.client()
    client.send(s.request("/slow"))
    await client.head()
    s.web.go.set()
    assert await client.reader.readexactly(4) == b"late"


@on_both_sides
async def test_an_upload_is_streamed(s: Stage) -> None:
    client = await s.client()
    size = 20 << 20
    client.send(s.request("/up", f"Content-Length: {size}", method="POST"))
    client.send(b"x" * 1000)
    await until(lambda: s.web.uploaded == 1000)
    client.send(bytes(size - 1000))

    assert (await client.answer())[1] == f"{s.web.name} POST /up {size}".encode()
    await s.is_fine(client)


@on_both_sides
async def test_chunks_are_echoed_while_the_request_goes_on(s: Stage) -> None:
    client = await s.client()
    client.send(s.request("/echo", "Transfer-Encoding: chunked", method="POST"))
    await client.head()
    for chunk in (b"5\r\nhello\r\n", b"4\r\n\r\n\r\n\r\n", b"1\r\nx\r\n", b"0\r\n\r\n"):
        client.send(chunk)
        assert await client.reader.readexactly(len(chunk)) == chunk
    await s.is_fine(client)


@on_both_sides
async def test_a_refused_upload_is_told_so(s: Stage) -> None:
    client = await s.client()
    client.send(s.request("/413", "Content-Length: 50000000", method="POST", body=b"x" * 1000))
    assert (await client.answer())[1] == b"big"
    assert await client.rest() == b""


@on_both_sides
async def test_an_answer_before_the_request_is_complete_does_not_end_it(s: Stage) -> None:
    client = await s.client()
    client.send(s.request("/impatient", "Content-Length: 10", method="POST", body=b"12345"))
    assert (await client.answer())[1] == b"ready"
    client.send(b"67890" + s.request("/fine"))

    assert (await client.answer())[1] == f"{s.web.name} GET /fine 0".encode()
    assert s.web.bodies[0] == b"1234567890"
    assert s.web.connections == 1


@on_both_sides
async def test_long_and_odd_headers_pass_verbatim(s: Stage) -> None:
    client = await s.client()
    odd = ("under_score: 1", "X-Empty:", "hOsTs:  odd \t", "X-Dup: 1", "X-Dup: 2")
    sent = s.request("/?q=%zz", "X-Long: " + "x" * 30_000, *odd)
    client.send(sent)
    head, _ = await client.answer()
    assert s.web.heads[0] == sent
    assert b"X-Odd_name: kept\r\n" in head


@on_both_sides
async def test_upgrade_makes_a_pipe_with_half_close(s: Stage) -> None:
    client = await s.client()
    client.send(s.request("/upgrade", "Connection: Upgrade", "Upgrade: echo") + b"first ")
    assert b"101" in await client.head()
    client.send(b"second")
    assert await client.reader.readexactly(15) == b"hi first second"
    client.writer.write_eof()
    assert await client.rest() == b" bye"
    await until(s.router.is_left)
    stats = s.counted()
    assert (stats["open"], stats["requests"]) == (0, 1)


@on_both_sides
async def test_an_upgrade_that_is_not_taken_is_a_request_like_others(s: Stage) -> None:
    """Java's client sends `Upgrade: h2c` with each first request, bodies included."""
    client = await s.client()
    lines = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABk")
    client.send(s.request("/refused-upgrade", *lines, "Content-Length: 5", method="POST", body=b"12345"))
    assert (await client.answer())[1] == f"{s.web.name} POST /refused-upgrade 5".encode()
    client.send(s.request("/x", *lines, "Transfer-Encoding: chunked", method="POST", body=b"1\r\nx\r\n0\r\n\r\n"))
    client.send(s.request("/y"))
    assert (await client.answer())[1] == f"{s.web.name} POST /x 1".encode()
    assert (await client.answer())[1] == f"{s.web.name} GET /y 0".encode()


@on_both_sides
async def test_connect_makes_a_pipe(s: Stage) -> None:
    async def tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> bool:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        writer.write(await reader.read(100))
        return False

    s.web.at_hello = tunnel  # type: ignore[assignment]
    client = await s.client()
    client.send(s.request("db:5432", method="CONNECT"))
    assert b"200" in await client.head()
    client.send(b"\x00\x01")
    assert await client.rest() == b"\x00\x01"


@pytest.mark.in_process
@on_both_sides
async def test_a_large_answer_waits_for_a_client_that_does_not_read(s: Stage) -> None:
    client = await s.client()
    client.writer.transport.pause_reading()  # type: ignore[attr-defined]
    client.send(s.request("/large"))
    await until(lambda: s.web.uploaded > 0)
    before = -1
    while before != s.web.uploaded:
        before = s.web.uploaded
        await asyncio.sleep(0.1)
    (inside,) = s.router.core.clients
    assert inside.transport.get_write_buffer_size() <= 600_000  # type: ignore[attr-defined]
    client.writer.transport.resume_reading()  # type: ignore[attr-defined]
    assert len((await client.answer())[1]) == LARGE
    await s.is_fine(client)


@on_both_sides
async def test_a_half_closed_client_gets_its_answers(s: Stage) -> None:
    client = await s.client()
    client.send(s.request("/1") + s.request("/2"))
    client.writer.write_eof()
    answers = await client.rest()
    assert answers.count(b"HTTP/1.1 200 OK") == 2
    assert answers.endswith(f"{s.web.name} GET /2 0".encode())
    await until(s.router.is_left)


@on_both_sides
async def test_an_upstream_learns_that_its_client_has_gone(s: Stage) -> None:
    client = await s.client()
    client.send(s.request("/sse"))
    await client.head()
    linger = struct.pack("ii", 1, 0)  # a reset: after a mere end it would still get its answer
    client.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    client.writer.transport.abort()
    await until(s.router.is_left)
    s.web.go.set()
    await asyncio.wait_for(s.web.eof_seen.wait(), 5)
