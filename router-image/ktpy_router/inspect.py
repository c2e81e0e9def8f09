"""The way to an upstream through the inspector: a SOCKS5 CONNECT on loopback, then the connection as if made straight.

Rows that ask for it (`inspect`) are the only traffic that passes mitmproxy's HTTP layer: it runs in the inspector's
process (inspector.py), where a developer can look at, save and replay the requests. All other traffic passes
mitmproxy's server mode and life cycle only, and is relayed by this package's own protocols; that is what makes it fast.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import os
from collections.abc import Callable
from typing import NamedTuple, TypeVar, cast

P = TypeVar("P", bound=asyncio.BaseProtocol)

_GREETING = b"\x05\x01\x00"  # RFC 1928 section 3: version 5, one method, and that is none
_CONNECT = b"\x05\x01\x00"  # section 4
_IPV4, _NAME, _IPV6 = 1, 3, 4
_REASONS = {  # section 6
    1: errno.ECONNABORTED,
    2: errno.EACCES,
    3: errno.ENETUNREACH,
    4: errno.EHOSTUNREACH,
    5: errno.ECONNREFUSED,
}


class Reply(NamedTuple):
    """The proxy's whole answer: ERROR is 0 or an errno, LENGTH what of the bytes belongs to it."""

    error: int
    length: int


def request(host: str, port: int) -> bytes:
    """Greeting and CONNECT in one piece: the proxy is ours, and takes no password."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        name = host.encode("ascii")
        place = bytes((_NAME, len(name))) + name
    else:
        place = bytes((_IPV4 if address.version == 4 else _IPV6,)) + address.packed
    return _GREETING + _CONNECT + place + port.to_bytes(2, "big")


def reply(data: bytes) -> Reply | None:
    """The answer to `request` at the start of DATA; None while it is not whole.

    Errors: ValueError when that is no SOCKS5 proxy.
    """
    if not b"\x05\x00".startswith(data[:2]):
        raise ValueError(f"the inspector answers {data[:8]!r}, which is no SOCKS5")
    if len(data) < 7:
        return None
    version, code, _, kind, first = data[2:7]
    lengths = {_IPV4: 4, _NAME: 1 + first, _IPV6: 16}
    if version != 5 or kind not in lengths:
        raise ValueError(f"the inspector answers {data[:8]!r}, which is no SOCKS5")
    length = 2 + 4 + lengths[kind] + 2
    if len(data) < length:
        return None
    return Reply(_REASONS.get(code, errno.ECONNABORTED) if code else 0, length)


async def connect_via(
    loop: asyncio.AbstractEventLoop, proxy: tuple[str, int], target: tuple[str, int], factory: Callable[[], P]
) -> tuple[asyncio.Transport, P]:
    """As `loop.create_connection(factory, *target)`, through the SOCKS5 proxy. Cancel it to give up.

    Errors: OSError when the proxy is not there or cannot reach TARGET; ValueError when it is no SOCKS5 proxy.
    """
    transport, handshake = await loop.create_connection(lambda: _Handshake(loop, target, factory), *proxy)
    try:
        return transport, cast(P, await handshake.done)
    finally:
        if not handshake.made:
            transport.abort()


class _Handshake(asyncio.Protocol):
    """Speaks until the CONNECT is answered; hands what comes behind the answer to FACTORY's protocol."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        target: tuple[str, int],
        factory: Callable[[], asyncio.BaseProtocol],
    ) -> None:
        self.done: asyncio.Future[asyncio.BaseProtocol] = loop.create_future()
        self.made = False
        self._request = request(*target)
        self._factory = factory
        self._said = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if self.done.done():
            return
        self._said += data
        try:
            answer = reply(self._said)
            if answer is None:
                return
            if answer.error:
                raise OSError(answer.error, os.strerror(answer.error))
        except (OSError, ValueError) as error:
            self.done.set_exception(error)
            return
        self._hand_over(self._said[answer.length :])

    def eof_received(self) -> None:
        self.connection_lost(None)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(error or ConnectionResetError(errno.ECONNRESET, "the inspector closed"))

    def _hand_over(self, rest: bytes) -> None:
        """In the order that a protocol expects: made, then data; and only then does the caller go on."""
        assert self._transport is not None
        protocol = self._factory()
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        self.made = True
        self.done.set_result(protocol)
        while rest:
            if isinstance(protocol, asyncio.BufferedProtocol):
                buffer = memoryview(protocol.get_buffer(len(rest)))[: len(rest)]
                buffer[:] = rest[: len(buffer)]
                protocol.buffer_updated(len(buffer))
                rest = rest[len(buffer) :]
            else:
                cast(asyncio.Protocol, protocol).data_received(rest)
                rest = b""
