"""The first request of the cluster, told to whoever waits for it at the laptop."""

from __future__ import annotations

import time

from ktpy.kt import Kt
from ktpy.model.events import FirstRequest
from ktpy.modes.link import Link
from ktpy.stop import Stop

ANSWER_SECONDS = 3.0  # a debugger may hold the answer for an hour


def report_first_request(kt: Kt, link: Link, done: Stop) -> None:
    """A worker: say when the first bytes from the cluster have come, and how they were answered.

    Our own knocks send none.
    """
    since = time.monotonic()
    kt.stop.wait_for(lambda: done.is_asked or link.stats().first_bytes_at is not None)
    came = link.stats().first_bytes_at
    if came is None:
        return
    kt.stop.wait_for(lambda: done.is_asked or link.stats().first.is_over, ANSWER_SECONDS)
    seen = link.stats().first
    milliseconds = None if seen.seconds is None else round(1000 * seen.seconds)
    after = max(0.0, came - since)
    kt.tell(FirstRequest(after, link.is_marked, seen.method, seen.path, seen.status, milliseconds))
