"""Laptop programs and cluster callers for the loopback tests: plain blocking sockets in threads."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator

CHUNK = os.urandom(1 << 20)


@contextlib.contextmanager
def serving(handle: Callable[[socket.socket], None]) -> Iterator[int]:
    """A program of the laptop that gives each connection to HANDLE in a thread; its port."""
    server = socket.create_server(("127.0.0.1", 0), backlog=512)
    threads: list[threading.Thread] = []

    def one(peer: socket.socket) -> None:
        with peer, contextlib.suppress(ConnectionError):
            handle(peer)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                peer, _ = server.accept()
                threads.append(threading.Thread(target=one, args=(peer,), daemon=True))
                threads[-1].start()
                threads[:] = [thread for thread in threads if thread.is_alive()]

    accepting = threading.Thread(target=accept, daemon=True)
    accepting.start()
    try:
        yield server.getsockname()[1]
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        accepting.join()
        for thread in threads:
            thread.join(10)


def call(port: int) -> socket.socket:
    """A caller in the cluster."""
    return socket.create_connection(("127.0.0.1", port), 20)


def echo(peer: socket.socket) -> None:
    while data := peer.recv(65536):
        peer.sendall(data)


def send(peer: socket.socket, megabytes: int) -> None:
    for _ in range(megabytes):
        peer.sendall(CHUNK)


def digest(peer: socket.socket) -> tuple[int, str]:
    """Everything until FIN: how much, and its hash."""
    size, sha = 0, hashlib.sha256()
    while data := peer.recv(1 << 20):
        size += len(data)
        sha.update(data)
    return size, sha.hexdigest()


def expected(megabytes: int) -> tuple[int, str]:
    sha = hashlib.sha256()
    for _ in range(megabytes):
        sha.update(CHUNK)
    return megabytes << 20, sha.hexdigest()


def source(megabytes: int) -> Callable[[socket.socket], None]:
    return lambda peer: send(peer, megabytes)


def sink(peer: socket.socket) -> None:
    """Answers with size and hash of what it got."""
    size, sha = digest(peer)
    peer.sendall(f"{size} {sha}".encode())


def reset(peer: socket.socket) -> None:
    """Close with RST."""
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


def until(what: Callable[[], bool], seconds: float = 10.0) -> bool:
    """Whether WHAT comes true in time."""
    end = time.monotonic() + seconds
    pause = threading.Event()
    while not what():
        if time.monotonic() > end:
            return False
        pause.wait(0.01)
    return True
