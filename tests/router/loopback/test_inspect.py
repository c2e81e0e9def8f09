"""Rows that ask for it pass mitmproxy's own HTTP stack, in a process that is there only as long as it is wanted."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
from harness import fetch, free_port, origin, router, row, table, wait_for
from mitmproxy import version
from processes import descendants, title

from ktpy_router.inspect import connect_via


def flows(web_port: int, token: str) -> list[dict[str, object]]:
    """What the web page shows, as its program asks for it."""
    request = urllib.request.Request(f"http://127.0.0.1:{web_port}/flows", headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        found: list[dict[str, object]] = json.load(answer)
        return found


def test_only_requests_of_inspected_rows_are_seen_and_only_with_the_token(tmp_path):
    web = free_port()
    flags = ("--inspect-web-port", str(web), "--inspect-flows", "3")
    with origin() as default, origin(b"mine") as mine, router(table(default), flags=flags, folder=tmp_path) as running:
        assert "inspect" not in children(running), "nobody has asked for it"
        rows = [row("seen", mine, inspect=True), row("plain", mine)]
        running.put(running.table(version=2, rows=rows))

        for path in ("/1", "/2"):
            assert fetch(running.port, path, headers={"version": "seen"}).body == b"mine"
        assert fetch(running.port, "/plain", headers={"version": "plain"}).body == b"mine"
        assert fetch(running.port, "/original").body == b"original"

        token = (tmp_path / "run" / "inspect.token").read_text().strip()
        assert [flow["request"]["path"] for flow in flows(web, token)] == ["/1", "/2"]
        for bad in ("", "x" * 32):
            assert is_refused(web, bad)

        for path in ("/3", "/4", "/5"):
            fetch(running.port, path, headers={"version": "seen"})
        assert [flow["request"]["path"] for flow in flows(web, token)] == ["/3", "/4", "/5"]

        running.put(running.table(version=3, rows=[row("plain", mine)]))
        wait_for(lambda: "inspect" not in children(running), "its end")


def is_refused(web_port: int, token: str) -> bool:
    """mitmproxy 11, which only the tests meet, asks for no token."""
    if version.VERSION.startswith("11."):
        return True
    with pytest.raises(urllib.error.HTTPError) as refused:
        flows(web_port, token)
    with refused.value:
        return refused.value.code == 403


def children(running) -> set[str]:
    return {title(pid) for pid in descendants(running.pid)}


def test_a_dead_inspector_is_replaced_and_rows_fall_back_meanwhile():
    with origin() as default, origin(b"mine") as mine, router(table(default)) as running:
        running.put(running.table(version=2, rows=[row("seen", mine, inspect=True)]))
        before = running.helper("inspect")
        os.kill(before, signal.SIGKILL)

        assert fetch(running.port, headers={"version": "seen"}).status == 200
        wait_for(lambda: running.helper("inspect") != before)
        wait_for(lambda: fetch(running.port, headers={"version": "seen"}).body == b"mine")


def test_an_inspected_row_whose_upstream_is_down_falls_back():
    with origin() as default, router(table(default)) as running:
        running.put(running.table(version=2, rows=[row("seen", f"127.0.0.1:{free_port()}", inspect=True)]))

        assert fetch(running.port, headers={"version": "seen"}).body == b"original"


class Collect(asyncio.Protocol):
    """Keeps what comes."""

    def __init__(self) -> None:
        self.data = b""
        self.ended = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        self.data += data

    def connection_lost(self, error: Exception | None) -> None:
        self.ended.set_result(None)


class Buffered(asyncio.BufferedProtocol):
    """The same, three bytes at a time."""

    def __init__(self) -> None:
        self.data = b""
        self.ended = asyncio.get_running_loop().create_future()
        self._buffer = bytearray(3)

    def get_buffer(self, sizehint: int) -> bytearray:
        return self._buffer

    def buffer_updated(self, count: int) -> None:
        self.data += self._buffer[:count]

    def connection_lost(self, error: Exception | None) -> None:
        self.ended.set_result(None)


@contextlib.contextmanager
def proxy(answer: bytes) -> Iterator[tuple[str, int]]:
    """Reads nothing, says ANSWER in one piece, and closes."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            client, _ = server.accept()
            with client:
                client.sendall(answer)
                client.shutdown(socket.SHUT_WR)
                while client.recv(1000):
                    pass

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()
        thread.join()


@pytest.mark.parametrize("protocol", [Collect, Buffered])
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_bytes_right_behind_the_socks_answer_reach_the_protocol(protocol, loop):
    async def run(where: tuple[str, int]) -> bytes:
        running = asyncio.get_running_loop()
        transport, made = await connect_via(running, where, ("10.0.0.9", 80), protocol)
        await made.ended
        transport.abort()
        return made.data

    with proxy(b"\x05\x00\x05\x00\x00\x01" + bytes(6) + b"220 hello\r\n") as where:
        if loop == "uvloop":
            uvloop = pytest.importorskip("uvloop")
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                assert runner.run(run(where)) == b"220 hello\r\n"
        else:
            assert asyncio.run(run(where)) == b"220 hello\r\n"


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"\x05\x00\x05\x05\x00\x01" + bytes(6), ConnectionRefusedError),
        (b"\x05\x00\x05\x04\x00\x01" + bytes(6), OSError),
        (b"\x05\x00\x05", ConnectionResetError),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", ValueError),
    ],
)
def test_a_proxy_that_cannot_or_is_none_is_an_error(answer, error):
    async def run(where: tuple[str, int]) -> None:
        await connect_via(asyncio.get_running_loop(), where, ("10.0.0.9", 80), Collect)

    with proxy(answer) as where, pytest.raises(error):
        asyncio.run(run(where))
