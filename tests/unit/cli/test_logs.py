"""`ktpy logs`."""

from __future__ import annotations

import os

from ktpy.laptop.state import folder
from tests.unit.cli.conftest import FakeApp


def write(name: str, text: str, when: float) -> None:
    log = folder() / f"{name}.log"
    log.write_text(text)
    os.utime(log, (when, when))


def test_the_newest_log_is_shown_or_the_one_that_is_named(ktpy) -> None:
    write("exchange-1", "old\n", 1)
    write("exchange-2", "new\n", 2)

    assert ktpy("logs").out == f"# {folder() / 'exchange-2.log'}\nnew\n"
    assert ktpy("logs", "exchange-1").out.endswith("old\n")


def test_no_log_is_not_found(ktpy) -> None:
    assert ktpy("logs", "none").code == 3


def test_following_shows_what_is_added_until_it_is_ended(ktpy, monkeypatch) -> None:
    write("exchange-1", "first\n", 1)
    monkeypatch.setattr("ktpy.cli.logs.LOOK_SECONDS", 0.0)
    app, looks = FakeApp(), []

    def look(seconds: float) -> bool:
        looks.append(seconds)
        if len(looks) == 1:
            write("exchange-1", "first\nsecond\n", 2)
        return len(looks) > 2

    app.stop.wait = look  # type: ignore[method-assign, assignment]

    assert ktpy("logs", "-f", app=app).out.endswith("first\nsecond\n")
