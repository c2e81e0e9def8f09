import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import pytest

from ktpy.errors import KtError, NotFound, TunnelLost
from ktpy.net.link import Timeouts
from ktpy.net.mending import Mending, TunnelState


@dataclass
class FakePump:
    lost: Callable[[], None]
    why: TunnelLost | None = None

    async def listen(self, address: str, port: int) -> bool:
        return True

    def stop(self, why: TunnelLost, *, says: str = "") -> None:
        self.why = why
        self.lost()


@dataclass
class FakeWire:
    ended: asyncio.Future[None]

    def abort(self) -> None: ...


@dataclass
class FakeLink:
    pump: FakePump
    wire: FakeWire


@dataclass
class Case:
    """Links come, or the errors that were put in line first."""

    give_up: float = 300.0
    errors: list[KtError] = field(default_factory=list)
    links: list[FakeLink] = field(default_factory=list)
    states: list[TunnelState] = field(default_factory=list)
    heals: int = 0

    async def connect(self, lost: Callable[[], None]) -> Any:
        if self.errors:
            raise self.errors.pop(0)
        ended = asyncio.get_running_loop().create_future()
        ended.set_result(None)
        self.links.append(FakeLink(FakePump(lost), FakeWire(ended)))
        return self.links[-1]

    def healed(self) -> None:
        self.heals += 1

    def kinds(self) -> list[str]:
        return [state.kind for state in self.states]

    async def until(self, *kinds: str) -> None:
        while self.kinds() != list(kinds):
            await asyncio.sleep(0)


def run(case: Case, scene: Callable[[Mending], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        mending = Mending(
            case.connect,
            [80],
            bind="",
            timeouts=Timeouts(give_up=case.give_up, listen=5.0),
            on_state=case.states.append,
            on_healed=case.healed,
        )
        await mending.begin()
        work = asyncio.ensure_future(mending.mend())
        async with asyncio.timeout(5):
            await scene(mending)
        work.cancel()
        await mending.close()

    asyncio.run(main())


def test_a_lost_link_is_made_again() -> None:
    case = Case()

    async def scene(mending: Mending) -> None:
        case.links[0].pump.stop(TunnelLost("cut"))
        await case.until("up", "healing", "up")
        assert await mending.link() is case.links[1]

    run(case, scene)
    assert case.states[1].why == "cut"
    assert case.heals == 1


def test_each_new_reason_is_told() -> None:
    case = Case()

    async def scene(_: Mending) -> None:
        case.errors = [NotFound("pod/shadow is gone"), NotFound("pod/shadow is gone")]
        case.links[0].pump.stop(TunnelLost("cut"))
        await case.until("up", "healing", "healing", "up")

    run(case, scene)
    assert [state.why for state in case.states] == ["", "cut", "pod/shadow is gone", ""]


def test_it_gives_up_until_it_is_kicked() -> None:
    case = Case(give_up=0.0)

    async def scene(mending: Mending) -> None:
        case.errors = [NotFound("pod/shadow is gone")]
        case.links[0].pump.stop(TunnelLost("cut"))
        await case.until("up", "healing", "gave up")
        mending.kick()
        await case.until("up", "healing", "gave up", "healing", "up")

    run(case, scene)


def test_a_kick_ends_a_pause() -> None:
    case = Case()

    async def scene(mending: Mending) -> None:
        case.errors = [NotFound("gone")] * 3
        case.links[0].pump.stop(TunnelLost("cut"))
        while len(case.errors) == 3:
            await asyncio.sleep(0)
        case.errors = []
        mending.kick()
        await case.until("up", "healing", "healing", "healing", "up")

    run(case, scene)


def test_a_kick_replaces_a_healthy_link() -> None:
    case = Case()

    async def scene(mending: Mending) -> None:
        mending.kick()
        await case.until("up", "healing", "up")

    run(case, scene)
    assert case.links[0].pump.why is not None
    assert "replaced" in case.links[0].pump.why.what


def test_an_sshd_that_starts_a_moment_later_is_waited_for() -> None:
    case = Case(errors=[TunnelLost("dial tcp4 127.0.0.1:2222: connect: connection refused")] * 2)

    async def scene(_: Mending) -> None:
        assert case.kinds() == ["up"]

    run(case, scene)
    assert case.errors == []


def test_any_other_first_failure_is_raised() -> None:
    async def scene(_: Mending) -> None: ...

    with pytest.raises(TunnelLost, match="host key"):
        run(Case(errors=[TunnelLost("its host key is another")]), scene)
