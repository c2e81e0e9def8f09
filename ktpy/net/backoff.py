"""When to try again, and when to give up: after 0.1 s, doubling to 1 s, for so many waking seconds."""

from __future__ import annotations


class Backoff:
    """One row of attempts. Time in which this process did not run (a suspended laptop) is not held against anybody."""

    def __init__(
        self, now: float, *, give_up: float, first: float = 0.1, longest: float = 1.0, patience: float = 30.0
    ) -> None:
        self._left = give_up
        self._pause = first
        self._longest, self._patience = longest, patience
        self._last = now

    def after_failure(self, now: float) -> float | None:
        """Seconds to wait before the next attempt, or None: enough.

        No attempt with its pause takes longer than PATIENCE; a longer one was slept through.
        """
        self._left -= min(now - self._last, self._patience)
        self._last = now
        if self._left <= 0:
            return None
        pause, self._pause = self._pause, min(self._pause * 2, self._longest)
        return pause
