"""What PID 1 decides: when to start again, how an end is told, and when an inspector is wished for."""

from __future__ import annotations

import os
import signal

import pytest

from ktpy_router import launch
from ktpy_router.launch import Wish


@pytest.mark.parametrize(("lived", "wait"), [(0.0, 1.0), (0.99, 1.0), (1.0, 0.0), (3600.0, 0.0)])
def test_what_died_starts_again_at_once_unless_it_had_just_started(lived, wait):
    assert launch.back_off(lived) == wait


@pytest.mark.parametrize(
    ("status", "words"), [(0, "ended with 0"), (3 << 8, "ended with 3"), (9, "was killed by SIGKILL")]
)
def test_an_end_is_told_in_words(status, words):
    assert launch.how_it_ended(status) == words


def test_a_wish_is_said_once_and_seen_by_the_other_process():
    wish, said = Wish(), []
    before = signal.signal(signal.SIGUSR1, lambda *_: said.append(bool(wish)))
    try:
        for wanted in (False, True, True, False):
            child = os.fork()
            if child == 0:
                wish.say(wanted)
                os._exit(0)
            os.waitpid(child, 0)
            assert bool(wish) is wanted
    finally:
        signal.signal(signal.SIGUSR1, before)

    assert said == [True, False]


def test_a_table_or_port_that_cannot_be_used_is_told_on_stderr(capsys):
    assert launch.explain(launch.CannotStart("Port 80 cannot be listened on: Permission denied.")) == 2

    assert capsys.readouterr().err == "ktpy_router: Port 80 cannot be listened on: Permission denied.\n"
