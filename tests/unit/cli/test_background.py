"""`--background` starts the same command once more, without that flag and with its events in a pipe."""

from __future__ import annotations

import json
import os
import signal
from typing import Any

import pytest

from ktpy.cli import background
from ktpy.cli.app import App
from ktpy.cli.background import foreground_words, in_background
from ktpy.model.events import Failed, Note, Ready, to_json

READY = Ready("exchange", "ana-1", "team", "service/shop", (), "ALL", "curl", "Ctrl-C")


def test_the_flag_goes_and_events_come() -> None:
    words = foreground_words(["exchange", "shop", "--background", "-p", "1"], "/dev/fd/9")

    assert words == ["exchange", "shop", "-p", "1", "--output", "json", "--events", "/dev/fd/9"]


def test_what_follows_two_dashes_is_not_ours() -> None:
    words = foreground_words(["exchange", "shop", "--background", "--", "run", "--background", "--"], "e")

    assert words == ["exchange", "shop", "--output", "json", "--events", "e", "--", "run", "--background", "--"]


class FakeProcess:
    """A session that tells EVENTS into its pipe and is then still there, or has ended with CODE."""

    events: list[Any] = []
    code = 0

    def __init__(self, words: list[str], *, pass_fds: list[int], **how: Any) -> None:
        self.words, self.how = words, how
        os.write(pass_fds[0], "".join(f"{json.dumps(to_json(event))}\n" for event in self.events).encode())
        self.is_terminated = False

    def terminate(self) -> None:
        self.is_terminated = True

    def wait(self) -> int:
        return self.code


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> type[FakeProcess]:
    class Process(FakeProcess):
        pass

    monkeypatch.setattr(background.subprocess, "Popen", Process)
    return Process


def test_at_ready_this_process_leaves_with_success(process, capsys) -> None:
    process.events = [Note("one"), READY, Note("too late")]

    assert in_background(App(), ["exchange", "shop", "--background"]) == 0
    assert "one" in (err := capsys.readouterr().err)
    assert "too late" not in err


def test_a_failure_before_ready_is_told_and_its_code_returned(process, capsys) -> None:
    process.events, process.code = [Failed("no.", ("that",), 4)], 4

    assert in_background(App(), ["exchange", "shop", "--background"]) == 4
    assert capsys.readouterr().err == "Error: no.\nTry:   that\n"


def test_a_session_that_dies_without_a_word_is_told_with_its_code(process, capsys) -> None:
    process.events, process.code = [Note("one")], -signal.SIGKILL

    assert in_background(App(), ["exchange"]) == 128 + signal.SIGKILL
    assert "Error: The session ended with code 137 before it was ready.\nTry:   ktpy logs\n" in capsys.readouterr().err


def test_a_session_that_ends_well_without_being_ready_is_no_success(process, capsys) -> None:
    assert in_background(App(), ["exchange"]) == 1
    assert "ended with code 0 before it was ready" in capsys.readouterr().err
