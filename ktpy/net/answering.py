"""Answers what arrives in the pod: connects the laptop's port, or refuses, or recognises our own probe."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass

from ktpy.net.channel import Channel
from ktpy.net.counters import Counters
from ktpy.net.echo import Asking, Echo, Held
from ktpy.net.pump import Opening, Pump
from ktpy.net.relay import READ_SIZE, Relay

log = logging.getLogger(__name__)

LOOPBACK = ("127.0.0.1", "::1")


@dataclass(frozen=True)
class Arrival:
    """What reaches POD_PORT in the pod is answered by HOST:PORT of the laptop."""

    pod_port: int
    host: str
    port: int


class Answering:
    """Lives in the tunnel's loop for as long as the tunnel, across all its wires."""

    def __init__(
        self,
        arrivals: Sequence[Arrival],
        counters: Counters,
        *,
        pulse: int = 0,
        connect_timeout: float,
        on_refused: Callable[[Arrival, str], None],
    ) -> None:
        """PULSE: the pod port at which this process itself answers; 0: there is none."""
        self._pulse = pulse
        self._by_port = {arrival.pod_port: arrival for arrival in arrivals}
        self._counters = counters
        self._timeout = connect_timeout
        self._on_refused = on_refused
        self._scratch = memoryview(bytearray(READ_SIZE))
        self._tasks: set[asyncio.Task[None]] = set()
        self._probes: list[tuple[int, bytes]] = []
        self._held: set[Held] = set()
        self._relays: set[Relay] = set()
        self.idle = asyncio.Event()
        self.idle.set()

    def opening(self, pump: Pump, opening: Opening) -> None:
        """RFC 4254 §7.2."""
        arrival = self._by_port.get(opening.port)
        if opening.port == self._pulse:
            pump.accept(opening, Echo())
        elif arrival is None:
            pump.refuse(opening, f"nothing on the laptop answers for port {opening.port}")
        elif opening.origin in LOOPBACK and self._words(opening.port):
            self._hold(pump, opening, arrival)
        else:
            self._start(self._answer(pump, opening, arrival))

    async def probe(self, pump: Pump, pod_port: int) -> float:
        """Seconds until our word came back. Errors: OpenRefused, TunnelLost; its caller limits the time."""
        started = time.monotonic()
        asking = Asking()
        probe = (pod_port, asking.word)
        self._probes.append(probe)
        try:
            stream = await pump.open(LOOPBACK[0], pod_port, asking)
            try:
                await asking.heard
            finally:
                stream.abort()
            return time.monotonic() - started
        finally:
            self._probes.remove(probe)
            for held in list(self._held):
                held.judge()
                if not held.is_waiting:
                    self._held.discard(held)

    async def close(self) -> None:
        """Forget what is being connected, and wait until every laptop socket is closed."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        for relay in list(self._relays):
            relay.give_up()
        await self.idle.wait()

    def _words(self, port: int) -> list[bytes]:
        return [word for pod_port, word in self._probes if pod_port == port]

    def _hold(self, pump: Pump, opening: Opening, arrival: Arrival) -> None:
        def go_on(stream: asyncio.Transport, first: bytes, has_eof: bool) -> None:
            self._held.discard(held)
            assert isinstance(stream, Channel)
            self._start(self._go_on(stream, arrival, first, has_eof))

        held = Held(lambda: self._words(opening.port), go_on)
        self._held.add(held)
        pump.accept(opening, held)

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, pump: Pump, opening: Opening, arrival: Arrival) -> None:
        relay = self._relay()
        try:
            why = await self._connect(relay, arrival)
        except asyncio.CancelledError:
            relay.give_up()
            raise
        if why:
            pump.refuse(opening, why)
        if why or pump.why is not None:
            relay.give_up()
        else:
            pump.accept(opening, relay)

    async def _go_on(self, stream: Channel, arrival: Arrival, first: bytes, has_eof: bool) -> None:
        relay = self._relay(first, has_eof=has_eof)
        try:
            why = await self._connect(relay, arrival)
        except asyncio.CancelledError:
            relay.give_up()
            raise
        if why or stream.is_closing():
            stream.abort()
            relay.give_up()
            return
        stream.set_protocol(relay)
        relay.connection_made(stream)
        stream.resume_reading()

    def _relay(self, first: bytes = b"", *, has_eof: bool = False) -> Relay:
        self._counters.arrived(time.monotonic())
        self.idle.clear()

        def ended() -> None:
            self._relays.discard(relay)
            self._ended()

        soon = asyncio.get_running_loop().call_soon
        relay = Relay(self._counters, self._scratch, soon=soon, on_end=ended, first=first, has_eof=has_eof)
        self._relays.add(relay)
        return relay

    async def _connect(self, relay: Relay, arrival: Arrival) -> str:
        """Why the laptop's port cannot be reached, or nothing."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._timeout):
                await loop.create_connection(lambda: relay.socket, arrival.host, arrival.port)
        except TimeoutError:
            why = f"{arrival.host}:{arrival.port} does not answer"
        except OSError as error:
            why = f"{arrival.host}:{arrival.port}: {error.strerror or error}"
        else:
            return ""
        self._counters.failed += 1
        self._on_refused(arrival, why)
        return why

    def _ended(self) -> None:
        self._counters.ended()
        if not self._counters.open_now:
            self.idle.set()
