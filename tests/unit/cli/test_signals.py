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


def test_a_hang_up_that_nohup_ruled_out_stays_ruled_out() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with signals_ask(stop := Stop()):
            os.kill(os.getpid(), signal.SIGHUP)
            os.kill(os.getpid(), signal.SIGTERM)
            assert stop.wait(10)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)

    assert stop.reason == "asked to end"


def test_handlers_are_as_before_afterwards() -> None:
    before = signal.getsignal(signal.SIGINT)

    with signals_ask(Stop()):
        assert signal.getsignal(signal.SIGINT) is not before

    assert signal.getsignal(signal.SIGINT) is before


def test_none_is_lost_while_handlers_are_put_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    install = signal.signal

    def install_and_be_asked(kind: signal.Signals, handler: signal.Handlers) -> object:
        before = install(kind, handler)
        if kind == signal.SIGTERM:
            os.kill(os.getpid(), kind)
        return before

    monkeypatch.setattr(signal, "signal", install_and_be_asked)
    with signals_ask(stop := Stop()):
        monkeypatch.undo()
        assert stop.wait(10)

    assert stop.reason == "asked to end"
