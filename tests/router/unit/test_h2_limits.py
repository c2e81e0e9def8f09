"""A budget lets bursts pass and stops floods."""

from __future__ import annotations

import pytest

from ktpy_router.h2.frames import Code, ConnectionFault
from ktpy_router.h2.limits import Budget


def test_a_burst_passes_and_one_more_does_not() -> None:
    budget = Budget("pings", 3, 1, 0.0)
    for _ in range(3):
        budget.spend(0.0)

    with pytest.raises(ConnectionFault) as caught:
        budget.spend(0.0)

    assert caught.value.code == Code.ENHANCE_YOUR_CALM
    assert "pings" in str(caught.value)


def test_a_steady_rate_passes_for_ever() -> None:
    budget = Budget("pings", 3, 10, 0.0)
    for i in range(1000):
        budget.spend(i / 10)


def test_what_was_not_spent_does_not_add_up_beyond_the_burst() -> None:
    budget = Budget("pings", 3, 10, 0.0)
    for _ in range(3):
        budget.spend(1000.0)

    with pytest.raises(ConnectionFault):
        budget.spend(1000.0)
