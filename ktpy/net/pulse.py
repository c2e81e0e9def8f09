"""Decides when a silent wire is dead: asks every few seconds, and forgives the silence of a laptop that slept."""

from __future__ import annotations


class Pulse:
    """Told the time and how much was heard at each tick; answers whether the other side is still there."""

    def __init__(self, interval: float, *, misses: int = 3) -> None:
        self.interval = interval
        self._limit = misses
        self._missed = 0
        self._heard = 0
        self._last: float | None = None

    def beats(self, now: float, heard: int) -> bool:
        """False when MISSES questions in a row got nothing at all.

        A tick that is late by an interval means that this process was not running (suspended, stopped): whatever
        was sent to it waits in the kernel, so that silence says nothing.
        """
        slept = self._last is not None and now - self._last > 2 * self.interval
        asked = self._last is not None
        if heard != self._heard or slept or not asked:
            self._missed = 0
        else:
            self._missed += 1
        self._heard, self._last = heard, now
        return self._missed < self._limit
