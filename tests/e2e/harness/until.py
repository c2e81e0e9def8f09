"""Waiting for a fact with a deadline, and saying what was seen last when it does not come true."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(fact: Callable[[], T], what: str, *, seconds: float = 10.0, every: float = 0.05) -> T:
    """The first answer of FACT that is true. Raises AssertionError naming WHAT after SECONDS."""
    deadline = time.monotonic() + seconds
    while not (answer := fact()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not after {seconds:.0f} s (last seen: {answer!r})")
        time.sleep(every)
    return answer
