"""Programs are run with their words shown, and fail in ours."""

import pytest

from ktpy.errors import KtError
from ktpy.laptop.image_run import ask, run


def test_lines_are_said_as_they_come_and_progress_bars_are_lines():
    said = []

    run(
        ("sh", "-c", r"echo one; printf 'two\rthree\r\n\n' >&2; printf last"), doing="Work", say=said.append, seconds=10
    )

    assert said == ["one", "two", "three", "last"]


def test_a_failure_quotes_the_end_of_what_was_said():
    with pytest.raises(KtError) as failed:
        run(
            ("sh", "-c", "for n in 1 2 3 4 5 6 7 8 9; do echo line $n; done; exit 3"),
            doing="Work",
            say=lambda _: None,
            seconds=10,
        )

    assert failed.value.what.startswith("Work failed: sh ended with 3.\n    line 2\n")
    assert "line 1" not in failed.value.what
    assert failed.value.what.endswith("\n    line 9")


def test_a_program_that_takes_too_long_is_ended():
    with pytest.raises(KtError, match="Work took longer than 0 s"):
        run(("sleep", "60"), doing="Work", say=lambda _: None, seconds=0.05)


def test_a_program_that_is_not_there_is_named():
    with pytest.raises(KtError, match="no-such-program cannot be run") as failed:
        run(("no-such-program", "load"), doing="Work", say=lambda _: None, seconds=1)

    assert failed.value.try_ == ("install no-such-program",)


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        (("sh", "-c", "echo yes"), (True, "yes")),
        (("sh", "-c", "echo no >&2; exit 1"), (False, "no")),
        (("no-such-program",), (False, "not found")),
        (("sleep", "60"), (False, "no answer in 0 s")),
    ],
)
def test_asking_never_raises(command, answer):
    assert ask(command, seconds=0.3) == answer
