import asyncio
from typing import Any

import pytest

from ktpy.errors import TunnelLost
from ktpy.net import listening
from ktpy.net.pump import OpenRefused
from tests.unit.net.fakes import FakeTransport


class FakePump:
    """Refuses each port so many times; a port may be held by somebody."""

    def __init__(self, refusals: dict[int, int], *, held: bool) -> None:
        self.refusals, self.held = refusals, held
        self.asked: list[tuple[str, int]] = []
        self.poked: list[int] = []

    async def listen(self, address: str, port: int) -> bool:
        self.asked.append((address, port))
        self.refusals[port] = self.refusals.get(port, 0) - 1
        return self.refusals[port] < 0

    async def open(self, host: str, port: int, protocol: asyncio.Protocol) -> FakeTransport:
        self.poked.append(port)
        if not self.held:
            raise OpenRefused(2, "Connection refused")
        return FakeTransport()


def listen(pump: Any, *ports: int, timeout: float = 5.0) -> None:
    asyncio.run(listening.listen_all(pump, "", ports, timeout=timeout))


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "AGAIN", 0.0)


def test_every_port_is_asked_for_on_every_address() -> None:
    pump = FakePump({}, held=False)
    listen(pump, 80, 443)
    assert pump.asked == [("", 80), ("", 443)]
    assert pump.poked == []


def test_a_port_that_a_dead_session_holds_is_poked_until_it_is_free() -> None:
    pump = FakePump({443: 5}, held=True)
    listen(pump, 80, 443)
    assert pump.poked == [443] * 5


def test_a_port_that_is_free_and_refused_is_not_permitted() -> None:
    pump = FakePump({81: 99}, held=False)
    with pytest.raises(TunnelLost, match="port 81: not permitted"):
        listen(pump, 81)
    assert len(pump.asked) == 3


def test_a_port_that_stays_held_is_given_up() -> None:
    with pytest.raises(TunnelLost, match="did not listen on 80, 81"):
        listen(FakePump({80: 1 << 60}, held=True), 80, 81, timeout=0.01)
