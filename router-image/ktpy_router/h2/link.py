"""The connection to one upstream: its windows, its streams, and what is to be written to it."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from ktpy_router.h2 import frames
from ktpy_router.h2.blocks import HeaderBlock, Rewriter
from ktpy_router.h2.flow import LINK_WINDOW
from ktpy_router.h2.frames import DEFAULT_WINDOW
from ktpy_router.h2.limits import CAUTIOUS_STREAMS
from ktpy_router.h2.settings import Change
from ktpy_router.h2.stream import Stream

if TYPE_CHECKING:
    from ktpy_router.h2.connection import Connection
    from ktpy_router.upstream import Upstream


class Link:
    """One upstream connection of one client connection. A stream has the id that it has at the client."""

    def __init__(self, relay: Connection, upstream: Upstream, *, trusted: bool, limit: int = CAUTIOUS_STREAMS) -> None:
        self.relay = relay
        self.upstream = upstream
        self.trusted = trusted
        """Whether its header blocks go to the client unseen. A developer's half-finished server must not be able to
        end the connection of everybody else's client with a block that cannot be decoded."""
        self.out: list[bytes] = []
        self.queue: list[Stream] = []
        """By id: streams that wait for the connection, or for its limit of streams."""
        self.up = False
        self.gone = False
        self.retired = False
        """Takes no new streams, and is closed with its last one."""
        self.answered = False
        self.congested = False
        """It does not read what we have written."""
        self.parked = 0
        """Bytes of clients that were written since: credited when it reads again."""
        self.open = 0
        self.last = 0
        self.limit = limit
        self.primed = False
        """Whether the upstream's decoder was told that no dynamic table is used."""
        self.initial_window = DEFAULT_WINDOW
        self.send_window = DEFAULT_WINDOW
        self.receive_window = LINK_WINDOW
        self.credit = 0
        self.starved: dict[int, Stream] = {}
        """Streams that hold something only because of the connection's window."""
        self.idle_since = relay.now
        self.plain = False
        """Whether HEADERS may pass as they are: our SETTINGS are acknowledged, the client's decoder was told that no
        dynamic table is used, and the upstream has answered before."""
        self._acknowledging: deque[Change | None] = deque()
        self._rewriter: Rewriter | None = Rewriter(2 * relay.config.head_bytes)
        self._tail = b""
        self._heard = False
        self._heard_settings = False
        self._block: HeaderBlock | None = None

    def connected(self) -> None:
        """The preface goes first, requests may follow at once (RFC 9113, section 3.4)."""
        self.up = True
        pairs = [(frames.HEADER_TABLE_SIZE, 0), (frames.ENABLE_PUSH, 0)]
        if (size := self.relay.settings.told) != DEFAULT_WINDOW:
            pairs.append((frames.INITIAL_WINDOW_SIZE, size))
        self.out += [frames.PREFACE, frames.settings(*pairs), frames.window_update(0, LINK_WINDOW - DEFAULT_WINDOW)]
        self._acknowledging.append(None)

    def new_initial_window(self, size: int, change: Change) -> None:
        """The client changed it."""
        self.out.append(frames.settings((frames.INITIAL_WINDOW_SIZE, size)))
        self._acknowledging.append(change)

    def received(self, data: bytes) -> None:
        """Bytes of the upstream. Errors: ConnectionFault when it is of no use any more."""
        raise NotImplementedError

    def may_be_plain(self) -> None:
        self.plain = self._rewriter is None and self.relay.primed and self.answered

    def settle(self) -> None:
        """Give the upstream back what of its connection's window has left us."""
        self.out.append(frames.window_update(0, self.credit))
        self.receive_window += self.credit
        self.credit = 0

    def stop_waiting(self) -> None:
        """It has gone, and acknowledges nothing any more."""
        for change in self._acknowledging:
            if change is not None:
                change.left -= 1
        self._acknowledging.clear()
