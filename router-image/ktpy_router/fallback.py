"""What becomes of a request whose upstream failed: sent again, parked, given to the original, or answered with 502."""

from __future__ import annotations

import enum
from typing import NamedTuple


class Failure(enum.Enum):
    """The ways of an upstream to be down, as one request meets them."""

    OPEN = enum.auto()
    """The breaker is open: nothing was tried."""
    CONNECT = enum.auto()
    """It refused, or did not accept in time: nothing was sent."""
    CLOSED_FRESH = enum.auto()
    """A new connection was closed before the first byte of an answer: so does a tunnel whose far end is down."""
    SILENT = enum.auto()
    """Its laptop fell asleep, or lost its network, after the request was sent: it may get it when it wakes up."""
    CLOSED_REUSED = enum.auto()
    """A connection that had served was closed before the first byte: mostly, its keep-alive limit had just passed."""
    BAD = enum.auto()
    """What came is no answer, or broke off."""


class Action(enum.Enum):
    """What to do with the request."""

    RETRY = enum.auto()
    """On a new connection to the same upstream."""
    HOLD = enum.auto()
    """Park it until the upstream is back."""
    FALL_BACK = enum.auto()
    """The original answers instead of the row's upstream."""
    ANSWER_502 = enum.auto()
    ANSWER_503 = enum.auto()


class Plight(NamedTuple):
    """The request that failed.

    ROW: a row's upstream failed, not the original. REPLAYABLE: all of it that was sent is still there, and no byte of
    an answer has come. IDEMPOTENT: doing it twice is doing it once (RFC 9110 section 9.2.2). HOLD: the row's, as far
    as it is not used up.
    """

    row: bool
    strict: bool
    hold: float
    replayable: bool
    idempotent: bool


def decide(failure: Failure, plight: Plight) -> Action:
    """A request that was sent on a reused connection may have been carried out, so only idempotent ones go again.

    Neither does one go elsewhere that a sleeping laptop may find when it wakes up, unless it is idempotent.

    A fresh connection to a row's upstream that closes without a byte is taken for a tunnel without a far end, for any
    method. What the original does with it is its own affair, so there is no second try there.
    """
    if failure is Failure.BAD or not plight.replayable:
        return Action.ANSWER_502
    if failure is Failure.CLOSED_REUSED:
        return Action.RETRY if plight.idempotent else Action.ANSWER_502
    if not plight.row or (failure is Failure.SILENT and not plight.idempotent):
        return Action.ANSWER_502
    if plight.hold > 0:
        return Action.HOLD
    if plight.strict:
        return Action.ANSWER_503 if failure is Failure.OPEN else Action.ANSWER_502
    return Action.FALL_BACK
