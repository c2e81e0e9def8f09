"""The one way to end a run: a flag that a signal or the first failing worker sets, and that every wait watches."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from ktpy.errors import Interrupted


class Stop:
    """Set once; the first reason counts. Signals only set it, so no undo is ever cut in half.

    It is also the run's one wake-up point: whoever learns something that another thread waits for calls `poke`.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._asked = False
        self._reason = ""
        self._error: BaseException | None = None
        self._listeners: list[Callable[[], object]] = []

    def ask(self, reason: str, *, error: BaseException | None = None) -> None:
        """End the run because of REASON; ERROR is what the user is told in the end."""
        with self._changed:
            if not self._asked:
                self._asked, self._reason, self._error = True, reason, error
            self._changed.notify_all()
            listeners, self._listeners = self._listeners, []
        for listener in listeners:
            listener()

    def on_ask(self, listener: Callable[[], object]) -> None:
        """Call LISTENER once, in the asking thread, when the end is asked."""
        with self._changed:
            if not self._asked:
                self._listeners.append(listener)
                return
        listener()

    def poke(self) -> None:
        """Let every wait look again."""
        with self._changed:
            self._changed.notify_all()

    @property
    def is_asked(self) -> bool:
        return self._asked

    @property
    def reason(self) -> str:
        return self._reason

    @property
    def error(self) -> BaseException | None:
        return self._error

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until the end is asked, at most SECONDS; true if it was asked. Replaces every sleep."""
        return self.wait_for(lambda: False, seconds)

    def wait_for(self, fact: Callable[[], bool], seconds: float | None = None) -> bool:
        """Wait until FACT holds or the end is asked, at most SECONDS; true if the end was asked."""
        until = None if seconds is None else time.monotonic() + seconds
        with self._changed:
            while not self._asked and not fact():
                left = None if until is None else until - time.monotonic()
                if left is not None and left <= 0:
                    break
                self._changed.wait(left)
            return self._asked

    def check(self) -> None:
        """Between two steps of a set-up: raise what ended the run, if anything did."""
        if not self._asked:
            return
        raise self._error or Interrupted(f"Stopped before it was ready ({self._reason}).")
