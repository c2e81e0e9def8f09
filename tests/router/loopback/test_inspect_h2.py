"""HTTP/2 without TLS passes the inspector too, on both its sides."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import urllib.request
from collections.abc import Iterator

import h2.config
import h2.connection
import h2.events
from harness import SECONDS, free_port, origin, router, row, table


def serve(client: socket.socket) -> None:
    """Every request is answered with the path that it asked for."""
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
    connection.initiate_connection()
    client.sendall(connection.data_to_send())
    paths: dict[int, str] = {}
    while data := client.recv(65536):
        for event in connection.receive_data(data):
            if isinstance(event, h2.events.RequestReceived):
                paths[event.stream_id] = dict(event.headers)[":path"]
            elif isinstance(event, h2.events.StreamEnded):
                connection.send_headers(event.stream_id, [(":status", "200")])
                connection.send_data(event.stream_id, paths[event.stream_id].encode())
                connection.send_headers(event.stream_id, [("grpc-status", "0")], end_stream=True)
        client.sendall(connection.data_to_send())


@contextlib.contextmanager
def h2_origin() -> Iterator[str]:
    """A server that speaks nothing but HTTP/2."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    client, _ = server.accept()
                    threading.Thread(target=one, args=(client,), daemon=True).start()

        def one(client: socket.socket) -> None:
            with client, contextlib.suppress(OSError):
                serve(client)

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def ask(port: int, headers: list[tuple[str, str]]) -> tuple[str, bytes, str]:
    """Status, body, and the trailer `grpc-status` of one request."""
    connection = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
    connection.initiate_connection()
    start = [(":method", "POST"), (":scheme", "http"), (":authority", "shop"), (":path", "/shop.Cart/Get")]
    connection.send_headers(1, [*start, ("content-type", "application/grpc"), ("te", "trailers"), *headers])
    connection.send_data(1, b"\0\0\0\0\0", end_stream=True)
    status, body, trailer = "", b"", ""
    with socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as server:
        server.sendall(connection.data_to_send())
        while data := server.recv(65536):
            for event in connection.receive_data(data):
                if isinstance(event, h2.events.ResponseReceived):
                    status = dict(event.headers)[":status"]
                elif isinstance(event, h2.events.DataReceived):
                    body += event.data
                elif isinstance(event, h2.events.TrailersReceived):
                    trailer = dict(event.headers)["grpc-status"]
                elif isinstance(event, h2.events.StreamEnded):
                    return status, body, trailer
            server.sendall(connection.data_to_send())
    raise AssertionError(f"the connection ended after {status!r}, {body!r}")


def test_a_grpc_call_is_answered_and_seen(tmp_path):
    web = free_port()
    flags = ("--inspect-web-port", str(web))
    with origin() as default, h2_origin() as mine, router(table(default), flags=flags, folder=tmp_path) as running:
        running.put(running.table(version=2, rows=[row("seen", mine, inspect=True)]))

        assert ask(running.port, [("version", "seen")]) == ("200", b"/shop.Cart/Get", "0")

        token = (tmp_path / "run" / "inspect.token").read_text().strip()
        page = urllib.request.Request(f"http://127.0.0.1:{web}/flows", headers={"Authorization": f"Bearer {token}"})
        with urllib.request.urlopen(page, timeout=SECONDS) as answer:
            (flow,) = json.load(answer)
        assert (flow["request"]["path"], flow["request"]["http_version"]) == ("/shop.Cart/Get", "HTTP/2.0")
