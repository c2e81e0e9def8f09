"""Who answers an arrival; connecting the laptop's port is tests/loopback's."""

import asyncio
from typing import Any

from ktpy.net.answering import Answering, Arrival
from ktpy.net.counters import Counters
from ktpy.net.echo import Echo
from ktpy.net.pump import Opening
from tests.unit.net.fakes import FakeTransport


class FakePump:
    """The pod: what is opened to a port of ours comes back as an opening of it."""

    why = None

    def __init__(self, answering: Answering) -> None:
        self.answering = answering
        self.refused: list[str] = []
        self.accepted: list[Any] = []

    def refuse(self, opening: Opening, why: str) -> None:
        self.refused.append(why)

    def accept(self, opening: Opening, protocol: Any) -> None:
        self.accepted.append(protocol)
        protocol.connection_made(FakeTransport())

    async def open(self, host: str, port: int, protocol: Any) -> FakeTransport:
        stream = FakeTransport()
        protocol.connection_made(stream)
        self.answering.opening(self, Opening(1, 1, 1, port, host, 5))  # type: ignore[arg-type]
        held = self.accepted[-1]
        held.data_received(stream.taken())
        protocol.data_received(held_stream(held))
        return stream


def held_stream(held: Any) -> bytes:
    """What was echoed: Held lets go of its stream, so the word is what it got."""
    got: bytes = held._got
    return got


def made() -> tuple[Answering, Counters]:
    counters = Counters()
    answering = Answering(
        [Arrival(8080, "127.0.0.1", 1)], counters, connect_timeout=1.0, on_refused=lambda arrival, why: None
    )
    return answering, counters


def test_a_port_that_nobody_answers_for_is_refused() -> None:
    async def main() -> None:
        answering, counters = made()
        pump = FakePump(answering)
        answering.opening(pump, Opening(1, 1, 1, 9999, "10.0.0.7", 5))  # type: ignore[arg-type]
        assert pump.refused == ["nothing on the laptop answers for port 9999"]
        assert counters.connections == 0

    asyncio.run(main())


def test_a_probe_is_answered_here_and_is_no_connection() -> None:
    async def main() -> None:
        answering, counters = made()
        pump = FakePump(answering)
        assert await answering.probe(pump, 8080) >= 0  # type: ignore[arg-type]
        assert counters.connections == 0
        assert answering._held == set() or all(held._stream is None for held in answering._held)

    asyncio.run(main())


def test_the_pulse_is_answered_here_and_is_no_connection() -> None:
    async def main() -> None:
        counters = Counters()
        answering = Answering([], counters, pulse=2223, connect_timeout=1.0, on_refused=lambda arrival, why: None)
        pump = FakePump(answering)
        answering.opening(pump, Opening(1, 1, 1, 2223, "10.0.0.7", 5))  # type: ignore[arg-type]
        assert [type(one) for one in pump.accepted] == [Echo]
        assert counters.connections == 0

    asyncio.run(main())


def test_closing_with_nothing_open_is_at_once() -> None:
    async def main() -> None:
        answering, _ = made()
        await answering.close()

    asyncio.run(main())
