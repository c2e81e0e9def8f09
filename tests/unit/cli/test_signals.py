"""A signal asks for the end, and nothing else happens in its handler."""

from __future__ import annotations

import os
import signal

import pytest

from ktpy.cli.signals import signals_ask
from ktpy.stop import Stop


@pytest.mark.parametrize(
    ("number", "reason"),
    [(signal.SIGINT, "Ctrl-C"), (signal.SIGTERM, "asked to end"), (signal.SIGHUP, "terminal closed")],
)
def test_a_signal_asks_for_the_end(number: signal.Signals, reason: str) -> None:
    stop = Stop()

    with signals_ask(stop):
        os.kill(os.getpid(), number)
        assert stop.wait(10)

    assert stop.reason == reason


def test_handlers_are_as_before_afterwards() -> None:
    before = signal.getsignal(signal.SIGINT)

    with signals_ask(Stop()):
        assert signal.getsignal(signal.SIGINT) is not before

    assert signal.getsignal(signal.SIGINT) is before
