"""Ways to the sshd that a test can cut or silence."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from typing import Any


class Wires:
    """A dial function for the tunnel that remembers its wires."""

    def __init__(self, port: Callable[[], int]) -> None:
        self._port = port
        self._made: list[tuple[asyncio.AbstractEventLoop, asyncio.Transport]] = []
        self.count = 0
        self.error: Exception | None = None

    async def __call__(self, factory: Callable[[], asyncio.Protocol]) -> tuple[Any, Any]:
        if self.error is not None:
            raise self.error
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.create_connection(factory, "127.0.0.1", self._port())
        self._made.append((loop, transport))
        self.count += 1
        return transport, protocol

    def cut(self) -> None:
        loop, transport = self._made[-1]
        loop.call_soon_threadsafe(transport.abort)

    def silence(self) -> None:
        """Nothing is heard any more, and nobody says so."""
        loop, transport = self._made[-1]
        loop.call_soon_threadsafe(transport.pause_reading)


class Middle:
    """Stands for API server and kubelet: TCP in between, which can lose the laptop without telling sshd.

    frozen: nothing passes, and the laptop's end is not passed on. When sshd then sends, the laptop's kernel would
    answer RST: that connection to sshd is closed.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self._frozen: list[threading.Event] = []
        self._sockets: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def freeze(self) -> None:
        for event in self._frozen:
            event.set()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._server.accept()
                far = socket.create_connection(("127.0.0.1", self._target))
                frozen = threading.Event()
                self._frozen.append(frozen)
                self._sockets += [near, far]
                threading.Thread(target=self._to_sshd, args=(near, far, frozen), daemon=True).start()
                threading.Thread(target=self._to_laptop, args=(near, far, frozen), daemon=True).start()

    def _to_sshd(self, near: socket.socket, far: socket.socket, frozen: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := near.recv(65536):
                if not frozen.is_set():
                    far.sendall(data)
        if not frozen.is_set():
            _end(far)

    def _to_laptop(self, near: socket.socket, far: socket.socket, frozen: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := far.recv(65536):
                if frozen.is_set():
                    break
                near.sendall(data)
        _end(far)
        _end(near)

    def __enter__(self) -> Middle:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        for each in self._sockets:
            _end(each)


def _end(peer: socket.socket) -> None:
    with contextlib.suppress(OSError):
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.shutdown(socket.SHUT_RDWR)
    peer.close()
