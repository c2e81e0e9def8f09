"""What went through the tunnel, counted where it happens and read as one frozen value."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from ktpy.net.first import NOTHING, First, Seen


@dataclass(frozen=True)
class TunnelStats:
    """CONNECTIONS came from the cluster; FAILED are those that nothing on the laptop answered. Times are monotonic.

    FIRST is what is known of the first request.
    """

    connections: int = 0
    open_now: int = 0
    failed: int = 0
    bytes_to_laptop: int = 0
    bytes_to_cluster: int = 0
    first_connection_at: float | None = None
    first_bytes_at: float | None = None
    heals: int = 0
    first: Seen = NOTHING


class Counters:
    """Written by the tunnel's thread only; a reader in another thread may see a value that is a moment old.

    ON_FIRST is called at the first arrival, when the first bytes have come for the laptop, and when all is known that
    will be known of what they asked.
    """

    def __init__(self, on_first: Callable[[], None] = lambda: None) -> None:
        self._on_first = on_first
        self.connections = 0
        self.open_now = 0
        self.failed = 0
        self.bytes_to_laptop = 0
        self.bytes_to_cluster = 0
        self.first_connection_at: float | None = None
        self.first_bytes_at: float | None = None
        self.heals = 0
        self.first = First(on_first)

    def arrived(self, now: float) -> None:
        self.connections += 1
        self.open_now += 1
        if self.first_connection_at is None:
            self.first_connection_at = now
            self._on_first()

    def to_laptop(self, size: int) -> None:
        self.bytes_to_laptop += size
        if self.first_bytes_at is None:
            self.first_bytes_at = time.monotonic()
            self._on_first()

    def start_over(self) -> None:
        """Count arrivals from here on."""
        self.connections, self.first_connection_at, self.first_bytes_at = 0, None, None
        self.first = First(self._on_first)

    def healed(self) -> None:
        self.heals += 1

    def ended(self) -> None:
        self.open_now -= 1

    def read(self) -> TunnelStats:
        return TunnelStats(
            self.connections,
            self.open_now,
            self.failed,
            self.bytes_to_laptop,
            self.bytes_to_cluster,
            self.first_connection_at,
            self.first_bytes_at,
            self.heals,
            self.first.seen,
        )
