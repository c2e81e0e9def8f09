"""Which sessions said that they live, and until when: rows of those that are long past it, and do not answer, go."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Collection
from typing import NamedTuple

from ktpy_router.resolve import resolve
from ktpy_router.table import Row, split

MOST_SECONDS = 86400.0
REACH_SECONDS = 2.0  # for a name and a connection
STAYS_SECONDS = 0.05
"""A tunnel whose far end is gone closes a connection sooner than that."""
LOOKS = 60
"""How often rows are looked at within the time that they may be overdue."""
SHORTEST_SECONDS = 0.05
"""Between two looks."""


class BadHeartbeat(ValueError):
    """The text is a sentence for whoever sent it."""


class Heartbeat(NamedTuple):
    """SESSION lives, for as many SECONDS from now at least."""

    session: str
    seconds: float


def heartbeat(text: bytes) -> Heartbeat:
    """Errors: BadHeartbeat."""
    try:
        raw = json.loads(text)
        session, seconds = raw["session"], raw["seconds"]
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        raise BadHeartbeat("A heartbeat is an object with session and seconds.") from error
    is_number = isinstance(seconds, int | float) and not isinstance(seconds, bool) and math.isfinite(seconds)
    if not isinstance(session, str) or not is_number or not 0 <= seconds <= MOST_SECONDS:
        raise BadHeartbeat(f"A heartbeat has a session's name, and seconds from 0 to {MOST_SECONDS:.0f}.")
    return Heartbeat(session, float(seconds))


class Leases:
    """By session until when it lives, by the caller's clock. Nothing is concluded of one that never said anything."""

    def __init__(self, past: float) -> None:
        """PAST: seconds after which a session is overdue."""
        self._past = past
        self._until: dict[str, float] = {}

    def __contains__(self, session: str) -> bool:
        return session in self._until

    def renew(self, beat: Heartbeat, now: float) -> None:
        self._until[beat.session] = now + beat.seconds

    def keep(self, sessions: Collection[str]) -> None:
        """Forget all others: they have no row any more."""
        self._until = {session: until for session, until in self._until.items() if session in sessions}

    def is_overdue(self, session: str, now: float) -> bool:
        return session in self._until and now > self._until[session] + self._past


async def is_gone(row: Row) -> bool:
    """Whether none of the addresses of ROW keeps a connection."""
    return not any(await asyncio.gather(*(_answers(to) for to in set(row.to.values()))))


async def _answers(address: str) -> bool:
    host, port = split(address)
    try:
        async with asyncio.timeout(REACH_SECONDS):
            addresses, _ = await resolve(host, port)
            reader, writer = await asyncio.open_connection(addresses[0], port)
    except (TimeoutError, OSError):
        return False
    try:
        async with asyncio.timeout(STAYS_SECONDS):
            return bool(await reader.read(1))
    except TimeoutError:
        return True
    except OSError:
        return False
    finally:
        writer.transport.abort()
