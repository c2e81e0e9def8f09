"""Three users start, stop, crash and fall asleep on shared Services in any order; what is left is what was before.

KTPY_TEST_ROUNDS=100 python -m pytest tests/e2e/test_race.py      a hundred rounds; KTPY_TEST_SEED repeats them
"""

from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.e2e.harness import manifests
from tests.e2e.harness.calm import calm
from tests.e2e.harness.laptop import Server, serving
from tests.e2e.harness.node import Node
from tests.e2e.harness.people import Person
from tests.e2e.harness.process import Ktpy
from tests.e2e.harness.seeds import SEED, chance
from tests.e2e.harness.space import Space, opened
from tests.e2e.harness.walk import ROOMY, Asking

ROUNDS = int(os.environ.get("KTPY_TEST_ROUNDS", "2"))
pytestmark = pytest.mark.timeout(max(300, 60 * ROUNDS))
PEOPLE = ("ana", "bob", "eve")
SERVICES = ("shop", "cart")
DONE, TAKEN, INTERRUPTED, KILLED = 0, 4, 130, -signal.SIGKILL
SLEEP = "sleep"
HOWS = ("Ctrl-C", "Ctrl-C", "kill -9", SLEEP)
ACTS = (1, 1, 2)  # of each user in a round
END_SECONDS = 60.0


class Act(NamedTuple):
    """After so many seconds PAUSE start WORDS; hold it from its readiness, or its start, for HOLD seconds; end it."""

    pause: float
    words: tuple[str, ...]
    from_ready: bool
    hold: float
    end: str

    def __str__(self) -> str:
        since = "ready" if self.from_ready else "its start"
        return f"{self.pause:.1f} s, {' '.join(self.words)}, {self.hold:.1f} s from {since}, {self.end}"


def plan(choose: random.Random, name: str) -> list[Act]:
    """What NAME does in a round. The pauses are as long as leaving takes, so that some joins meet a last leave."""
    acts = []
    for _ in range(choose.choice(ACTS)):
        service = choose.choice(SERVICES)
        mark = choose.choice((name, "same"))
        mesh, exchange = ("mesh", service, "--version-mark", mark), ("exchange", service, "--mode", "router")
        words = choose.choice((mesh, mesh, exchange))
        from_ready = choose.random() < 0.7
        hold = choose.uniform(0.0, 1.5 if from_ready else 5.0)
        acts.append(Act(choose.uniform(0.0, 2.0), words, from_ready, hold, choose.choice(HOWS)))
    return acts


@pytest.fixture(scope="module")
def place(node: Node, venv: Path) -> Iterator[Space]:
    with opened(node, venv, ROOMY, *manifests.SHOP, manifests.service("cart", [(80, "http")], app="shop")) as found:
        found.person("eve")
        yield found


@pytest.fixture(scope="module")
def laptop(place: Space) -> Iterator[Server]:
    with serving(place.person("ana")) as found:
        yield found


class Player:
    """One user in a round. ASLEEP: those of his sessions that do not know of its end yet."""

    def __init__(self, person: Person, acts: list[Act], port: int, stack: ExitStack) -> None:
        self.person, self.acts, self._port, self._stack = person, acts, port, stack
        self.asleep: list[Ktpy] = []
        self.said: list[str] = []

    def play(self) -> None:
        for act in self.acts:
            threading.Event().wait(act.pause)
            session = self._stack.enter_context(self.person.start(*act.words, "--expose", str(self._port)))
            self._hold(session, act)
            if act.end == SLEEP:
                session.signal(signal.SIGSTOP)
                self.asleep.append(session)
                continue
            if act.end == "kill -9":
                session.kill()
            else:
                interrupted(session)
            self.judge(session, KILLED)

    def _hold(self, session: Ktpy, act: Act) -> None:
        if act.from_ready:
            try:
                session.wait_ready(END_SECONDS)
            except AssertionError:  # refused
                return
        threading.Event().wait(act.hold)

    def judge(self, session: Ktpy, *more: int) -> None:
        code = session.wait(END_SECONDS)
        assert code in (DONE, TAKEN, INTERRUPTED, *more), f"{self.person.name}: code {code}\n{session.said()}"

    def wake(self) -> None:
        for session in self.asleep:
            session.signal(signal.SIGCONT)

    def see_end(self) -> None:
        """A sleeper whose session was ended stops by itself; one that had none yet goes on, until it is told."""
        for session in self.asleep:
            interrupted(session)
            self.judge(session)


def interrupted(session: Ktpy) -> None:
    with suppress(ProcessLookupError):  # it may have been refused
        session.interrupt()


def played(place: Space, laptop: Server, number: int) -> str:
    """One round; what was done in it."""
    choose = chance(f"round {number}")
    with ExitStack() as stack:
        players = [Player(place.person(name), plan(choose, name), laptop.port, stack) for name in PEOPLE]
        told = "\n".join(f"{player.person.name}: {act}" for player in players for act in player.acts)
        print(f"round {number}, KTPY_TEST_SEED={SEED}", told, sep="\n")
        with ThreadPoolExecutor(len(players)) as threads:
            for end in [threads.submit(player.play) for player in players]:
                end.result()
        cleaning = stack.enter_context(place.person("bob").ktpy("clean", "--older-than", "0"))
        threading.Event().wait(choose.uniform(0.0, 3.0))
        for player in players:
            player.wake()
        code = cleaning.wait(END_SECONDS)
        for player in players:
            player.see_end()
        assert code == DONE, cleaning.said()
    return told


def test_whatever_order_they_come_go_and_die_in_nothing_is_left(
    place: Space, laptop: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    before = calm(place)
    unmarked = Asking(place.client(), [f"http://{name}/" for name in SERVICES], ("shop", "laptop"))
    with unmarked.going_on():
        for number in range(ROUNDS):
            played(place, laptop, number)
            place.wait_same(before, seconds=30)
    with capsys.disabled():
        print(f"\n{ROUNDS} rounds, KTPY_TEST_SEED={SEED}: nothing left, {unmarked.total} unmarked requests answered")
