"""The first request of the cluster, told once, with as much as is known of it."""

from __future__ import annotations

import threading

import pytest

from ktpy.model.events import Event, FirstRequest
from ktpy.modes.first import report_first_request
from ktpy.net.first import Seen
from ktpy.stop import Stop
from tests.fakes.api import FakeApi
from tests.fakes.meshes import a_team, meshed
from tests.fakes.run import Person, person


@pytest.fixture
def api() -> FakeApi:
    return a_team()


@pytest.fixture
def ana(api: FakeApi) -> Person:
    return person(api)


def firsts(who: Person) -> list[Event]:
    return [event for event in who.told if isinstance(event, FirstRequest)]


def test_it_is_told_with_what_it_asked_and_how_it_was_answered(ana: Person) -> None:
    with meshed(ana) as link:
        ana.tunnels[0].carry(first_bytes_at=0.0, first=Seen("GET", "/cart", 200, 0.0144, is_over=True))

        report_first_request(ana.kt, link, Stop())

    assert firsts(ana) == [FirstRequest(0.0, True, "GET", "/cart", 200, 14)]


def test_an_answer_that_does_not_come_is_not_waited_for_long(ana: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ktpy.modes.first.ANSWER_SECONDS", 0.01)
    with meshed(ana) as link:
        ana.tunnels[0].carry(first_bytes_at=0.0, first=Seen("GET", "/cart"))

        report_first_request(ana.kt, link, Stop())

    assert firsts(ana) == [FirstRequest(0.0, True, "GET", "/cart")]


def test_it_waits_for_the_answer(ana: Person) -> None:
    with meshed(ana) as link:
        ana.tunnels[0].carry(first_bytes_at=0.0, first=Seen("GET", "/cart"))
        worker = threading.Thread(target=report_first_request, args=(ana.kt, link, Stop()))
        worker.start()
        ana.tunnels[0].carry(first=Seen("GET", "/cart", 503, 1.0, is_over=True))
        ana.kt.stop.poke()
        worker.join()

    assert firsts(ana) == [FirstRequest(0.0, True, "GET", "/cart", 503, 1000)]


def test_no_request_is_not_told(ana: Person) -> None:
    done = Stop()
    done.ask("left")

    with meshed(ana) as link:
        report_first_request(ana.kt, link, done)

    assert firsts(ana) == []
