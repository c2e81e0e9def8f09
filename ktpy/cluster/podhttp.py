"""One HTTP request to a port on a pod's loopback, through the API server's port-forward."""

from __future__ import annotations

import asyncio
import re

from ktpy.cluster.endpoint import Endpoint
from ktpy.cluster.forward import dial
from ktpy.errors import KtError, Unreachable

MOST_BYTES = 16 * 1024 * 1024

_STATUS = re.compile(rb"HTTP/1\.1 ([1-5][0-9][0-9])[ \r]")
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,9})[ \t]*\r\n", re.IGNORECASE)


class Incomplete(Exception):
    """More is to come."""


def parsed(data: bytes) -> tuple[int, str]:
    """Status and text of an answer that says its length, as the router's control port does (RFC 9112 section 6.3).

    Errors: Incomplete; ValueError for what is no such answer.
    """
    head, end, body = data.partition(b"\r\n\r\n")
    if not end:
        raise Incomplete
    status, length = _STATUS.match(head), _LENGTH.search(head + b"\r\n")
    if status is None or length is None:
        raise ValueError(f"{head[:60]!r} is no answer")
    if len(body) < int(length[1]):
        raise Incomplete
    return int(status[1]), body[: int(length[1])].decode(errors="replace")


class _Asking(asyncio.Protocol):
    """Sends REQUEST; ANSWER has what came back."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._data = bytearray()
        self._transport: asyncio.BaseTransport | None = None
        self.answer: asyncio.Future[tuple[int, str]] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._data += data
        if self.answer.done():
            return
        try:
            self.answer.set_result(parsed(bytes(self._data)))
        except Incomplete:
            if len(self._data) > MOST_BYTES:
                self.answer.set_exception(ValueError("the answer is too long"))
        except ValueError as error:
            self.answer.set_exception(error)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.answer.done():
            self.answer.set_exception(error or ConnectionError("it ended without an answer"))


async def _asked(
    endpoint: Endpoint, namespace: str, pod: str, port: int, request: bytes, timeout: float
) -> tuple[int, str]:
    stream, asking = await dial(endpoint, namespace, pod, port, lambda: _Asking(request), timeout=timeout)
    try:
        async with asyncio.timeout(timeout):
            return await asking.answer
    finally:
        stream.abort()


def ask(
    endpoint: Endpoint, namespace: str, pod: str, port: int, method: str, path: str, body: str, *, timeout: float
) -> tuple[int, str]:
    """Status and text. TIMEOUT: seconds, for the way there and for the answer each.

    Errors: NotFound (no such pod), Forbidden, Unreachable (no answer from the API server, or from that port).
    """
    sent = body.encode()
    fields = (f"Host: localhost:{port}", f"Content-Length: {len(sent)}", "Connection: close")
    head = "\r\n".join([f"{method} {path} HTTP/1.1", *fields, "", ""])
    try:
        return asyncio.run(_asked(endpoint, namespace, pod, port, head.encode() + sent, timeout))
    except (TimeoutError, OSError, ValueError) as error:
        raise Unreachable(f"pod/{pod}, port {port}: {str(error) or 'no answer in time'}.") from error
    except KtError as error:
        if error.__class__ is KtError or error.code == 6:  # the tunnel's end is this request's
            raise Unreachable(f"pod/{pod}, port {port}: {error.what}") from error
        raise
