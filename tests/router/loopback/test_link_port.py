"""A share link's port: bound from the start, claimed by a table, and all its requests get the row's headers."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from harness import Router, fetch, free_port, origin, router, row, table, wait_for

ADD = {"version": "ana", "baggage": "user=ana"}


@contextmanager
def telling(name: str) -> Iterator[str]:
    """A server that says NAME and every `version` and `baggage` that it was asked with."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = " ".join([name, *(value for key in ADD for value in self.headers.get_all(key, []))]).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def with_link(default: str, *rows: dict[str, Any], spare: int, raw: bool = True) -> dict[str, Any]:
    made = table(default, rows)
    made["ports"].append({"listen": spare, "default": default, "raw": raw})
    return made


def link_row(to: str, spare: int, **more: Any) -> dict[str, Any]:
    return {**row("ana", to), "id": "ana-link", "match": [], "to": {str(spare): to}, "add": ADD, **more}


@pytest.fixture
def spare() -> int:
    return free_port()


def claimed(running: Router, rows: list[dict[str, Any]], version: int = 2) -> None:
    ports = [running.first["ports"][0], {**running.first["ports"][1], "raw": False}]
    running.put(running.table(version=version, rows=rows, ports=ports))


def test_a_port_that_is_claimed_marks_its_requests_and_others_are_left_as_they_are(spare: int) -> None:
    with telling("original") as default, telling("mine") as mine:
        rows = [row("ana", mine), link_row(mine, spare)]
        with router(with_link(default, row("ana", mine), spare=spare), workers=2) as running:
            assert fetch(spare).body == b"original", "nobody has claimed it yet"
            claimed(running, rows)
            for _ in range(4):  # of either worker
                assert fetch(spare).body == b"mine ana user=ana"
                assert fetch(spare, headers={"version": "bob"}).body == b"mine ana user=ana", "it is set, not added"
                assert fetch(running.port).body == b"original"
                assert fetch(running.port, headers={"version": "ana"}).body == b"mine ana"
            claimed(running, rows[:1], version=3)
            assert fetch(spare).body == b"original", "it is nobody's again"


@pytest.mark.parametrize(("strict", "answer"), [(False, (200, b"original ana user=ana")), (True, (502, None))])
def test_without_the_laptop_the_cluster_answers_marked_requests_unless_it_is_strict(
    spare: int, strict: bool, answer: tuple[int, bytes | None]
) -> None:
    gone = f"127.0.0.1:{free_port()}"
    with telling("original") as default:
        first = with_link(default, link_row(gone, spare, strict=strict), spare=spare, raw=False)
        with router(first) as running:
            got = fetch(spare)
            assert (got.status, got.body if answer[1] else None) == answer
            counted = running.control("GET", "/stats").json()["rows"]["ana-link"]
            assert (counted["fallbacks"], counted["errors"]) == (int(not strict), int(strict))


def test_bytes_that_are_no_http_come_to_the_laptop_as_they_are(spare: int) -> None:
    with origin() as default, socket.create_server(("127.0.0.1", 0)) as mine:
        first = with_link(default, link_row(f"127.0.0.1:{mine.getsockname()[1]}", spare), spare=spare, raw=False)
        with router(first), socket.create_connection(("127.0.0.1", spare), 5) as client:
            client.sendall(b"*1\r\n$4\r\nPING\r\n")
            taken = wait_for(lambda: mine.accept()[0], "the laptop is asked")
            with taken:
                assert taken.recv(100) == b"*1\r\n$4\r\nPING\r\n"
