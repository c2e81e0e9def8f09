"""The wire before and after the log-in; the log-in itself is tests/loopback's."""

import asyncio
from typing import Any

import pytest

from ktpy.errors import NotFound, TunnelLost
from ktpy.net.link import Wire, dialled, lost
from tests.unit.net.fakes import FakeTransport


class Sink:
    def __init__(self) -> None:
        self.got = b""
        self.why: BaseException | None = None

    def feed(self, data: bytes) -> None:
        self.got += data

    def lost(self, why: BaseException | None) -> None:
        self.why = why


def test_what_comes_before_anybody_listens_is_kept() -> None:
    async def main() -> None:
        wire, sink = Wire(), Sink()
        wire.connection_made(FakeTransport())
        wire.data_received(b"SSH-")
        wire.give_to(sink)  # type: ignore[arg-type]
        wire.data_received(b"2.0")
        assert sink.got == b"SSH-2.0"

    asyncio.run(main())


def test_an_end_is_told_to_whoever_has_the_wire() -> None:
    async def main() -> None:
        wire, sink = Wire(), Sink()
        wire.give_to(sink)  # type: ignore[arg-type]
        wire.connection_lost(None)
        assert "closed by the other side" in str(sink.why)
        assert await wire.ended is None

    asyncio.run(main())


def test_an_end_before_anybody_listened_is_told_behind_what_came() -> None:
    async def main() -> None:
        wire, sink = Wire(), Sink()
        wire.data_received(b"SSH-")
        wire.connection_lost(None)
        wire.give_to(sink)  # type: ignore[arg-type]
        assert sink.got == b"SSH-"
        assert "closed by the other side" in str(sink.why)

    asyncio.run(main())


def test_a_reason_is_kept_and_a_foreign_one_translated() -> None:
    ours = TunnelLost("the port-forward ended")
    assert lost(ours) is ours
    assert lost(OSError("reset")).what == "the wire to the shadow pod was cut: reset"


def test_what_goes_wrong_in_dialling() -> None:
    async def never(_: Any) -> Any:
        await asyncio.Event().wait()

    async def unreachable(_: Any) -> Any:
        raise OSError(101, "Network is unreachable")

    async def gone(_: Any) -> Any:
        raise NotFound("pod/shadow is gone")

    with pytest.raises(TunnelLost, match="within 0 s"):
        asyncio.run(dialled(never, 0.0))
    with pytest.raises(TunnelLost, match="Network is unreachable"):
        asyncio.run(dialled(unreachable, 1.0))
    with pytest.raises(NotFound):
        asyncio.run(dialled(gone, 1.0))
