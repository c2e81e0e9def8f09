"""kill -9 at every call of a run over a FakeApi, and anybody's give-back after it: one walk for every mode."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass

from ktpy.model.names import CLEAN_SECONDS, DEAD_SECONDS
from ktpy.model.ref import Object
from ktpy.upkeep.clean import clean, dead
from ktpy.upkeep.recover import left_of, recover
from tests.fakes.api import FakeApi
from tests.fakes.controller import alike
from tests.fakes.run import Person, essence, person
from tests.fakes.wire import Killed

AT_LEAST, AT_MOST = 20, 120  # calls of one run; a test says so when there are others
OF_A_CLEANER = 35  # calls, and some more


@dataclass(frozen=True)
class Walk:
    """RUN: what one USER of a TEAM's cluster does, from its look to its give-back."""

    team: Callable[[], FakeApi]
    run: Callable[[Person], None]
    user: Callable[[FakeApi], Person] = person

    def calls(self) -> int:
        """Of an undisturbed run."""
        user = self.user(self.team())
        self.run(user)
        return len(user.wire.calls)

    def killed(self, number: int, when: str) -> FakeApi:
        """The cluster as a run leaves it that is killed WHEN (before, after) its call NUMBER."""
        api = self.team()
        user = self.user(api)
        user.wire.fail_at(number, Killed(), when=when)
        with contextlib.suppress(Killed):
            self.run(user)
        return api

    def is_given_back(self, give_back: Callable[[FakeApi], None], when: str) -> None:
        """Wherever a run is killed, all is as before after one GIVE_BACK, and after another."""
        calls = self.calls()
        assert AT_LEAST < calls < AT_MOST
        before = same(self.team())
        for number in range(1, calls + 1):
            wreck = self.killed(number, when)
            give_back(wreck)
            once = same(wreck)
            give_back(wreck)

            assert once == same(wreck) == before, f"killed {when} call {number}"

    def is_given_back_by_the_next(self, wreck: FakeApi, when: str) -> None:
        """Wherever the cleaner of a WRECK is killed himself, the next one finishes it."""
        before = same(self.team())
        for number in range(1, OF_A_CLEANER):
            copy = wreck.snapshot()
            copy.time += CLEAN_SECONDS + 40
            bob = person(copy, "bob")
            bob.wire.fail_at(number, Killed(), when=when)
            with contextlib.suppress(Killed):
                clean(bob.kt, dead(bob.kt, CLEAN_SECONDS), older_than=CLEAN_SECONDS)
            cleaned(copy, "eve")

            assert same(copy) == before, f"the cleaner was killed {when} call {number}"


def cleaned(api: FakeApi, name: str = "bob") -> None:
    """What a colleague's `ktpy clean` does, some minutes later; he has no rights beyond the published Role."""
    api.time += CLEAN_SECONDS + 40
    other = person(api, name)
    assert not left_of(clean(other.kt, dead(other.kt, CLEAN_SECONDS), older_than=CLEAN_SECONDS))


def recovered(api: FakeApi, service: str | None = None) -> None:
    """What a colleague's `ktpy recover SERVICE` does, half a minute later."""
    api.time += DEAD_SECONDS + 2
    assert not left_of(recover(person(api, "bob").kt, service, force=False, ask=lambda question: False))


def same(api: FakeApi) -> dict[str, Object]:
    """What does not differ between two clusters: no uids and times."""
    return alike(essence(api))
