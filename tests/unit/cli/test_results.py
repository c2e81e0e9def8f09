"""What a give-back did is said, and what it left is exit code 7."""

from __future__ import annotations

import json

import pytest

from ktpy.cli.results import show
from ktpy.cli.say import Say
from ktpy.errors import LeftBehind
from ktpy.undo import Report
from ktpy.upkeep.recover import Result

DONE = Result("session ana-1", Report(did=("service/shop given back", "pod/x deleted")))
LEFT = Result("session bob-2", Report(left=("secret/y: forbidden",)))


def test_each_session_is_a_line(capsys) -> None:
    show(Say(), [DONE, Result("session c", Report())], nothing="none")

    assert capsys.readouterr().err == (
        "session ana-1: service/shop given back; pod/x deleted\nsession c: nothing left to do\n"
    )


def test_nothing_is_said_as_such(capsys) -> None:
    show(Say(), [], nothing="Nothing to clean.")

    assert capsys.readouterr().err == "Nothing to clean.\n"


def test_json_has_the_same_facts(capsys) -> None:
    with pytest.raises(LeftBehind, match="secret/y"):
        show(Say(as_json=True), [DONE, LEFT], nothing="none")

    assert json.loads(capsys.readouterr().out) == [
        {"what": "session ana-1", "did": ["service/shop given back", "pod/x deleted"], "left": []},
        {"what": "session bob-2", "did": [], "left": ["secret/y: forbidden"]},
    ]
