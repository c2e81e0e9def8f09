"""nginx behind, h2load and wrk before: files, many streams, and no request that fails."""

from __future__ import annotations

import hashlib
import os
import re

import pytest
from harness import free_port
from programs import nginx, output

BIG = os.urandom(30_000_000)


def test_files_of_nginx(through, tmp_path) -> None:
    with nginx(free_port(), tmp_path, BIG) as address, through(address) as routed:
        words = ["curl", "-sS", "-m", "30", *routed.curl_headers()]
        assert hashlib.sha256(output(*words, routed.url)).digest() == hashlib.sha256(BIG).digest()
        assert output(*words, "-r", "1000-1999", routed.url) == BIG[1000:2000]
        head = output(*words, "-I", routed.url)
        tag = re.search(rb"(?i)etag: (\S+)", head)
        assert tag
        not_modified = output(*words, "-D", "-", "-H", b"If-None-Match: %b" % tag[1], routed.url)  # type: ignore[arg-type]
        assert not_modified.startswith(b"HTTP/1.1 304 ")
        assert b"404" in output(*words, "-D", "-", f"{routed.url}/nothing").split(b"\r\n")[0]


def test_wrk_sees_no_error(through, tmp_path) -> None:
    with nginx(free_port(), tmp_path, b"x" * 1024) as address, through(address) as routed:
        said = output("wrk", "-t1", "-c32", "-d2", "--latency", *routed.curl_headers(), routed.url).decode()

    assert "Non-2xx" not in said
    assert "Socket errors" not in said
    assert int(re.findall(r"(\d+) requests in", said)[0]) > 500


@pytest.mark.parametrize(("connections", "streams"), [(1, 1), (4, 32), (16, 100)])
def test_h2load_sees_no_error(through, tmp_path, connections: int, streams: int) -> None:
    with nginx(free_port(), tmp_path, b"x" * 1024, h2=True) as address, through(address) as routed:
        words = ["h2load", "-n3000", f"-c{connections}", f"-m{streams}", "-T20", *routed.curl_headers(), routed.url]
        said = output(*words).decode()

    assert "3000 succeeded, 0 failed, 0 errored, 0 timeout" in said
    assert "3000 2xx" in said


@pytest.mark.parametrize(("path", "size"), [("/", len(BIG))])
def test_a_large_file_by_http2(through, tmp_path, path: str, size: int) -> None:
    with nginx(free_port(), tmp_path, BIG, h2=True) as address, through(address) as routed:
        got = output("curl", "-sS", "-m", "30", "--http2-prior-knowledge", *routed.curl_headers(), routed.url + path)

    assert len(got) == size
    assert hashlib.sha256(got).digest() == hashlib.sha256(BIG).digest()
