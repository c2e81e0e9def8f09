"""Every event becomes one JSON object and comes back the same."""

from __future__ import annotations

import json

import pytest

from ktpy.model.events import (
    Ended,
    Event,
    Failed,
    FellBack,
    FirstRequest,
    Note,
    Ready,
    Rules,
    Step,
    Tunnel,
    Waiting,
    from_json,
    to_json,
)

EVERY = [
    Step("look", "service/shop", 0.1),
    Step("look"),
    Waiting("prepare", "pod/x: ContainerCreating"),
    Ready("exchange", "ana-1", "team", "service/shop", ("port 80",), "ALL", "curl", "Ctrl-C", ("bob",), 1.5),
    Note("taken back"),
    Tunnel("healing", "cut", 2.0),
    FirstRequest(0.5, True, "GET", "/cart", 200, 14),
    Ended("Ctrl-C", 0.3, 7, ("pod/x",)),
    Failed("no", ("this", "that"), 4, "/log"),
    FellBack(2, 5, True),
    Rules(("kind: VirtualService", "  x")),
]


@pytest.mark.parametrize("event", EVERY, ids=lambda event: type(event).__name__)
def test_an_event_survives_the_wire(event: Event) -> None:
    assert from_json(json.loads(json.dumps(to_json(event)))) == event


def test_every_kind_of_event_is_tried_here() -> None:
    assert {type(event) for event in EVERY} == set(Event.__args__)


def test_python_words_are_spelled_plainly() -> None:
    assert to_json(EVERY[3])["try"] == "curl"
    assert to_json(FirstRequest(0.5)) == {
        "event": "first-request", "seconds": 0.5, "marked": False, "method": "", "path": "", "status": None,
        "milliseconds": None,
    }  # fmt: skip


@pytest.mark.parametrize("raw", [{}, {"event": "other"}, {"event": "note", "more": 1}, {"event": "step"}])
def test_what_is_no_event_is_refused(raw) -> None:
    with pytest.raises((KeyError, TypeError)):
        from_json(raw)


@pytest.mark.parametrize("raw", [{"event": "failed", "what": "no", "try": [], "code": 1}])
def test_a_shorter_event_gets_its_defaults(raw) -> None:
    assert from_json(raw) == Failed("no", (), 1)
