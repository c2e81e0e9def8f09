"""SETTINGS of the client, one after the other: told to its upstreams, put in force, acknowledged."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from ktpy_router.h2 import flow, frames
from ktpy_router.h2.frames import DEFAULT_WINDOW, INITIAL_WINDOW_SIZE

if TYPE_CHECKING:
    from ktpy_router.h2.connection import Connection

SETTINGS_SECONDS = 5.0
"""An upstream that does not acknowledge SETTINGS by then no longer keeps the client from its acknowledgement."""


class Change:
    """SETTINGS of the client, until all upstreams that were told have acknowledged them."""

    __slots__ = ("left", "size", "until")

    def __init__(self, size: int | None, until: float) -> None:
        self.size = size
        self.until = until
        self.left = 0


class ClientSettings:
    """The client counts with its old windows until our acknowledgement (RFC 9113, section 6.5.3).

    So upstreams must have heard of a smaller one before, and must not hear of a larger one before: the next change is
    told when the one before it is acknowledged.
    """

    def __init__(self, relay: Connection) -> None:
        self.told = DEFAULT_WINDOW
        """The initial window of streams that upstreams know of."""
        self.in_force = DEFAULT_WINDOW
        """The one that the client counts with."""
        self._relay = relay
        self._changes: deque[Change] = deque()

    def came(self, found: dict[int, int]) -> None:
        self._changes.append(Change(found.get(INITIAL_WINDOW_SIZE), self._relay.now + SETTINGS_SECONDS))
        if len(self._changes) == 1:
            self._tell(self._changes[0])
            self.acknowledge()

    def acknowledge(self) -> None:
        """In the order in which they came (section 6.5.3)."""
        changes = self._changes
        while changes and (changes[0].left <= 0 or changes[0].until <= self._relay.now):
            changes.popleft()
            self._put_in_force()
            flow.in_turn(self._relay, frames.SETTINGS_ACK)
            if changes:
                self._tell(changes[0])

    def _tell(self, change: Change) -> None:
        before, self.told = self.told, self.told if change.size is None else change.size
        for link in self._relay.all_links if self.told != before else ():
            if link.up and not link.gone:
                change.left += self.told < before
                link.new_initial_window(self.told, change)

    def _put_in_force(self) -> None:
        """Section 6.9.2: all streams gain or lose the difference."""
        more, self.in_force = self.told - self.in_force, self.told
        for stream in self._relay.streams.values() if more else ():
            stream.room += more
