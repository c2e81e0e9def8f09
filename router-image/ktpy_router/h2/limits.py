"""How much of what costs the sender nothing a client may send: resets, pings, settings, empty frames."""

from __future__ import annotations

from ktpy_router.h2.frames import Code, ConnectionFault

MOST_STREAMS = 256
"""Open at once on a client's connection; what we announce as SETTINGS_MAX_CONCURRENT_STREAMS."""
CAUTIOUS_STREAMS = 100
"""Opened on an upstream's connection before it has said how many it takes (RFC 9113 section 6.5.2 asks for 100)."""
MOST_CONTINUATIONS = 64
"""In one header block: empty ones cost us as much as full ones (CVE-2024-27316)."""


class Budget:
    """So many at once, and so many a second for ever."""

    __slots__ = ("_burst", "_left", "_per_second", "_seen", "_what")

    def __init__(self, what: str, burst: int, per_second: float, now: float) -> None:
        self._what = what
        self._burst = burst
        self._per_second = per_second
        self._left = float(burst)
        self._seen = now

    def spend(self, now: float) -> None:
        """Errors: ConnectionFault with ENHANCE_YOUR_CALM when there is nothing left."""
        self._left += (now - self._seen) * self._per_second
        self._seen = now
        if self._left > self._burst:
            self._left = self._burst
        self._left -= 1
        if self._left < 0:
            raise ConnectionFault(Code.ENHANCE_YOUR_CALM, f"too many {self._what}")


class Budgets:
    """Of one client connection. Generous: a gateway sends the requests of many people over one."""

    __slots__ = ("empty", "pings", "resets", "settings", "strays")

    def __init__(self, now: float) -> None:
        self.resets = Budget("streams that were reset before their answer", 1000, 200, now)  # CVE-2023-44487
        self.pings = Budget("PING and PRIORITY frames", 1000, 100, now)  # CVE-2019-9512, 9513
        self.settings = Budget("SETTINGS frames", 100, 5, now)  # CVE-2019-9515
        self.empty = Budget("empty frames", 2000, 1000, now)  # CVE-2019-9518
        self.strays = Budget("frames on streams that are closed", 2000, 1000, now)
