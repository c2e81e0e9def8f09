"""The router's bench: peers in their own processes. `ws` and `sink` serve; `down`, `up`, `paced`, `messages` load."""

from __future__ import annotations

import asyncio
import json
import selectors
import socket
import statistics
import sys
import time

import uvloop

HEAD = (
    b"Host: shop.example\r\nUser-Agent: bench/1.0\r\nAccept: application/json, text/plain, */*\r\n"
    b"Accept-Language: en-GB,en;q=0.8\r\nAccept-Encoding: gzip, deflate, br\r\nCookie: session=%b; theme=dark\r\n"
    b"Referer: http://shop.example/catalogue/page/7\r\nx-request-id: 0b5c8a4e-7d0f-4a53-9b1e-0f5a7a1b2c3d\r\n"
    % (b"a" * 120)
)
GET = b"GET /item HTTP/1.1\r\n" + HEAD + b"\r\n"
UPGRADE = (
    b"GET / HTTP/1.1\r\n"
    + HEAD
    + (
        b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
)
SWITCHED = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)
MESSAGE = (
    bytes((0x82, 0x80 | 58, 0, 0, 0, 0)) + b"m" * 58
)  # one masked binary frame of 64 bytes (RFC 6455, section 5.2)
BLOCK = 262144
TURNS = 8


class WsOrigin(asyncio.Protocol):
    """Switches, then sends back what it gets."""

    def __init__(self) -> None:
        self.switched = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        if not self.switched:
            self.switched = True
            data = SWITCHED
        self.transport.write(data)


class Sink(asyncio.BufferedProtocol):
    """Takes bodies of a declared length and says so."""

    def __init__(self) -> None:
        self.buffer = bytearray(BLOCK)
        self.head = b""
        self.left = -1

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]

    def get_buffer(self, hint: int) -> bytearray:
        return self.buffer

    def buffer_updated(self, size: int) -> None:
        if self.left < 0:
            self.head += self.buffer[:size]
            end = self.head.find(b"\r\n\r\n")
            if end < 0:
                return
            length = self.head.lower().split(b"content-length:")[1].split(b"\r\n")[0]
            self.left = int(length) - (len(self.head) - end - 4)
            self.head = b""
        else:
            self.left -= size
        if self.left == 0:
            self.left = -1
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


async def serve(kind: str, port: int) -> None:
    server = await asyncio.get_running_loop().create_server(WsOrigin if kind == "ws" else Sink, "127.0.0.1", port)
    await server.serve_forever()


class Talker(asyncio.Protocol):
    """Sends a message when the last has come back."""

    def __init__(self, counts: list[float]) -> None:
        self.counts = counts
        self.switched = False
        self.waits = 0
        self.since = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]
        self.transport.write(UPGRADE)

    def data_received(self, data: bytes) -> None:
        if not self.switched:
            assert data.startswith(b"HTTP/1.1 101 "), data
            self.switched = True
        elif (waits := self.waits - len(data)) > 0:
            self.waits = waits
            return
        else:
            self.counts.append(time.perf_counter() - self.since)
        self.waits = len(MESSAGE)
        self.since = time.perf_counter()
        self.transport.write(MESSAGE)


async def messages(port: int, seconds: float, connections: int) -> dict[str, float]:
    counts: list[float] = []
    loop = asyncio.get_running_loop()
    made = [await loop.create_connection(lambda: Talker(counts), "127.0.0.1", port) for _ in range(connections)]
    counts.clear()
    started = time.perf_counter()
    await asyncio.sleep(seconds)
    rate = len(counts) / (time.perf_counter() - started)
    for transport, _ in made:
        transport.abort()
    return {"rate": rate, "count": len(counts), **percentiles(counts)}


def transfer(way: str, port: int, size: int) -> dict[str, float]:
    """One body; MB/s as the rate."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as s:
        started = time.perf_counter()
        if way == "down":
            s.sendall(b"GET /big HTTP/1.1\r\n" + HEAD + b"Connection: close\r\n\r\n")
            buffer, got = bytearray(BLOCK), 0
            while got < size and (count := s.recv_into(buffer)):
                got += count
            assert got >= size, (got, bytes(buffer[:300]))
        else:
            s.sendall(b"POST / HTTP/1.1\r\n" + HEAD + b"Content-Length: %d\r\n\r\n" % size)
            block, left = bytes(BLOCK), size
            while left:
                left -= s.send(block[: min(left, BLOCK)])
            answer = s.recv(1000)
            assert answer.startswith(b"HTTP/1.1 200 "), answer
        return {"rate": size / 1e6 / (time.perf_counter() - started), "count": size / 1e6}


def paced(port: int, seconds: float, per_second: int, burst: int) -> dict[str, float]:
    """Open loop: a burst at fixed times, each request of it on another connection, whatever became of the last one.

    The connections take turns, so that none is asked twice at once unless the proxy is far behind.
    """
    sockets = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(burst * TURNS)]
    turn = 0
    ready = selectors.DefaultSelector()
    sent: dict[socket.socket, list[float]] = {s: [] for s in sockets}
    took: list[float] = []
    for s in sockets:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        ready.register(s, selectors.EVENT_READ)
    step, due = burst / per_second, time.perf_counter()
    end = due + seconds
    while due < end or any(sent.values()):
        now = time.perf_counter()
        assert now < end + 10, "answers are missing"
        if now >= due and due < end:
            for s in sockets[turn * burst : (turn + 1) * burst]:
                sent[s].append(due)
                s.sendall(GET)
            turn = (turn + 1) % TURNS
            due += step
        for key, _ in ready.select(max(0.0, due - time.perf_counter()) if due < end else 0.1):
            s = key.fileobj  # type: ignore[assignment]
            answers = s.recv(65536).count(b"HTTP/1.1 200 ")
            now = time.perf_counter()
            for _ in range(answers):
                took.append(now - sent[s].pop(0))
    for s in sockets:
        s.close()
    return {"rate": len(took) / seconds, "count": len(took), **percentiles(took)}


def percentiles(took: list[float]) -> dict[str, float]:
    """In milliseconds."""
    cut = statistics.quantiles(took, n=1000)
    return {"p50": cut[499] * 1e3, "p99": cut[989] * 1e3}


def main(what: str, *words: str) -> None:
    numbers = [int(float(word)) for word in words[:1]] + [float(word) for word in words[1:]]
    if what in ("ws", "sink"):
        uvloop.run(serve(what, int(numbers[0])))
    elif what == "messages":
        print(json.dumps(uvloop.run(messages(int(numbers[0]), numbers[1], int(numbers[2])))))
    elif what == "paced":
        print(json.dumps(paced(int(numbers[0]), numbers[1], int(numbers[2]), int(numbers[3]))))
    else:
        print(json.dumps(transfer(what, int(numbers[0]), int(numbers[1]))))


if __name__ == "__main__":
    main(*sys.argv[1:])
