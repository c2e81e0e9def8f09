"""The fault-injecting proxy itself, before a small server that speaks HTTP like the API server does."""

from __future__ import annotations

import contextlib
import http.server
import json
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.harness.apiproxy import ApiProxy, anything, api_proxies, nth, of

GET = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1]).read())"


class Upstream(http.server.BaseHTTPRequestHandler):
    """Tells the path and the token; a watch in two chunks; an upgrade that echoes."""

    protocol_version = "HTTP/1.1"
    seen: list[str]

    def do_GET(self) -> None:
        self.seen.append(self.path)
        if "watch=true" in self.path:
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"4\r\none\n\r\n4\r\ntwo\n\r\n0\r\n\r\n")
        elif self.headers.get("Upgrade"):
            self.send_response(101)
            self.end_headers()
            self.close_connection = True
            while data := self.connection.recv(65536):
                self.connection.sendall(data)
        else:
            body = json.dumps([self.path, self.headers.get("Authorization")]).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def upstream() -> Iterator[tuple[str, list[str]]]:
    seen: list[str] = []
    handler = type("Handler", (Upstream,), {"seen": seen})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", seen
        server.shutdown()
        thread.join()


@pytest.fixture
def proxy(upstream: tuple[str, list[str]], tmp_path: Path) -> Iterator[ApiProxy]:
    config = tmp_path / "config"
    config.write_text(json.dumps({
        "current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "k"}}],
        "clusters": [{"name": "k", "cluster": {"server": upstream[0]}}],
    }))  # fmt: skip
    with api_proxies(config, 1) as (proxy,):
        yield proxy


def ask(proxy: ApiProxy, path: str) -> object:
    request = urllib.request.Request(proxy.address + path, headers={"Authorization": "Bearer ana"})
    with urllib.request.urlopen(request, timeout=5) as answer:
        return json.loads(answer.read())


def asker(proxy: ApiProxy, path: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-c", GET, proxy.address + path], stdout=subprocess.PIPE)
    proxy.victim(process.pid)
    return process


def test_calls_pass_with_their_token_and_are_counted(proxy: ApiProxy) -> None:
    assert ask(proxy, "/api/a?x=1") == ["/api/a?x=1", "Bearer ana"]
    assert ask(proxy, "/api/b") == ["/api/b", "Bearer ana"]
    assert [tuple(call) for call in proxy.calls] == [(1, "GET", "/api/a", "x=1"), (2, "GET", "/api/b", "")]


def test_a_kill_after_a_call_lets_it_reach_the_server(proxy: ApiProxy, upstream: tuple[str, list[str]]) -> None:
    proxy.kill_after(nth(1))
    process = asker(proxy, "/done")
    assert (process.communicate()[0], process.returncode) == (b"", -signal.SIGKILL)
    assert upstream[1] == ["/done"]


def test_a_kill_before_a_call_keeps_it_from_the_server(proxy: ApiProxy, upstream: tuple[str, list[str]]) -> None:
    proxy.kill_before(nth(1))
    process = asker(proxy, "/never")
    assert (process.communicate()[0], process.returncode) == (b"", -signal.SIGKILL)
    assert upstream[1] == []


def test_a_held_call_waits_until_it_is_let_go(proxy: ApiProxy, upstream: tuple[str, list[str]]) -> None:
    hold = proxy.hold(of("GET", "/slow"))
    with asker(proxy, "/slow") as process:
        assert hold.reached.result(5).path == "/slow"
        assert upstream[1] == []
        hold.release()
        assert b"/slow" in process.communicate()[0]


def test_calls_can_be_answered_or_reset_in_the_servers_stead(proxy: ApiProxy) -> None:
    proxy.answer(anything, 429)
    with pytest.raises(urllib.error.HTTPError, match="429"):
        ask(proxy, "/")
    proxy.reset(anything)
    with pytest.raises(OSError, match="reset"):
        ask(proxy, "/")
    assert ask(proxy, "/")


def test_a_watch_passes_chunk_by_chunk(proxy: ApiProxy) -> None:
    with urllib.request.urlopen(proxy.address + "/w?watch=true", timeout=5) as answer:
        assert answer.read() == b"one\ntwo\n"


def test_an_upgraded_stream_passes_byte_for_byte_and_can_be_cut(proxy: ApiProxy) -> None:
    host, port = proxy.address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=5) as stream:
        stream.sendall(b"GET /up HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        head = b""
        while b"\r\n\r\n" not in head:
            head += stream.recv(1)
        stream.sendall(bytes(range(256)))
        echo = b""
        while len(echo) < 256:
            echo += stream.recv(256)
        assert echo == bytes(range(256))
        assert proxy.cut_streams() == 1
        with pytest.raises(ConnectionResetError):
            stream.recv(1)


def test_leaving_ends_what_is_still_open(upstream: tuple[str, list[str]], proxy: ApiProxy) -> None:
    with contextlib.closing(socket.create_connection(proxy.address.removeprefix("http://").split(":"))) as stream:
        stream.sendall(b"GET /half")
