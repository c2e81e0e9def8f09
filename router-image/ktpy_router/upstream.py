"""An address that traffic goes to: connecting to it, whether it is worth trying, and finding it alive again."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Protocol, TypeVar

from ktpy_router.breaker import Breaker
from ktpy_router.config import Config
from ktpy_router.inspect import connect_via
from ktpy_router.resolve import resolve
from ktpy_router.table import split

P = TypeVar("P", bound=asyncio.BaseProtocol)


class UpstreamDown(Exception):
    """It did not take a connection; the text says why, as the end of a sentence: `refused the connection`."""


class Unanswered(UpstreamDown):
    """It said nothing at all."""


class Idle(Protocol):
    """A connection that waits for its next request."""

    def tick(self, now: float) -> None:
        """Once a second: end it when it has waited too long."""

    def abort(self) -> None:
        """End it now."""


class Upstream:
    """One per address and worker, shared by all its connections.

    VIA is a SOCKS5 proxy on loopback that the connections take (the inspector), None for the straight way. IS_SILENT
    tells whether the laptop at that address is known to sleep. `is_open` is advice for those who have another upstream
    to go to: the original is tried whatever it says.
    """

    def __init__(
        self, name: str, config: Config, *, via: tuple[str, int] | None = None,
        is_silent: Callable[[str], bool] = lambda _: False,
    ) -> None:  # fmt: skip
        self.name = name
        self.host, self.port = split(name)
        self.via = via
        self._is_silent = is_silent
        self.breaker = Breaker(config.closes_to_open)
        self.idle: list[Idle] = []
        """HTTP/1 connections that wait for a request: pool.py's."""
        self.forgotten = False
        """No table names it any more: what still runs may end, and nothing is kept for later."""
        self._config = config
        self._probe: asyncio.Task[None] | None = None
        self._waiting: set[asyncio.Future[bool]] = set()
        self._limits: set[asyncio.Timeout] = set()
        """Of the tries that end as soon as the breaker opens."""

    @property
    def is_open(self) -> bool:
        """The breaker is open: do not try, fall back at once."""
        return self.breaker.is_open

    async def connect(self, factory: Callable[[], P], *, alternative: bool = False) -> tuple[asyncio.Transport, P]:
        """A connection with a protocol of FACTORY's.

        ALTERNATIVE: the caller has another upstream, so it does not wait on when somebody else's try has failed.
        Else this is the original, and a try that was not answered is followed by others: its queue may have been full
        for a moment, or the Service's address have led to a pod that has just gone.

        Errors: UpstreamDown; the breaker is then open, and a probe looks for the upstream.
        """
        limit = asyncio.timeout(self._config.connect_seconds)
        if alternative:
            self._limits.add(limit)
        try:
            return await (self._connect(factory, limit) if alternative else self._insist(factory))
        except UpstreamDown:
            self._limits.discard(limit)
            self.breaker.failed_connect()
            self._look_for_it()
            raise
        finally:
            self._limits.discard(limit)

    async def _insist(self, factory: Callable[[], P]) -> tuple[asyncio.Transport, P]:
        """Errors: UpstreamDown when it refuses, or within original_seconds."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._config.original_seconds
        while True:
            try:
                return await self._connect(factory, asyncio.timeout(self._config.connect_seconds))
            except Unanswered:
                if loop.time() + self._config.connect_seconds > until:
                    raise

    def closed_early(self) -> None:
        """A fresh connection of ours was closed before the first byte of an answer."""
        self.breaker.closed_early()
        if self.breaker.is_open:
            self._look_for_it()

    def silent(self) -> None:
        """Its laptop sleeps, whatever its shadow still accepts."""
        self.breaker.failed_connect()
        self._look_for_it()

    def worked(self) -> None:
        """The first byte of an answer came."""
        self.breaker.worked()

    def back(self, seconds: float) -> asyncio.Future[bool]:
        """Done with True as soon as the upstream is found alive, with False after SECONDS."""
        loop = asyncio.get_running_loop()
        waiting: asyncio.Future[bool] = loop.create_future()
        if not self.is_open:
            waiting.set_result(True)
            return waiting
        self._waiting.add(waiting)
        timer = loop.call_later(seconds, _answer, waiting, False)

        def forget(done: asyncio.Future[bool]) -> None:
            timer.cancel()
            self._waiting.discard(done)

        waiting.add_done_callback(forget)
        return waiting

    def forget(self) -> None:
        """The table no longer names it: no more probes, no idle connections. Whoever waits for it falls back."""
        self.forgotten = True
        for connection in tuple(self.idle):
            connection.abort()
        if self._probe:
            self._probe.cancel()
            self._probe = None
        for waiting in tuple(self._waiting):
            _answer(waiting, False)

    async def _connect(self, factory: Callable[[], P], limit: asyncio.Timeout) -> tuple[asyncio.Transport, P]:
        try:
            async with limit:
                transport, protocol = await self._reach(factory)
        except TimeoutError:
            raise Unanswered(f"did not accept a connection within {self._config.connect_seconds:g} s") from None
        except ConnectionRefusedError:
            raise UpstreamDown("refused the connection") from None
        except (OSError, ValueError) as error:
            raise UpstreamDown(f"cannot be reached: {error}") from None
        plain = transport.get_extra_info("socket")
        if plain is not None:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return transport, protocol

    async def _reach(self, factory: Callable[[], P]) -> tuple[asyncio.Transport, P]:
        loop = asyncio.get_running_loop()
        if self.via:
            return await connect_via(loop, self.via, (self.host, self.port), factory)
        addresses, _ = await resolve(self.host, self.port)
        for address in addresses[:-1]:
            try:
                return await loop.create_connection(factory, address, self.port)
            except OSError:
                continue
        return await loop.create_connection(factory, addresses[-1], self.port)

    def _look_for_it(self) -> None:
        loop = asyncio.get_running_loop()
        for limit in self._limits:
            if not limit.expired():
                limit.reschedule(loop.time())
        if self._probe is None:
            self._probe = loop.create_task(self._until_alive())

    async def _until_alive(self) -> None:
        """Starts to connect each probe_seconds. No request pays for it, and no tunnel with a closed far end passes."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while self.breaker.is_open:
            due = max(due + self._config.probe_seconds, loop.time())
            await asyncio.sleep(due - loop.time())
            if await self._stays():
                self.breaker.recovered()
        self._probe = None
        for waiting in tuple(self._waiting):
            _answer(waiting, True)

    async def _stays(self) -> bool:
        """Whether a new connection is neither refused nor closed at once, by a laptop that is awake."""
        if self._is_silent(self.name):
            return False
        try:
            transport, probe = await self._connect(_Probe, asyncio.timeout(self._config.probe_seconds))
        except UpstreamDown:
            return False
        try:
            await asyncio.wait_for(asyncio.shield(probe.ended), self._config.stays_seconds)
        except TimeoutError:
            return True
        finally:
            transport.abort()
        return probe.spoke


def _answer(waiting: asyncio.Future[bool], found: bool, /) -> None:
    if not waiting.done():
        waiting.set_result(found)


class _Probe(asyncio.Protocol):
    """Notes whether the other side speaks or closes; a server that speaks first is alive, however it goes on."""

    def __init__(self) -> None:
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.spoke = False

    def data_received(self, data: bytes) -> None:
        self.spoke = True

    def connection_lost(self, error: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_result(None)
