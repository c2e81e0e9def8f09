"""kill -9 at every API call of a run: several sessions at once, each behind a proxy of its own, each with its death."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from tests.e2e.harness.apiproxy import Call, nth
from tests.e2e.harness.client import InCluster, Result, Running
from tests.e2e.harness.manifests import Manifest
from tests.e2e.harness.people import Person
from tests.e2e.harness.process import Ktpy
from tests.e2e.harness.proxied import Proxied, proxied
from tests.e2e.harness.seeds import chance

# Which ways are walked whole, by name, or all of them; of the others a sample dies.
WHOLE = os.environ.get("KTPY_TEST_WALK", "direct").split(",")
READY_SECONDS = 120.0  # many sessions and their pods start at once
PATIENT = ("--timeout", "60")  # of requests: pods that start take every core for many seconds; what hangs, hangs longer


ROOMY: Manifest = {
    "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "team"},
    "spec": {"hard": {"requests.cpu": "4", "requests.memory": "8Gi", "limits.cpu": "100", "limits.memory": "30Gi",
                      "pods": "90"}},
}  # fmt: skip


class Death(NamedTuple):
    """Killed before or after the API call with that NUMBER."""

    when: str
    number: int


class Way(NamedTuple):
    """One kind of run. WORDS: of its command, with {n} where sessions that run at once differ.

    SIDES: who may answer unmarked requests to URLS meanwhile; none where nobody asks.
    """

    name: str
    at_once: int
    words: str
    sides: tuple[str, ...] = ()
    urls: tuple[str, ...] = ()

    @property
    def is_whole(self) -> bool:
        return bool({self.name, "all"} & set(WHOLE))

    def command(self, number: int, port: int) -> list[str]:
        return [*self.words.format(n=number).split(), "--expose", str(port), "--timeout", f"{READY_SECONDS:.0f}"]


def deaths(calls: Sequence[Call]) -> list[Death]:
    """All the ways to die in a run with these CALLS: after each of them, and before each that writes."""
    every = [Death("after", call.number) for call in calls]
    return every + [Death("before", call.number) for call in calls if call.is_write]


def batches(way: Way, calls: Sequence[Call]) -> Iterator[Sequence[Death]]:
    """Those who die at the same time; only one batch, by chance, where the way is not walked whole."""
    every = deaths(calls)
    if not way.is_whole:
        every = sorted(chance(way.name).sample(every, min(way.at_once, len(every))))
    while every:
        yield every[: way.at_once]
        every = every[way.at_once :]


def calls_of(person: Person, way: Way, port: int) -> Sequence[Call]:
    """Every API call of one undisturbed run."""
    with proxied(person) as (who,), started(who, way, 0, port) as session:
        session.wait_ready(READY_SECONDS)
        session.interrupt()
        assert session.wait(60) == 0, session.said()
        return list(who.proxy.calls)


@contextlib.contextmanager
def started(who: Proxied, way: Way, number: int, port: int) -> Iterator[Ktpy]:
    with who.person.start(*way.command(number, port)) as session:
        who.proxy.victim(session.pid)
        yield session


def all_die(person: Person, way: Way, port: int, together: Sequence[Death]) -> Sequence[str]:
    """TOGETHER, each in a session of PERSON's; at which call each was killed. A run may have had fewer calls."""
    with proxied(person, len(together)) as whos, ThreadPoolExecutor(len(together)) as threads:
        ends = [
            threads.submit(_die, who, way, number, port, death)
            for number, (who, death) in enumerate(zip(whos, together, strict=True))
        ]
        return [call for end in ends if (call := end.result())]


def _die(who: Proxied, way: Way, number: int, port: int, death: Death) -> str:
    """A session from its start through its give-back, killed on the way."""
    kill = who.proxy.kill_after if death.when == "after" else who.proxy.kill_before
    kill(nth(death.number))
    with started(who, way, number, port) as session:
        with contextlib.suppress(AssertionError):  # most die before
            session.wait_ready(READY_SECONDS)
            session.interrupt()
        code = session.wait(60)
        if code == 0 and len(who.proxy.calls) < death.number:
            return ""
        assert code == -signal.SIGKILL, f"{way.name} {number}, {death}: not killed\n{session.said()}"
        return f"{death.when} {who.proxy.killed.result(10)}"  # told after the deed


class Asking:
    """Requests to URLS as long as the block lasts, on new connections and on kept ones. WORDS: load.py's.

    FAILED and TOTAL once it has ended. Errors: AssertionError where one failed, or another side than SIDES answered.
    """

    def __init__(self, client: InCluster, urls: Sequence[str], sides: Sequence[str], *words: str) -> None:
        self._client, self._urls, self._sides, self._words = client, urls, sides, (*words, *PATIENT)
        self.results: list[Result] = []

    @contextlib.contextmanager
    def going_on(self) -> Iterator[None]:
        if not self._urls:
            yield
            return
        count = str(len(self._urls))
        ways = (("--rate", count, "--each"), ("--keep", count, "--each"))
        with contextlib.ExitStack() as stack:
            loads = [stack.enter_context(self._load(*way)) for way in ways]
            for load, side in itertools.product(loads, self._sides[:1]):
                load.wait_line(f"{side}@")
            yield
            self.results = [load.stop() for load in loads]
        for result in self.results:
            assert result.failed == {}, result.raw
            assert set(result.answers) <= set(self._sides), result.raw

    def _load(self, *words: str) -> Running:
        return self._client.loading(*self._urls, *words, "--until-told", *self._words)

    @property
    def total(self) -> int:
        return sum(result.total for result in self.results)
