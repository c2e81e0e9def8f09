"""New clients of a listening port: who takes them, and when one counts as silent."""

from __future__ import annotations

import array
import asyncio
import fcntl
import termios
from collections import deque

from ktpy_router.core import Core, PortState
from ktpy_router.http1 import Http1Client
from ktpy_router.sniff import FirstBytes, Kind, decide

DIALS_AT_ONCE = 64
"""For silent clients of a port: less than the queue of nearly every server (128 was Linux' own limit for long)."""


def unread(transport: asyncio.BaseTransport) -> bool:
    """Whether bytes of it wait in the kernel: a busy worker then takes no client for a silent one."""
    count = array.array("i", [0])
    fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.FIONREAD, count)
    return count[0] > 0


class Silence:
    """New clients of one port that were not heard yet, oldest first: one timer for all, since most speak at once."""

    def __init__(self, core: Core, port: PortState) -> None:
        self._core = core
        self._port = port
        self._waiting: deque[tuple[float, Http1Client]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, client: Http1Client) -> None:
        config = self._core.config
        seconds = config.eager_seconds if self._port.only_one else config.sniff_seconds
        self._waiting.append((self._core.loop.time() + seconds, client))
        if self._timer is None:
            self._timer = self._core.loop.call_later(seconds, self._look)

    def _look(self) -> None:
        waiting = self._waiting
        now = self._core.loop.time() + 0.001  # the timer's own grain
        while waiting and waiting[0][0] <= now:
            waiting.popleft()[1].is_silent()
        self._timer = self._core.loop.call_later(waiting[0][0] - now, self._look) if waiting else None


class Door:
    """Makes the protocols of one listening port: `loop.create_server(Door(core, port), …)`.

    A new client is taken for one that speaks HTTP/1, since nearly all do, and a change of protocol costs uvloop two
    system calls. One that turns out to be something else, or is silent, is `unknown`.
    """

    def __init__(self, core: Core, port: PortState) -> None:
        self._core = core
        self._port = port
        self._place = core, port
        self.silence = Silence(core, port)
        self._dials = asyncio.Semaphore(DIALS_AT_ONCE)

    def __call__(self) -> Http1Client | FirstBytes:
        return FirstBytes(self._core, self._port, self._dials) if self._port.raw else Http1Client(*self._place, self)

    def is_http1(self, data: bytes) -> bool:
        """Whether a client's first bytes leave no doubt."""
        return decide(data) is Kind.HTTP1

    def is_silent(self, transport: asyncio.Transport) -> bool:
        """Whether nothing is to be read from it either."""
        return not transport.is_closing() and not unread(transport)

    def unknown(self, transport: asyncio.Transport, data: bytes) -> FirstBytes:
        """Find out what that client speaks."""
        client = FirstBytes(self._core, self._port, self._dials)
        client.take_over(transport, data)
        return client
