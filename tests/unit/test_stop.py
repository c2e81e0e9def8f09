"""One flag ends a run, and every wait watches it."""

from __future__ import annotations

import threading

import pytest

from ktpy.errors import Interrupted, TunnelLost
from ktpy.stop import Stop


def test_the_first_reason_counts() -> None:
    stop, first = Stop(), TunnelLost("cut")

    stop.ask("tunnel failed", error=first)
    stop.ask("Ctrl-C")

    assert (stop.is_asked, stop.reason, stop.error) == (True, "tunnel failed", first)


def test_nothing_asked_is_nothing_raised() -> None:
    stop = Stop()

    stop.check()

    assert (stop.is_asked, stop.reason, stop.error) == (False, "", None)


def test_a_check_raises_what_ended_the_run() -> None:
    stop = Stop()
    stop.ask("worker failed", error=TunnelLost("cut"))

    with pytest.raises(TunnelLost, match="cut"):
        stop.check()


def test_a_check_after_a_signal_says_so() -> None:
    stop = Stop()
    stop.ask("Ctrl-C")

    with pytest.raises(Interrupted, match="Ctrl-C"):
        stop.check()


def test_a_wait_for_no_time_returns_at_once() -> None:
    stop = Stop()

    assert stop.wait(0) is False
    stop.ask("x")
    assert stop.wait(0) is stop.wait(1000) is stop.wait() is True


def test_a_fact_that_holds_ends_a_wait_without_being_asked() -> None:
    assert Stop().wait_for(lambda: True, 1000) is False


def test_asking_wakes_whoever_waits() -> None:
    stop = Stop()
    thread = threading.Thread(target=stop.wait, daemon=True)
    thread.start()

    stop.ask("x")
    thread.join(10)

    assert not thread.is_alive()


def test_a_poke_lets_a_wait_look_again() -> None:
    stop, facts = Stop(), []
    answers: list[bool] = []
    thread = threading.Thread(target=lambda: answers.append(stop.wait_for(lambda: bool(facts))), daemon=True)
    thread.start()

    facts.append("it holds")
    stop.poke()
    thread.join(10)

    assert answers == [False]


def test_listeners_are_called_once_and_late_ones_at_once() -> None:
    stop, heard = Stop(), []

    stop.on_ask(lambda: heard.append("early"))
    stop.ask("x")
    stop.ask("y")
    stop.on_ask(lambda: heard.append("late"))

    assert heard == ["early", "late"]
