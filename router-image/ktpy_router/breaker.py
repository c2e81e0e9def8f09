"""Whether an upstream is tried at all: after it failed, one request pays for finding out, not each."""

from __future__ import annotations


class Breaker:
    """Open means: do not try. Only a probe that finds the upstream alive closes it again.

    Slowness never opens it, and neither does an answer of any status: a developer's debugger may hold a program for
    an hour, and its 500s are what the developer wants to see.
    """

    __slots__ = ("_closes", "_closes_to_open", "is_open")

    def __init__(self, closes_to_open: int) -> None:
        self.is_open = False
        self._closes = 0
        self._closes_to_open = closes_to_open

    def failed_connect(self) -> None:
        """It refused, or did not accept in time."""
        self.is_open = True

    def closed_early(self) -> None:
        """It accepted, and closed that fresh connection without a byte of an answer.

        Once may be the program's crash on that very request. Several in a row is a tunnel whose far end is closed.
        """
        self._closes += 1
        if self._closes >= self._closes_to_open:
            self.is_open = True

    def worked(self) -> None:
        """The first byte of an answer came. On the path of every request: keep it cheap."""
        self._closes = 0

    def recovered(self) -> None:
        """A probe found it alive."""
        self.is_open = False
        self._closes = 0
