"""Whether the laptop behind a row is awake: asked beside its requests, a few times a second.

The shadow of a laptop that sleeps, or has lost its network, still takes connections and keeps them. So does the
program that a developer has stopped in a debugger, and nobody may take that one's requests away. Requests alone do not
tell the two apart; a laptop that is awake answers its pulse.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from time import monotonic
from typing import cast

from ktpy_router.config import Config
from ktpy_router.table import Row, split

WORD = b"."


class Pulse(asyncio.Protocol):
    """Of one address, for as long as a row names it.

    ON_SILENT is called once it falls silent, with the time up to which all that was sent has arrived: the laptop has
    answered what was asked then. One that was never heard is not judged: a NetworkPolicy may keep it from us.
    """

    def __init__(self, address: str, config: Config, on_silent: Callable[[Pulse, float], None]) -> None:
        self.is_silent = False
        self._address = split(address)
        self._config = config
        self._on_silent = on_silent
        self._heard_at = 0.0
        """When the last question was asked that was answered."""
        self._asked_at = 0.0
        """When the question was asked that is not answered yet; 0: there is none."""
        self._transport: asyncio.Transport | None = None
        self._task = asyncio.get_running_loop().create_task(self._beat())

    def stop(self) -> None:
        """No row names it any more."""
        self._task.cancel()
        if self._transport:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._ask()

    def data_received(self, data: bytes) -> None:
        self._heard_at, self._asked_at = self._asked_at or self._heard_at, 0.0
        self.is_silent = False

    def connection_lost(self, error: Exception | None) -> None:
        self._transport, self._asked_at = None, 0.0

    def _ask(self) -> None:
        assert self._transport
        self._asked_at = monotonic()
        self._transport.write(WORD)

    async def _beat(self) -> None:
        """One that is asked and silent is waited for on the same connection: what wakes up answers there."""
        last = monotonic()
        while True:
            await asyncio.sleep(self._config.pulse_seconds)
            now = monotonic()
            # A turn that comes late was kept from coming, and so was the answer: the next one judges.
            is_late, last = now - last > 2 * self._config.pulse_seconds, now
            if self._transport is None:
                await self._connect()
            elif not self._asked_at:
                self._ask()
            elif now - self._asked_at > self._config.silent_seconds and not is_late:
                self._falls_silent()

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._config.silent_seconds):
                await loop.create_connection(lambda: self, *self._address)
        except TimeoutError:
            self._falls_silent()
        except OSError:
            pass  # refused: so are requests, and that is enough for them

    def _falls_silent(self) -> None:
        if self._heard_at and not self.is_silent:
            self.is_silent = True
            self._on_silent(self, self._heard_at)


class Pulses:
    """Of all rows of a worker. ON_SILENT is told the addresses that a laptop's requests go to, and since when."""

    def __init__(self, config: Config, on_silent: Callable[[frozenset[str], float], None]) -> None:
        self._config = config
        self._on_silent = on_silent
        self._pulses: dict[str, Pulse] = {}
        self._of: dict[str, Pulse] = {}

    def follow(self, rows: Iterable[Row]) -> None:
        """Those of ROWS, and no other."""
        wanted = {row.pulse: row for row in rows if row.pulse}
        for address in self._pulses.keys() - wanted.keys():
            self._pulses.pop(address).stop()
        for address in wanted.keys() - self._pulses.keys():
            self._pulses[address] = Pulse(address, self._config, self._silent)
        self._of = {to: self._pulses[row.pulse] for row in rows if row.pulse for to in row.to.values()}

    def is_silent(self, address: str) -> bool:
        """Whether the laptop that answers at ADDRESS is known to sleep."""
        pulse = self._of.get(address)
        return pulse is not None and pulse.is_silent

    def stop(self) -> None:
        self.follow(())

    def _silent(self, pulse: Pulse, since: float) -> None:
        self._on_silent(frozenset(to for to, other in self._of.items() if other is pulse), since)
