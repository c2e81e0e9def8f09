"""curl against hypercorn: uploads, heads, old HTTP, trailers, HTTP/2 with prior knowledge."""

from __future__ import annotations

import hashlib
import json
import os
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import free_port
from programs import hypercorn, output

UPLOAD = os.urandom(20_000_000)


@pytest.fixture(scope="module")
def routed(through, tmp_path_factory):
    folder: Path = tmp_path_factory.mktemp("curl")
    with hypercorn(free_port(), folder) as address, through(address) as made:
        made.upload = folder / "upload"
        made.upload.write_bytes(UPLOAD)
        yield made


def curl(routed, path: str, *words: str, stdin: bytes | None = None) -> bytes:
    return output("curl", "-sS", "--max-time", "30", *routed.curl_headers(), *words, routed.url + path, stdin=stdin)


def test_an_upload_that_waits_for_100_continue(routed) -> None:
    words = ("-T", str(routed.upload), "-H", "Expect: 100-continue", "--expect100-timeout", "20", "-D", "-")
    head, _, body = curl(routed, "/hash", *words).rpartition(b"\r\n\r\n")

    assert head.startswith(b"HTTP/1.1 100 ")
    assert json.loads(body)["sha256"] == hashlib.sha256(UPLOAD).hexdigest()


def test_an_upload_in_chunks(routed) -> None:
    seen = json.loads(curl(routed, "/hash", "-T", "-", "-H", "Expect:", stdin=UPLOAD))

    assert seen["sha256"] == hashlib.sha256(UPLOAD).hexdigest()
    assert ["transfer-encoding", "chunked"] in [[name.lower(), value.lower()] for name, value in seen["headers"]]


def test_the_head_alone(routed) -> None:
    head = curl(routed, "/bytes/1000", "--head")

    assert head.startswith(b"HTTP/1.1 200")
    assert b"content-length: 1000\r\n" in head.lower()


@pytest.mark.parametrize("version", ["--http1.0", "--http1.1", "--http2-prior-knowledge"])
def test_each_version_of_http(routed, version: str) -> None:
    assert len(curl(routed, "/bytes/1000000", version)) == 1_000_000
    seen = json.loads(curl(routed, "/hash", version, "--data-binary", f"@{routed.upload}"))
    assert seen["sha256"] == hashlib.sha256(UPLOAD).hexdigest()


def test_the_host_is_as_it_was_sent(routed) -> None:
    seen = json.loads(curl(routed, "/", "-H", "Host: shop.example:81", "-H", "with_underscore: 1"))

    assert ["host", "shop.example:81"] in seen["headers"]
    assert ["with_underscore", "1"] in seen["headers"]
    assert not [name for name, _ in seen["headers"] if "forwarded" in name.lower()]


def test_a_header_of_thirty_kilobytes(routed) -> None:
    seen = json.loads(curl(routed, "/", "-H", "x-long: " + "a" * 30_000))

    assert len(dict(map(tuple, seen["headers"]))["x-long"]) == 30_000


def test_events_come(routed) -> None:
    assert curl(routed, "/events", "-N") == b"data: 0\n\ndata: 1\n\ndata: 2\n\n"


def test_many_requests_on_one_connection(routed) -> None:
    got = output("curl", "-sS", *routed.curl_headers(), f"{routed.url}/bytes/[1-300]")

    assert len(got) == 300 * 301 // 2


class Trailers(socketserver.StreamRequestHandler):
    """Answers in chunks, with a trailer field, after an interim answer."""

    def handle(self) -> None:
        while (line := self.rfile.readline()) not in (b"\r\n", b""):
            assert line
        self.wfile.write(
            b"HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n"
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n"
            b"5\r\nhello\r\n0\r\nx-sum: 42\r\n\r\n"
        )


@pytest.fixture
def trailing() -> Iterator[str]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Trailers) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_trailers_and_early_hints_arrive(trailing: str, through) -> None:
    with through(trailing) as routed:
        got = curl(routed, "/", "-D", "-")

    assert got.startswith(b"HTTP/1.1 103 ")
    assert b"x-sum: 42" in got
    assert b"hello" in got
