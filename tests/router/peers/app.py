"""An ASGI application: what it was sent, bytes, events one by one, and who it is."""

from __future__ import annotations

import asyncio
import hashlib
import json
from typing import Any


async def app(scope: Any, receive: Any, send: Any) -> None:
    """/hash: length and SHA-256 of the body; /bytes/N; /events; anything else: the request as JSON."""
    if scope["type"] != "http":
        return
    path: str = scope["path"]
    digest, size = hashlib.sha256(), 0
    while True:
        message = await receive()
        digest.update(message.get("body", b""))
        size += len(message.get("body", b""))
        if not message.get("more_body"):
            break
    if path.startswith("/bytes/"):
        await answer(send, bytes(int(path.split("/")[2])))
    elif path == "/events":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        for number in range(3):
            await send({"type": "http.response.body", "body": b"data: %d\n\n" % number, "more_body": True})
            await asyncio.sleep(0.05)
        await send({"type": "http.response.body", "body": b""})
    else:
        headers = [[name.decode("latin-1"), value.decode("latin-1")] for name, value in scope["headers"]]
        seen = {"path": path, "method": scope["method"], "version": scope["http_version"], "headers": headers}
        await answer(send, json.dumps({**seen, "size": size, "sha256": digest.hexdigest()}).encode())


async def answer(send: Any, body: bytes) -> None:
    headers = [(b"content-length", b"%d" % len(body)), (b"x-app", b"yes")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
