"""When an upstream is not tried."""

from __future__ import annotations

from ktpy_router.breaker import Breaker


def test_one_failed_connect_opens_and_only_a_probe_closes() -> None:
    breaker = Breaker(3)
    breaker.failed_connect()
    breaker.worked()
    assert breaker.is_open

    breaker.recovered()
    assert not breaker.is_open


def test_early_closes_count_in_a_row() -> None:
    breaker = Breaker(3)
    for _ in range(2):
        breaker.closed_early()
    breaker.worked()
    for _ in range(2):
        breaker.closed_early()
    assert not breaker.is_open

    breaker.closed_early()
    assert breaker.is_open


def test_after_recovery_the_count_starts_anew() -> None:
    breaker = Breaker(2)
    breaker.closed_early()
    breaker.closed_early()
    breaker.recovered()
    breaker.closed_early()
    assert not breaker.is_open
