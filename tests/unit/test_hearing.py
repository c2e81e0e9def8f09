"""With each heartbeat every router pod hears of the session, and what fell back is told with its count."""

from __future__ import annotations

import pytest

from ktpy.model import names
from ktpy.model.events import FellBack
from ktpy.model.ref import uid_of
from ktpy.modes.link import Link
from tests.fakes.api import FakeApi
from tests.fakes.meshes import a_team, meshed, router_pods, soon
from tests.fakes.run import Person, person


@pytest.fixture
def api() -> FakeApi:
    return a_team()


@pytest.fixture
def ana(api: FakeApi) -> Person:
    return person(api)


def beat(user: Person, link: Link) -> None:
    """A heartbeat, and that every pod has heard of it."""
    link.session.beats += 1
    user.kt.stop.poke()


def heard(api: FakeApi) -> list[int]:
    return [len(api.routers.beats.get(uid_of(pod), [])) for pod in router_pods(api)]


def fallen(user: Person) -> list[FellBack]:
    return [event for event in user.told if isinstance(event, FellBack)]


def test_every_router_pod_hears_until_when_the_session_lives(api: FakeApi, ana: Person) -> None:
    with meshed(ana) as link:
        assert heard(api) == [0, 0], "not before there was a heartbeat"
        beat(ana, link)
        assert soon(lambda: heard(api) == [1, 1], ana)
        assert {one for said in api.routers.beats.values() for one in said} == {(link.session.id, names.DEAD_SECONDS)}


def test_the_first_fallback_is_told_and_then_a_count(api: FakeApi, ana: Person) -> None:
    with meshed(ana) as link:
        row = link.session.id
        for number, count in enumerate((0, 1, 1, 3), start=1):
            api.routers.fallbacks[row] = count  # as each of two pods counts
            beat(ana, link)
            assert soon(lambda: heard(api) == [number, number], ana)  # noqa: B023
        assert soon(lambda: len(fallen(ana)) == 2, ana)

    assert fallen(ana) == [FellBack(2, 2, True), FellBack(4, 6, True)]


def test_counters_that_start_anew_are_not_counted_twice(api: FakeApi, ana: Person) -> None:
    with meshed(ana) as link:
        for number, count in enumerate((5, 2, 3), start=1):
            api.routers.fallbacks[link.session.id] = count
            beat(ana, link)
            assert soon(lambda: heard(api) == [number, number], ana)  # noqa: B023
        assert soon(lambda: len(fallen(ana)) == 2, ana)

    assert [event.total for event in fallen(ana)] == [10, 12]


def test_a_router_that_does_not_answer_is_asked_again(api: FakeApi, ana: Person) -> None:
    with meshed(ana) as link:
        first, _ = router_pods(api)
        api.routers.down.add(uid_of(first))
        beat(ana, link)
        assert soon(lambda: heard(api) == [0, 1], ana)
        api.routers.down.clear()
        beat(ana, link)
        assert soon(lambda: heard(api) == [1, 2], ana)
