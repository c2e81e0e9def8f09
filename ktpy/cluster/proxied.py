"""A connection to the API server through the user's HTTP proxy: CONNECT, then TLS inside."""

from __future__ import annotations

import asyncio
import base64
from urllib.parse import unquote, urlsplit

from ktpy.cluster.endpoint import Endpoint
from ktpy.errors import KtError, Unreachable

_LIMIT = 64 * 1024


class _Asking(asyncio.Protocol):
    """Waits for the proxy's answer (RFC 9110 §9.3.6: any 2xx, and no body)."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._got = b""

    def data_received(self, data: bytes) -> None:
        self._got += data
        if (b"\r\n\r\n" in self._got or len(self._got) > _LIMIT) and not self.answer.done():
            self.answer.set_result(self._got.split(b"\r\n", 1)[0].decode("latin-1"))

    def connection_lost(self, why: Exception | None) -> None:
        if not self.answer.done():
            self.answer.set_exception(Unreachable(f"the proxy hung up: {why or 'without an answer'}"))
            self.answer.exception()


async def through_proxy(endpoint: Endpoint, wire: asyncio.Protocol) -> None:
    """Give WIRE a connection to ENDPOINT. Errors: Unreachable or KtError that name the proxy; OSError."""
    assert endpoint.proxy is not None
    proxy = urlsplit(endpoint.proxy)
    if proxy.scheme != "http" or not proxy.hostname:
        raise KtError(f"the proxy {endpoint.proxy} cannot be used for port-forward: only http://HOST:PORT can")
    loop = asyncio.get_running_loop()
    transport, asking = await loop.create_connection(_Asking, proxy.hostname, proxy.port or 80)
    try:
        transport.write(_request(endpoint, proxy.username, proxy.password))
        line = await asking.answer
        if line.split(" ")[1:2] == [] or not line.split(" ")[1].startswith("2"):
            raise Unreachable(f"the proxy {proxy.hostname} does not let us through to {endpoint.host}: {line}")
        transport.set_protocol(wire)
        inner: asyncio.BaseTransport | None = transport
        if endpoint.tls is not None:
            name = endpoint.server_name or endpoint.host
            inner = await loop.start_tls(transport, wire, endpoint.tls, server_hostname=name)
        assert inner is not None
        # start_tls leaves this to its caller. The API server says nothing before it is asked.
        wire.connection_made(inner)
    except BaseException:
        transport.abort()
        raise


def _request(endpoint: Endpoint, user: str | None, password: str | None) -> bytes:
    host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
    lines = [f"CONNECT {host}:{endpoint.port} HTTP/1.1", f"Host: {host}:{endpoint.port}"]
    if user is not None:
        secret = f"{unquote(user)}:{unquote(password or '')}".encode()
        lines.append("Proxy-Authorization: Basic " + base64.b64encode(secret).decode())
    return "\r\n".join([*lines, "", ""]).encode("latin-1")
