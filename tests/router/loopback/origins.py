"""HTTP/1 origins of raw bytes that behave in every odd way, by path, and a client that reads answers as they come.

`Web("original")` is a handler for rawkit's `origin`; it notes each request's bytes in `heads` and `bodies`. Paths:

    /            200, counted; the body says which origin and path   /eof       a body that ends with the connection
    /chunked     two chunks         /trailers   chunks, a trailer    /old       HTTP/1.0, ends with the connection
    /204 /304    no body            /no-length  a head for HEAD      /early     103, then (after `go`) 200
    /echo        chunks back as they come                            /sse       an event, another after `go`
    /413         refuses an upload after its first bytes, closes     /upgrade   101, then echoes bytes
    /continue    100, then the body's length                         /large     LARGE bytes
    /bye         answers, with Connection: close                     /broken    ends in the middle of its answer
    /surplus     one answer and a half    /line  an answer and CRLF  /bad       no HTTP
    /slow        head at once, body after `go`                       /parts     an answer byte by byte
    /hang        all after `go`     /teapot  CL and TE both          /drop      closes without a byte
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

LARGE = 5_000_000


class Web:
    def __init__(self, name: str) -> None:
        self.name = name
        self.heads: list[bytes] = []
        self.bodies: list[bytes] = []
        self.trailers: list[bytes] = []
        self.connections = 0
        self.go = asyncio.Event()
        self.uploaded = 0
        self.eof_seen = asyncio.Event()

    @property
    def paths(self) -> list[str]:
        return [head.split(b" ")[1].decode() for head in self.heads]

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        while head := await self._head(reader):
            self.heads.append(head)
            path = head.split(b" ")[1].decode().partition("?")[0].strip("/").replace("-", "_") or "hello"
            way: Callable[..., Awaitable[bool | None]] = getattr(self, f"at_{path}", self.at_hello)
            if await way(reader, writer, head) is False:
                break
            if b"HTTP/1.0" in head and b"keep-alive" not in head:
                break
        self.eof_seen.set()
        writer.close()

    async def _head(self, reader: asyncio.StreamReader) -> bytes:
        try:
            return await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return b""

    async def body(self, reader: asyncio.StreamReader, head: bytes) -> bytes:
        """The request's, with chunks taken out; noted."""
        low, body = head.lower(), b""
        if b"transfer-encoding:" in low:
            while size := int((await reader.readline()).partition(b";")[0], 16):
                body += await reader.readexactly(size)
                self.uploaded += size
                assert await reader.readexactly(2) == b"\r\n"
            while (line := await reader.readline()) != b"\r\n":
                self.trailers.append(line)
        elif b"content-length:" in low:
            left = int(low.partition(b"content-length:")[2].partition(b"\r\n")[0])
            parts = []
            while left:
                parts.append(await reader.read(min(left, 65536)))
                left -= len(parts[-1])
                self.uploaded += len(parts[-1])
                assert parts[-1]
            body = b"".join(parts)
        self.bodies.append(body)
        return body

    async def at_hello(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> None:
        body = await self.body(reader, head)
        method, path, _ = head.split(b" ", 2)
        text = b"%s %s %s %d" % (self.name.encode(), method, path, len(body))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nX-Odd_name: kept\r\n\r\n" % len(text))
        if method != b"HEAD":
            writer.write(text)

    async def at_parts(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> None:
        for byte in b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n":
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0)

    async def at_chunked(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> None:
        await self.body(reader, head)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;ext=1\r\nhello\r\n")
        writer.write(b"4\r\n\r\n\r\n\r\n0\r\n\r\n")

    async def at_trailers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        writer.write(b"0\r\nX-Sum: 42\r\n\r\n")

    async def at_204(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> None:
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")

    async def at_304(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> None:
        writer.write(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\nETag: x\r\n\r\n")

    async def at_no_length(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")

    async def at_bare(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nX: y\r\n\r\n")

    async def at_eof(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> bool:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nuntil ")
        await writer.drain()
        writer.write(b"the end")
        return False

    async def at_old(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> bool:
        writer.write(b"HTTP/1.0 200 OK\r\n\r\nold")
        return False

    async def at_bye(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> bool:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbye")
        return False

    async def at_early(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> None:
        writer.write(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n")
        if b"?together" not in head:
            await self.go.wait()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    async def at_continue(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> None:
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        text = b"%d" % len(await self.body(reader, head))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(text), text))

    async def at_sse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        writer.write(b"9\r\ndata: 1\n\n\r\n")
        await self.go.wait()
        writer.write(b"9\r\ndata: 2\n\n\r\n0\r\n\r\n")

    async def at_slow(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n")
        await self.go.wait()
        writer.write(b"late")

    async def at_hang(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> None:
        await self.go.wait()
        await self.at_hello(reader, writer, head)

    async def at_echo(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while size := int(await reader.readline(), 16):
            writer.write(b"%x\r\n%b" % (size, await reader.readexactly(size + 2)))
            await writer.drain()
        await reader.readexactly(2)
        writer.write(b"0\r\n\r\n")

    async def at_413(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> bool:
        await reader.read(1000)
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig")
        return False

    async def at_impatient(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> None:
        """Answers before the request is complete, but reads it."""
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nready")
        await self.body(reader, head)

    async def at_upgrade(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> bool:
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n" + b"hi ")
        while data := await reader.read(1000):
            writer.write(data)
        writer.write(b" bye")
        return False

    async def at_refused_upgrade(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> None:
        await self.at_hello(reader, writer, head)

    async def at_large(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % LARGE)
        for _ in range(LARGE // 50_000):
            writer.write(b"x" * 50_000)
            await writer.drain()
            self.uploaded += 50_000

    async def at_surplus(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> None:
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
        writer.write(answer + answer[:20])

    async def at_line(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok\r\n")

    async def at_headbody(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> None:
        """A body after HEAD: a common mistake."""
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    async def at_broken(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> bool:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this")
        return False

    async def at_bad(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9\r\n\r\n")

    async def at_teapot(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc")

    async def at_unasked(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> None:
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")

    async def at_long_head(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n")

    async def at_drop(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> bool:
        return False

    async def at_hello_then_gone(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> bool:
        """Answers once; the next request on that connection gets no answer but an end."""
        await self.at_hello(reader, writer, head)
        await reader.read(1)
        return False


class Client:
    """A connection to the router, with answers read as they come: head, then body by its framing."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @staticmethod
    async def to(port: int) -> Client:
        return Client(*await asyncio.open_connection("127.0.0.1", port, limit=1 << 20))

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def head(self) -> bytes:
        return await self.reader.readuntil(b"\r\n\r\n")

    async def answer(self, method: str = "GET") -> tuple[bytes, bytes]:
        """One answer, interim ones left out: its head and its body, with the chunks as they are on the wire."""
        head = await self.head()
        status = int(head.split(b" ")[1])
        if 100 <= status < 200 and status != 101:
            return await self.answer(method)
        low = head.lower()
        if method == "HEAD" or status in (101, 204, 304):
            return head, b""
        if b"transfer-encoding:" in low:
            body = b""
            while True:
                line = await self.reader.readline()
                body += line
                size = int(line.partition(b";")[0], 16)
                if not size:
                    break
                body += await self.reader.readexactly(size + 2)
            while True:
                line = await self.reader.readline()
                body += line
                if line == b"\r\n":
                    return head, body
        if b"content-length:" in low:
            return head, await self.reader.readexactly(int(low.split(b"content-length:")[1].split(b"\r\n")[0]))
        return head, await self.reader.read()

    async def get(self, path: str = "/", *lines: str, method: str = "GET") -> tuple[bytes, bytes]:
        self.send(request(path, *lines, method=method))
        return await self.answer(method)

    async def rest(self) -> bytes:
        """Everything until the end."""
        return await self.reader.read()

    def close(self) -> None:
        self.writer.close()


def request(path: str = "/", *lines: str, method: str = "GET", body: bytes = b"") -> bytes:
    return "\r\n".join((f"{method} {path} HTTP/1.1", "Host: shop.example", *lines, "", "")).encode() + body
