"""Looks at the first request that reaches the laptop and at its answer, until both are known; changes no byte."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from ktpy.model import glimpse


@dataclass(frozen=True)
class Seen:
    """The first request, as far as it is known. STATUS and SECONDS, until the answer began: None while there is none.

    METHOD is empty where it was no HTTP/1. IS_OVER: nothing more will be known.
    """

    method: str = ""
    path: str = ""
    status: int | None = None
    seconds: float | None = None
    is_over: bool = False


NOTHING = Seen()


class First:
    """Belongs to the first connection that brings bytes; all others let go of it at their own first bytes.

    The calls return it for as long as they are to go on calling. In the tunnel's thread; `seen` may be read in any.
    """

    def __init__(self, on_over: Callable[[], None] = lambda: None) -> None:
        self.seen = NOTHING
        self._on_over = on_over
        self._connection: object = None
        self._asked, self._said = bytearray(), bytearray()
        self._since = 0.0

    def to_laptop(self, connection: object, data: bytes | memoryview) -> First | None:
        """CONNECTION brought DATA."""
        if self._connection is None and not self.seen.is_over:
            self._connection, self._since = connection, time.monotonic()
        elif self._connection is not connection:
            return None
        if not self.seen.method:
            self._take(self._asked, data)
            found = glimpse.request(bytes(self._asked))
            if found:
                self.seen = replace(self.seen, method=found[0], path=found[1])
            elif not glimpse.may_become_request(bytes(self._asked)):
                self._over(self.seen)
                return None
        return self

    def to_cluster(self, connection: object, data: memoryview) -> First | None:
        """The laptop answered CONNECTION with DATA."""
        if self._connection is not connection:
            return None if self.seen.is_over else self
        self._take(self._said, data)
        status = glimpse.status(bytes(self._said)) if self.seen.method else None
        if status:
            self._over(replace(self.seen, status=status, seconds=time.monotonic() - self._since))
        elif not self.seen.method or not glimpse.may_become_answer(bytes(self._said)):  # it speaks first, or otherwise
            self._over(self.seen)
        return None if self.seen.is_over else self

    def ended(self, connection: object) -> None:
        """CONNECTION is over, answered or not."""
        if self._connection is connection:
            self._over(self.seen)

    def _take(self, kept: bytearray, data: bytes | memoryview) -> None:
        kept += data[: glimpse.MOST_BYTES - len(kept)]

    def _over(self, seen: Seen) -> None:
        if not self.seen.is_over:
            self.seen = replace(seen, is_over=True)
            self._connection = None
            self._on_over()
