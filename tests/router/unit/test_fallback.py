"""What becomes of a request whose upstream failed: every kind of failure with every kind of request."""

from __future__ import annotations

import pytest

from ktpy_router.fallback import Action, Failure, Plight, decide

DOWN = (Failure.OPEN, Failure.CONNECT, Failure.CLOSED_FRESH)


def plight(**other: bool | float) -> Plight:
    return Plight(**{"row": True, "strict": False, "hold": 0.0, "replayable": True, "idempotent": False, **other})  # type: ignore[arg-type]


@pytest.mark.parametrize("failure", DOWN)
@pytest.mark.parametrize("idempotent", [True, False])
def test_the_original_answers_for_a_row_that_is_down_whatever_the_method(failure: Failure, idempotent: bool) -> None:
    assert decide(failure, plight(idempotent=idempotent)) is Action.FALL_BACK


@pytest.mark.parametrize("failure", DOWN)
def test_a_row_may_ask_for_patience_first(failure: Failure) -> None:
    assert decide(failure, plight(hold=1.0)) is Action.HOLD
    assert decide(failure, plight(hold=1.0, strict=True)) is Action.HOLD
    assert decide(failure, plight(hold=-0.1)) is Action.FALL_BACK


def test_a_strict_row_never_falls_back() -> None:
    assert decide(Failure.OPEN, plight(strict=True)) is Action.ANSWER_503
    assert decide(Failure.CONNECT, plight(strict=True)) is Action.ANSWER_502
    assert decide(Failure.CLOSED_FRESH, plight(strict=True)) is Action.ANSWER_502


@pytest.mark.parametrize("failure", DOWN)
def test_there_is_nothing_behind_the_original(failure: Failure) -> None:
    assert decide(failure, plight(row=False, idempotent=True)) is Action.ANSWER_502


@pytest.mark.parametrize("row", [True, False])
@pytest.mark.parametrize("strict", [True, False])
def test_a_kept_connection_that_had_just_ended_is_replaced(row: bool, strict: bool) -> None:
    assert decide(Failure.CLOSED_REUSED, plight(row=row, strict=strict, idempotent=True)) is Action.RETRY


def test_what_a_sleeping_laptop_may_find_goes_elsewhere_only_if_that_does_no_harm() -> None:
    assert decide(Failure.SILENT, plight(idempotent=True)) is Action.FALL_BACK
    assert decide(Failure.SILENT, plight(idempotent=True, hold=1.0)) is Action.HOLD
    assert decide(Failure.SILENT, plight(idempotent=True, strict=True)) is Action.ANSWER_502
    assert decide(Failure.SILENT, plight(hold=1.0)) is Action.ANSWER_502


@pytest.mark.parametrize("row", [True, False])
def test_what_may_have_been_done_is_not_done_again(row: bool) -> None:
    assert decide(Failure.CLOSED_REUSED, plight(row=row, hold=1.0)) is Action.ANSWER_502


@pytest.mark.parametrize("failure", Failure)
def test_what_is_no_longer_whole_goes_nowhere(failure: Failure) -> None:
    assert decide(failure, plight(replayable=False, idempotent=True, hold=1.0)) is Action.ANSWER_502


def test_a_bad_answer_is_an_answer() -> None:
    assert decide(Failure.BAD, plight(idempotent=True, hold=1.0)) is Action.ANSWER_502
