"""Every failure has what, try and an exit code."""

from __future__ import annotations

import pytest

from ktpy import errors
from ktpy.errors import Conflict, Exit, KtError, Taken, Unreachable


def test_one_hint_or_many_are_a_tuple() -> None:
    assert KtError("x").try_ == ()
    assert KtError("x", "a").try_ == ("a",)
    assert KtError("x", ["a", "b"]).try_ == ("a", "b")


def test_an_error_says_what() -> None:
    assert str(Taken("service/shop is held.")) == "service/shop is held."


@pytest.mark.parametrize(
    ("kind", "code"),
    [("Usage", 2), ("NotFound", 3), ("Taken", 4), ("Forbidden", 5), ("TunnelLost", 6), ("LeftBehind", 7),
     ("Interrupted", 130), ("KtError", 1)],
)  # fmt: skip
def test_exit_codes_are_part_of_the_interface(kind: str, code: int) -> None:
    assert getattr(errors, kind).code == code


def test_what_is_caught_inside_has_no_code_of_its_own() -> None:
    assert Conflict.code is Unreachable.code is Exit.FAILED
