"""A WebSocket server on loopback that answers as API server and kubelet do for pods/portforward."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http import HTTPStatus

from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import Server, ServerConnection, serve
from websockets.typing import Subprotocol

V4 = Subprotocol("v4.channel.k8s.io")


@dataclass
class Kubelet:
    """Pods by name: each a function that gets the stream after the two frames that name the port."""

    pods: dict[str, Callable[[ServerConnection], None]] = field(default_factory=dict)
    paths: list[str] = field(default_factory=list)
    refuses: tuple[int, str] | None = None
    port: int = 0

    def screen(self, connection: ServerConnection, request: Request) -> Response | None:
        self.paths.append(request.path)
        if self.refuses is not None:
            status, said = self.refuses
            return connection.respond(HTTPStatus(status), json.dumps({"kind": "Status", "message": said}))
        if self._pod(request.path) not in self.pods:
            said = f'pods "{self._pod(request.path)}" not found'
            return connection.respond(HTTPStatus.NOT_FOUND, json.dumps({"kind": "Status", "message": said}))
        return None

    def handle(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        named = int(connection.request.path.rpartition("=")[2]).to_bytes(2, "little")
        with contextlib.suppress(ConnectionClosed, OSError):
            connection.send(b"\0" + named)
            connection.send(b"\1" + named)
            self.pods[self._pod(connection.request.path)](connection)

    def _pod(self, path: str) -> str:
        return path.split("/pods/")[1].split("/")[0]


@contextlib.contextmanager
def running(*, tls: ssl.SSLContext | None = None) -> Iterator[Kubelet]:
    kubelet = Kubelet()
    server: Server
    with serve(
        kubelet.handle,
        "127.0.0.1",
        0,
        ssl=tls,
        subprotocols=[V4],
        process_request=kubelet.screen,
        compression=None,
        max_size=None,
        ping_interval=None,
    ) as server:
        kubelet.port = server.socket.getsockname()[1]
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield kubelet
        finally:
            server.shutdown()
            thread.join()


def echo(connection: ServerConnection) -> None:
    for message in connection:
        connection.send(message)


def port_of(port: int) -> Callable[[ServerConnection], None]:
    """A pod in which something listens: bytes go there and back, in messages of at most 32 KiB as the kubelet's."""

    def handle(connection: ServerConnection) -> None:
        with socket.create_connection(("127.0.0.1", port)) as inner:

            def back() -> None:
                with contextlib.suppress(ConnectionClosed, OSError):
                    while data := inner.recv(32 * 1024):
                        connection.send(b"\0" + data)
                connection.close()

            thread = threading.Thread(target=back)
            thread.start()
            with contextlib.suppress(OSError):
                for message in connection:
                    assert isinstance(message, bytes)
                    inner.sendall(message[1:])
            with contextlib.suppress(OSError):
                inner.shutdown(socket.SHUT_RDWR)
            thread.join()

    return handle
