"""A service that says its name by every protocol: hypercorn (HTTP/1, h2c, SSE, WebSocket), grpcio, and redis-server.

    serve.py NAME LISTEN HTTP_PORT GRPC_PORT REDIS_PORT

Prints `ready` when all of them listen.
"""

import asyncio
import hashlib
import json
import socket
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

import grpc
from hypercorn.asyncio import serve
from hypercorn.config import Config

NAME, LISTEN, *PORTS = sys.argv[1:]
HTTP, GRPC, REDIS = PORTS
EVENTS = 3


async def app(scope, receive, send):
    if scope["type"] == "websocket":
        await websocket(receive, send)
    elif scope["type"] == "http":
        await http(scope, receive, send)


async def websocket(receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": f"{NAME} {message['text']}"})


async def http(scope, receive, send):
    """/events: three of them; anything else: who, by which version, and what came up."""
    digest, size, more = hashlib.sha256(), 0, True
    while more:
        message = await receive()
        body, more = message.get("body", b""), message.get("more_body")
        digest.update(body)
        size += len(body)
    if scope["path"] == "/events":
        await send(head("text/event-stream"))
        for number in range(EVENTS):
            await send({"type": "http.response.body", "body": f"data: {NAME} {number}\n\n".encode(), "more_body": True})
            await asyncio.sleep(0.05)
        await send({"type": "http.response.body", "body": b""})
        return
    told = {"service": NAME, "host": socket.gethostname(), "version": scope["http_version"]}
    told |= {"size": size, "sha256": digest.hexdigest()}
    await send(head("application/json", len(body := json.dumps(told).encode())))
    await send({"type": "http.response.body", "body": body})


def head(kind, length=None):
    headers = [(b"content-type", kind.encode())]
    if length is not None:
        headers.append((b"content-length", b"%d" % length))
    return {"type": "http.response.start", "status": 200, "headers": headers}


class Shop(grpc.GenericRpcHandler):
    def service(self, details):
        if details.method.endswith("/Unary"):
            return grpc.unary_unary_rpc_method_handler(lambda request, context: named(request))
        return grpc.stream_stream_rpc_method_handler(lambda requests, context: map(named, requests))


def named(message):
    return f"{NAME} ".encode() + message


async def redis():
    folder = tempfile.mkdtemp()
    words = ["--port", REDIS, "--bind", LISTEN, "--protected-mode", "no", "--save", "", "--dir", folder]
    process = subprocess.Popen(["redis-server", *words], stdout=subprocess.DEVNULL)
    while True:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", int(REDIS))
            break
        except ConnectionRefusedError:
            await asyncio.sleep(0.05)
    writer.write(f"SET who {NAME}\r\n".encode())
    assert await reader.readline() == b"+OK\r\n"
    writer.close()
    return process


async def main():
    process = await redis()
    server = grpc.server(ThreadPoolExecutor(20), handlers=(Shop(),))
    server.add_insecure_port(f"{LISTEN}:{GRPC}")
    server.start()
    config = Config()
    config.bind = [f"{LISTEN}:{HTTP}"]
    config.loglevel = "WARNING"
    print("ready", flush=True)
    try:
        await serve(app, config)
    finally:
        server.stop(None)
        process.terminate()


asyncio.run(main())
