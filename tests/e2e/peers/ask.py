"""Asks a service of serve.py by every protocol, with real clients, and tells who answered: JSON, protocol to name.

ask.py all HOST MARK SIZE     each protocol once, with the header `version: MARK` unless that is empty
ask.py stay HOST              a WebSocket and a gRPC stream, a message a turn on each, until stdin ends
"""

import asyncio
import hashlib
import json
import subprocess
import sys
import threading

import grpc
import websockets

OPTIONS = [("grpc.enable_http_proxy", 0)]
HEADERS = "additional_headers" if int(websockets.__version__.split(".")[0]) >= 14 else "extra_headers"
MESSAGES = 20


def curl(mark, *words):
    marked = ["-H", f"version: {mark}"] if mark else []
    done = subprocess.run(["curl", "-sS", "--fail", "-m", "60", *marked, *words], capture_output=True, text=True)
    if done.returncode:
        return f"curl: {done.stderr.strip()}"
    return done.stdout


def by_curl(host, mark, version, *words):
    """The name that the answer says, if the request came by VERSION."""
    text = curl(mark, *words, f"http://{host}/")
    told = json.loads(text) if text.startswith("{") else {}
    return told["service"] if told.get("version") == version else text


def events(host, mark):
    lines = curl(mark, "-N", f"http://{host}/events").split("\n\n")[:-1]
    names = {line.split(" ")[1] for line in lines}
    return names.pop() if len(lines) == 3 and len(names) == 1 else repr(lines)


def upload(host, mark, size):
    digest = hashlib.sha256()
    with open("/tmp/upload", "wb") as file:
        for number in range(size // 1_000_000):
            part = hashlib.sha256(b"%d" % number).digest() * 31250
            digest.update(part)
            file.write(part)
    text = curl(mark, "-T", "/tmp/upload", f"http://{host}/upload")
    told = json.loads(text) if text.startswith("{") else {}
    return told["service"] if (told.get("size"), told.get("sha256")) == (size, digest.hexdigest()) else text


def redis(host):
    words = ["redis-cli", "-h", host, "-p", "6379"]
    done = subprocess.run([*words, "get", "who"], capture_output=True, text=True, timeout=20)
    return done.stdout.strip() or done.stderr


async def websocket(host, mark):
    headers = {"version": mark} if mark else {}
    names = set()
    async with websockets.connect(f"ws://{host}/", **{HEADERS: headers}) as socket:
        for number in range(MESSAGES):
            await socket.send(str(number))
            name, _, back = (await socket.recv()).partition(" ")
            names.add(name if back == str(number) else f"{name} {back}")
    return " and ".join(names)


def grpc_calls(host, mark):
    metadata = (("version", mark),) if mark else ()
    with grpc.insecure_channel(f"{host}:90", options=OPTIONS) as channel:
        unary = channel.unary_unary("/Shop/Unary")(b"hello", metadata=metadata, timeout=20)
        both = channel.stream_stream("/Shop/Both")
        parts = both((b"%d" % number for number in range(MESSAGES)), metadata=metadata, timeout=20)
        names = [part.split(b" ")[0].decode() for part in parts]
    name = names[0] if len(names) == MESSAGES and len(set(names)) == 1 else repr(names)
    return unary.split(b" ")[0].decode(), name


def everything(host, mark, size):
    unary, both = grpc_calls(host, mark)
    return {
        "HTTP/1.1": by_curl(host, mark, "1.1", "--http1.1"),
        "HTTP/1.0": by_curl(host, mark, "1.0", "--http1.0"),
        "h2c": by_curl(host, mark, "2", "--http2-prior-knowledge"),
        "SSE": events(host, mark),
        "upload": upload(host, mark, size),
        "WebSocket": asyncio.run(websocket(host, mark)),
        "gRPC unary": unary,
        "gRPC both ways": both,
        "Redis": redis(host),
    }


async def stay(host):
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    threading.Thread(
        target=lambda: (sys.stdin.read(), loop.call_soon_threadsafe(told.set)), daemon=True
    ).start()  # fmt: skip
    counts = {"WebSocket": 0, "gRPC": 0}

    async def by_websocket():
        async with websockets.connect(f"ws://{host}/") as socket:
            while not told.is_set():
                await socket.send("still")
                assert await asyncio.wait_for(socket.recv(), 20) == "shop still"
                counts["WebSocket"] += 1
                await asyncio.sleep(0.1)

    async def by_grpc():
        async with grpc.aio.insecure_channel(f"{host}:90", options=OPTIONS) as channel:
            call = channel.stream_stream("/Shop/Both")()
            while not told.is_set():
                await call.write(b"still")
                assert await asyncio.wait_for(call.read(), 20) == b"shop still"
                counts["gRPC"] += 1
                if counts["gRPC"] == 1:
                    print("open", flush=True)
                await asyncio.sleep(0.1)

    ends = await asyncio.gather(by_websocket(), by_grpc(), return_exceptions=True)
    return {"answers": {f"{name}@": count for name, count in counts.items()},
            "failed": {repr(end): 1 for end in ends if end is not None}}  # fmt: skip


what, host, *more = sys.argv[1:]
print(json.dumps(asyncio.run(stay(host)) if what == "stay" else everything(host, more[0], int(more[1]))), flush=True)
