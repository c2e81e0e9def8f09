"""New clients of a listening port: who takes them, and when one counts as silent."""

from __future__ import annotations

import array
import asyncio
import fcntl
import logging
import socket
import termios
from collections.abc import Sequence
from typing import Protocol

from ktpy_router.core import Core, PortState
from ktpy_router.http1 import Http1Client
from ktpy_router.once import READ_BYTES, Onces, adopt
from ktpy_router.sniff import FirstBytes, Kind, decide

log = logging.getLogger(__name__)

DIALS_AT_ONCE = 64
"""For silent clients of a port: less than the queue of nearly every server (128 was Linux' own limit for long)."""
ACCEPTS_AT_ONCE = 64
"""Others, and those already within, wait for no more."""
PAUSE_SECONDS = 0.2
"""When there are too many open files."""


def unread(transport: asyncio.BaseTransport) -> bool:
    """Whether bytes of it wait in the kernel: a busy worker then takes no client for a silent one."""
    count = array.array("i", [0])
    fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.FIONREAD, count)
    return count[0] > 0


class Watched(Protocol):
    """A client that should have said something, or been told something."""

    def is_silent(self) -> None:
        """It, or who should have, has not."""


class Silence:
    """New clients of one port that were not heard yet, oldest first: one timer for all, since most speak at once."""

    def __init__(self, core: Core, port: PortState) -> None:
        self.core = core
        self._port = port
        self._waiting: dict[Watched, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, client: Watched) -> None:
        config = self.core.config
        seconds = config.eager_seconds if self._port.only_one else config.sniff_seconds
        self._waiting[client] = self.core.loop.time() + seconds
        if self._timer is None:
            self._timer = self.core.loop.call_later(seconds, self._look)

    def heard(self, client: Watched) -> None:
        """Or it has gone. What is kept for longer than it is used makes the next one use memory that is cold."""
        self._waiting.pop(client, None)

    def _look(self) -> None:
        now = self.core.loop.time() + 0.001  # the timer's own grain
        self._timer = None
        for client, due in tuple(self._waiting.items()):
            if due > now:
                self._timer = self.core.loop.call_later(due - now, self._look)
                return
            if self._waiting.pop(client, None):
                client.is_silent()


class Door:
    """Makes the protocols of one listening port; it can be given to `loop.create_server`, too.

    A new client is taken for one that speaks HTTP/1, since nearly all do, and a change of protocol costs uvloop two
    system calls. One that turns out to be something else, or is silent, is `unknown`.
    """

    def __init__(self, core: Core, port: PortState) -> None:
        self._core = core
        self._port = port
        self.silence = Silence(core, port)
        self._dials = asyncio.Semaphore(DIALS_AT_ONCE)

    def __call__(self, first: bytes = b"") -> Http1Client | FirstBytes:
        """FIRST was read from it already."""
        client: Http1Client | FirstBytes
        if self._port.raw:
            client = FirstBytes(self._core, self._port, self._dials)
        else:
            client = Http1Client(self._core, self._port, self)
        client.held = first
        return client

    def is_http1(self, client: Http1Client, data: bytes) -> bool:
        """Whether a client's first bytes leave no doubt."""
        self.silence.heard(client)
        return decide(data) is Kind.HTTP1

    def is_silent(self, transport: asyncio.Transport) -> bool:
        """Whether nothing is to be read from it either."""
        return not transport.is_closing() and not unread(transport)

    def unknown(self, transport: asyncio.Transport, data: bytes) -> FirstBytes:
        """Find out what that client speaks."""
        client = FirstBytes(self._core, self._port, self._dials)
        client.take_over(transport, data)
        return client


class Entrance:
    """Accepts the clients of a listening socket, which it then owns."""

    def __init__(self, core: Core, port: PortState, listening: socket.socket) -> None:
        self._core = core
        self._port = port
        self._listening = listening
        self._door = Door(core, port)
        self._onces = Onces(core, port, self._door.silence)
        self._at_once = 1
        self._kind = int(listening.family), int(listening.type), listening.proto
        listening.setblocking(False)
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # which those that are accepted inherit
        self._go_on()

    @property
    def sockets(self) -> Sequence[socket.socket]:
        return [] if self._listening.fileno() < 0 else [self._listening]

    def is_serving(self) -> bool:
        return self._listening.fileno() >= 0

    def close(self) -> None:
        """The kernel goes on to accept for as long as another copy of the socket is open."""
        if self.is_serving():
            self._core.loop.remove_reader(self._listening.fileno())
            self._listening.close()

    def _go_on(self) -> None:
        if self.is_serving():
            self._core.loop.add_reader(self._listening.fileno(), self._accept)

    def _accept(self) -> None:
        """A few more at each turn that has some, so that a crowd does not wait a turn each behind those within.

        One where one comes alone: to ask once more for nothing would make it a tenth dearer.
        """
        for _ in range(self._at_once):
            if not self._accepted():
                self._at_once = 1
                return
        self._at_once = min(2 * self._at_once, ACCEPTS_AT_ONCE)

    def _accepted(self) -> bool:
        """Take the next client that waits; False where none does, or none can be taken."""
        try:
            # The public accept() takes twice as long, for an address and enums that nobody asks for.
            number, _address = self._listening._accept()  # type: ignore[attr-defined]
        except (InterruptedError, ConnectionAbortedError):
            return True
        except BlockingIOError:
            return False
        except OSError as error:
            log.warning("No client can be accepted for %g s: %s", PAUSE_SECONDS, error)
            self._core.loop.remove_reader(self._listening.fileno())
            self._core.loop.call_later(PAUSE_SECONDS, self._go_on)
            return False
        client = socket.SocketType(*self._kind, number)
        first = b""
        if not self._port.raw:
            try:
                first = client.recv(READ_BYTES, socket.MSG_DONTWAIT)
            except OSError:  # it has said nothing yet, or has gone
                pass
            else:
                if first and self._onces.take(client, first):
                    return True
        self._core.background(adopt(self._core.loop, client, self._door(first), client.close))
        return True
