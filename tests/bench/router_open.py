"""The router's bench: an HTTP client that asks at fixed times, and an origin that can be made to fail."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from dataclasses import dataclass

BODY = bytes(65_536 - 300)
BODY_EVERY = 10
ANSWER_SECONDS = 30.0


@dataclass(slots=True)
class Asked:
    """A request: when it was due, how long until its answer was whole, who answered, what went wrong."""

    at: float
    took: float
    who: bytes
    error: str


async def one_request(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, headers: bytes = b"", body: bytes = b""
) -> tuple[int, bytes]:
    """Status and body."""
    if body:
        headers += b"Content-Length: %d\r\n" % len(body)
    writer.write(b"%b / HTTP/1.1\r\nHost: shop\r\n%b\r\n" % (b"POST" if body else b"GET", headers) + body)
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
    answer = await reader.readexactly(length)
    if b"\r\nconnection: close\r\n" in head:
        writer.close()
    return int(head[9:12]), answer


class OpenLoop:
    """Asks PER_SECOND times a second, whatever became of the earlier ones, on connections that are kept."""

    def __init__(self, port: int, headers: bytes, per_second: int) -> None:
        self.port = port
        self.headers = headers
        self.step = 1 / per_second
        self.asked: list[Asked] = []
        self.free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self.stopped = False

    async def run(self, seconds: float) -> list[Asked]:
        tasks: set[asyncio.Task[None]] = set()
        due = time.perf_counter()
        end = due + seconds
        number = 0
        while due < end and not self.stopped:
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            number += 1
            task = asyncio.create_task(self.ask(due, BODY if number % BODY_EVERY == 0 else b""))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            due += self.step
        await asyncio.gather(*tasks)
        for _, writer in self.free:
            writer.transport.abort()
        return self.asked

    def stop(self) -> None:
        self.stopped = True

    async def ask(self, at: float, body: bytes) -> None:
        who, error = b"", ""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                ends = self.free.pop() if self.free else await asyncio.open_connection("127.0.0.1", self.port)
                status, who = await one_request(*ends, self.headers, body)
            if not ends[1].is_closing():
                self.free.append(ends)
            if status != 200:
                error = f"{status} {who[:200]!r}"
        except (OSError, EOFError, TimeoutError, IndexError, ValueError) as failed:
            error = repr(failed)
        self.asked.append(Asked(at, time.perf_counter() - at, who, error))


class Origin:
    """Answers everything with its NAME, and keeps its port when it goes down and comes up again."""

    def __init__(self, name: bytes) -> None:
        self.name = name
        self.port = 0
        self.delay = 0.0
        self.closes = False
        self.server: asyncio.Server | None = None
        self.deaf: list[socket.socket] = []
        self.open: set[asyncio.StreamWriter] = set()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def up(self) -> None:
        self._no_longer_deaf()
        self.closes = False
        if self.server is None:
            self.server = await asyncio.start_server(self.serve, "127.0.0.1", self.port, backlog=1024)
            self.port = self.server.sockets[0].getsockname()[1]

    async def down(self, way: str) -> None:
        """`closes` what it accepts, as a tunnel whose far end is down; `swallows` SYNs; `refuses`."""
        for writer in tuple(self.open):
            writer.transport.abort()
        if way == "closes":
            self.closes = True
            return
        if self.server:
            self.server.close()
            self.server = None
        self._no_longer_deaf()
        if way == "swallows":
            await asyncio.sleep(0)
            self._be_deaf()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.closes:
            writer.close()
            return
        self.open.add(writer)
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(self.name), self.name)
        with contextlib.suppress(OSError, EOFError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                if b"content-length:" in head:
                    await reader.readexactly(int(head.split(b"content-length:")[1].split(b"\r\n")[0]))
                if self.delay:
                    await asyncio.sleep(self.delay)
                writer.write(answer)
        self.open.discard(writer)
        writer.close()

    def _be_deaf(self) -> None:
        """A queue that is full: the kernel drops the SYNs that come then."""
        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", self.port))
        listening.listen(0)
        self.deaf.append(listening)
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", self.port))
            self.deaf.append(filler)

    def _no_longer_deaf(self) -> None:
        for one in self.deaf:
            one.close()
        self.deaf.clear()
