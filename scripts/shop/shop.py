"""A service of the sample shop: says who answers, and asks the next service, handing the request's headers on.

    shop.py --name cart --port 8080 [--port 9090 ...] [--next http://price:80]

GET /            JSON: who answered, on which host and port, the request's headers, the next service's answer
GET /bytes/N     N zero bytes            POST or PUT /echo     the body back, byte for byte
GET /slow/N      an answer after N seconds           POST /sink     nothing, once the whole body is here
Any port also answers a first line "echo" with everything that follows, until the client's FIN (half-close).
"""

import argparse
import asyncio
import json
import signal
import socket
from urllib.parse import urlsplit

HOP_BY_HOP = {"host", "connection", "content-length", "transfer-encoding", "keep-alive", "upgrade", "te", "trailer"}
CHUNK = 65536


async def read_head(reader):
    """The request line's parts and the headers, or None at the end of the connection."""
    line = (await reader.readline()).decode("latin-1").strip()
    if not line:
        return None
    headers = {}
    if line == "echo":
        return [line], headers
    while text := (await reader.readline()).decode("latin-1").strip():
        name, _, value = text.partition(":")
        headers[name.strip().lower()] = value.strip()
    return line.split(" "), headers


async def ask_next(url, path, headers):
    """GET the next service with the headers of the request that came here: so a mark travels on."""
    where = urlsplit(url)
    reader, writer = await asyncio.wait_for(asyncio.open_connection(where.hostname, where.port or 80), 5)
    passed = "".join(f"{name}: {value}\r\n" for name, value in headers.items() if name not in HOP_BY_HOP)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {where.hostname}\r\nConnection: close\r\n{passed}\r\n".encode())
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    return json.loads(answer.partition(b"\r\n\r\n")[2])


class Shop:
    def __init__(self, name, following):
        self.name, self.following = name, following

    async def serve(self, reader, writer):
        try:
            while (head := await read_head(reader)) is not None:
                if not await self.answer(head, reader, writer):
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def answer(self, head, reader, writer):
        """One answer; false when the connection is to end with it."""
        words, headers = head
        if words == ["echo"]:
            while data := await reader.read(CHUNK):
                writer.write(data)
                await writer.drain()
            return False
        method, path = words[0], words[1]
        length = int(headers.get("content-length", 0))
        keep = words[2] == "HTTP/1.1" and headers.get("connection", "").lower() != "close"
        if path == "/sink":
            await self.sink(reader, writer, length)
            return keep
        if path == "/echo":
            await self.echo(reader, writer, length)
            return keep
        if path.startswith("/bytes/"):
            await self.zeros(writer, int(path.rpartition("/")[2]))
            return keep
        if length:
            await reader.readexactly(length)
        if path.startswith("/slow/"):
            await asyncio.sleep(float(path.rpartition("/")[2]))
        body = json.dumps(await self.about(method, path, headers, writer)).encode() + b"\n"
        close = b"" if keep else b"Connection: close\r\n"
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n%s\r\n" % (len(body), close)
            + body
        )
        await writer.drain()
        return keep

    async def sink(self, reader, writer, length):
        while length and (data := await reader.read(min(CHUNK, length))):
            length -= len(data)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()

    async def echo(self, reader, writer, length):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % length)
        while length:
            data = await reader.read(min(CHUNK, length))
            if not data:
                break
            length -= len(data)
            writer.write(data)
            await writer.drain()

    async def zeros(self, writer, length):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % length)
        while length:
            step = min(CHUNK, length)
            writer.write(bytes(step))
            length -= step
            await writer.drain()

    async def about(self, method, path, headers, writer):
        port = writer.get_extra_info("sockname")[1]
        told = {
            "service": self.name,
            "host": socket.gethostname(),
            "port": port,
            "method": method,
            "path": path,
            "headers": headers,
        }
        if self.following:
            told["next"] = await ask_next(self.following, path, headers)
        return told


async def main():
    words = argparse.ArgumentParser()
    words.add_argument("--name", default="shop")
    words.add_argument("--listen", default="0.0.0.0")
    words.add_argument("--port", type=int, action="append")
    words.add_argument("--next", dest="following")
    chosen = words.parse_args()
    shop = Shop(chosen.name, chosen.following)
    servers = [
        await asyncio.start_server(shop.serve, chosen.listen, port, backlog=1024) for port in chosen.port or [8080]
    ]
    stop = asyncio.Event()
    for kind in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(kind, stop.set)
    print(f"{chosen.name} answers on {', '.join(str(s.sockets[0].getsockname()[1]) for s in servers)}", flush=True)
    await stop.wait()


asyncio.run(main())
