"""Random walks of three people who share a Service, crash, come back, clean, and of an owner who applies."""

from __future__ import annotations

import contextlib
import random
from dataclasses import dataclass, field

import pytest

from ktpy.errors import KtError, Taken
from ktpy.model.diversion import holder_of
from ktpy.model.names import DEAD_SECONDS, SessionId
from ktpy.modes import mesh as mode
from ktpy.modes.link import Link
from tests.fakes import things
from tests.fakes.api import FakeApi
from tests.fakes.meshes import (
    a_team,
    an_isolated_team,
    cleaned,
    has_a_home,
    has_no_row_of_the_dead,
    meshed,
    owners,
    owners_in_pods,
    same,
    service,
    soon,
)
from tests.fakes.run import Person, person
from tests.fakes.wire import Killed

NAMES, MARKS = ("ana", "bob", "eve"), ("red", "blue", "green")
STEPS = 25
SEED = random.SystemRandom().randrange(10**6)


@dataclass
class Desk:
    """Where one of them works: at nothing, or at a mesh with MARK."""

    name: str
    user: Person | None = None
    link: Link | None = None
    mark: str = ""
    stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    @property
    def session(self) -> SessionId:
        assert self.link is not None
        return self.link.session.id


class Walk:
    """The world of one walk. STEPS is what was done, for whoever reads a failure."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.api: FakeApi = self.chance.choice([a_team, an_isolated_team])()
        self.api.put(things.pod("shop-api", labels={**things.SELECTOR, "tier": "api"}))
        self.before = same(self.api)
        self.api.drains = self.chance.random() < 0.5
        self.desks = [Desk(name) for name in NAMES]
        self.selector = dict(things.SELECTOR)
        self.beaten = dict.fromkeys(MARKS, -1e9)  # when the last session with that mark beat
        self.steps: list[str] = []

    @property
    def at_work(self) -> list[Desk]:
        return [desk for desk in self.desks if desk.link]

    def step(self) -> None:
        deeds = {"come": 5, "leave": 3, "crash": 2, "clean": 1, "wait": 2, "apply": 1}
        (deed,) = self.chance.choices(list(deeds), list(deeds.values()))
        self.steps.append(deed)
        getattr(self, deed)(self.chance.choice(self.desks))
        self.check()

    def come(self, desk: Desk) -> None:
        """Join with any mark, and perhaps be killed at any call of it."""
        if desk.link:
            return
        desk.user, desk.mark = person(self.api, desk.name, timeout=0.5), self.chance.choice(MARKS)
        self.steps[-1] += f" {desk.name} {desk.mark}"
        if self.chance.random() < 0.3:
            number, when = self.chance.randrange(1, 90), self.chance.choice(["before", "after"])
            desk.user.wire.fail_at(number, Killed(), when=when)
            self.steps[-1] += f" killed {when} {number}"
        try:
            desk.link = desk.stack.enter_context(meshed(desk.user, desk.mark))
            desk.user.wire.spare()
        except Killed:
            self._bury(desk)
        except KtError as error:
            self.steps[-1] += f" refused: {error}"
            if not isinstance(error, Taken) and "pods ready after" not in error.what:
                raise
            assert self._is_in_use(desk.mark), "nobody who may be alive has that mark"

    def leave(self, desk: Desk) -> None:
        """Perhaps killed on the way out."""
        self.steps[-1] += f" {desk.name}"
        if desk.user and self.chance.random() < 0.3:
            desk.user.wire.fail_at(len(desk.user.wire.calls) + self.chance.randrange(1, 25), Killed())
            self._beat(desk)
        with contextlib.suppress(Killed):
            desk.stack.close()
        desk.link = None

    def crash(self, desk: Desk) -> None:
        self.steps[-1] += f" {desk.name}"
        if desk.link and desk.user:
            desk.user.wire.die()
            self._bury(desk)

    def clean(self, desk: Desk) -> None:
        """By somebody of another team, at once."""
        cleaned(self.api, "dan", after=0)
        has_no_row_of_the_dead(self.api)

    def wait(self, desk: Desk) -> None:
        seconds = self.chance.choice([5, DEAD_SECONDS + 2, 400])
        self.steps[-1] += f" {seconds:.0f}"
        self.api.time += seconds
        for one in self.at_work:
            assert one.link
            one.link.session.renew()

    def apply(self, desk: Desk) -> None:
        """The owner's own selector, or another."""
        self.selector["tier"] = self.chance.choice(["web", "api"])
        self.steps[-1] += f" {self.selector['tier']}"
        self.api.edit("Service", "shop", lambda now: now["spec"].update(selector=dict(self.selector)))

    def _bury(self, desk: Desk) -> None:
        self._beat(desk)
        with contextlib.suppress(Killed):
            desk.stack.close()
        desk.link = None

    def _beat(self, desk: Desk) -> None:
        self.beaten[desk.mark] = max(self.beaten[desk.mark], self.api.time)

    def _is_in_use(self, mark: str) -> bool:
        """By somebody who is alive, or died so little ago that nobody can tell, as anybody may who closes a router."""
        newest = max(self.beaten.values())
        return any(desk.mark == mark for desk in self.at_work) or self.api.time - newest <= DEAD_SECONDS

    def check(self) -> None:
        story = ", ".join(self.steps)
        for desk in self.at_work:
            assert desk.user
            assert soon(lambda desk=desk: self._serves(desk), desk.user), f"{story}: {desk.user.kt.stop.error}"  # type: ignore[misc]
        has_a_home(self.api, self.selector)

    def _serves(self, desk: Desk) -> bool:
        """His row is where it belongs, and the Service leads to it."""
        assert desk.user
        assert not desk.user.kt.stop.is_asked, f"{', '.join(self.steps)}: {desk.name} {desk.user.kt.stop.error}"
        pods = owners_in_pods(self.api)
        is_told = bool(pods) and all(desk.session in found for found in [owners(self.api), *pods])
        return is_told and holder_of(service(self.api)) is not None

    def everybody_leaves(self) -> None:
        for desk in self.desks:
            with contextlib.suppress(Killed):
                desk.stack.close()

    def end(self) -> None:
        self.everybody_leaves()
        cleaned(self.api, "dan")
        self.api.drained()
        once = self.api._version
        cleaned(self.api, "dan")
        assert self.api._version == once, "the second clean wrote again"
        self.selector["tier"] = "web"
        self.apply(self.desks[0])
        self.api.edit("Service", "shop", lambda now: now["spec"].update(selector=dict(things.SELECTOR)))
        assert same(self.api) == self.before, self.steps


@pytest.mark.parametrize("number", range(6))
def test_wherever_they_go_unmarked_traffic_has_a_home(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mode, "FLIP_SECONDS", 0.0)  # the owner applies at most once a minute
    monkeypatch.setattr("ktpy.opening.CLOSING_SECONDS", 0.2)
    walk = Walk(SEED + number)
    print(f"seed {SEED + number}")

    try:
        for _ in range(STEPS):
            walk.step()
    except (AssertionError, KtError) as error:
        walk.everybody_leaves()
        pytest.fail(f"seed {SEED + number}: {', '.join(walk.steps)}: {error!r}")
    walk.end()
