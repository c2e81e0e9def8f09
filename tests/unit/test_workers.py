"""Threads end with their block, and a failing one ends the run."""

from __future__ import annotations

import threading

import pytest

from ktpy.errors import TunnelLost
from ktpy.stop import Stop
from ktpy.workers import Workers, each, together, within


def test_leaving_the_block_ends_and_joins_every_worker() -> None:
    ended: list[str] = []

    with Workers(Stop()) as workers:
        for name in ("a", "b"):
            workers.start(name, lambda name=name: (workers.done.wait(), ended.append(name)))  # type: ignore[misc]

    assert sorted(ended) == ["a", "b"]


def test_a_cancel_frees_a_worker_from_what_it_blocks_in() -> None:
    freed = threading.Event()

    with Workers(Stop()) as workers:
        workers.start("blocked", lambda: freed.wait() and None, cancel=freed.set)

    assert freed.is_set()


def test_a_failing_worker_ends_the_run_with_its_error() -> None:
    stop, error = Stop(), TunnelLost("cut")

    def fail() -> None:
        raise error

    with Workers(stop) as workers:
        workers.start("tunnel", fail)
        assert stop.wait(10)

    assert (stop.reason, stop.error) == ("tunnel failed", error)


def test_a_worker_that_waits_for_a_fact_of_the_run_is_woken_by_the_end_of_its_block() -> None:
    stop = Stop()

    with Workers(stop) as workers:
        workers.start("waits", lambda: stop.wait_for(lambda: workers.done.is_asked) and None)

    assert not stop.is_asked


def test_workers_end_though_the_block_failed() -> None:
    ended: list[bool] = []

    with pytest.raises(TunnelLost), Workers(Stop()) as workers:  # noqa: PT012 - the worker has to run in the block
        workers.start("w", lambda: ended.append(workers.done.wait()))
        raise TunnelLost("cut")

    assert ended == [True]


def test_answers_come_in_the_order_of_the_calls() -> None:
    assert together(lambda: 1, lambda: 2) == [1, 2]
    assert each(lambda item: item * 2, [1, 2, 3]) == [2, 4, 6]
    assert each(lambda item: item, []) == []


def test_the_first_failure_is_raised_after_all_have_ended() -> None:
    done: list[int] = []

    def work(item: int) -> None:
        if item == 1:
            raise TunnelLost("one")
        done.append(item)

    with pytest.raises(TunnelLost, match="one"):
        each(work, [1, 2, 3])

    assert sorted(done) == [2, 3]


def test_within_a_time_answers_come_in_order_and_who_hangs_is_none() -> None:
    hangs = Stop()

    def work(number: int) -> int:
        if number == 2:
            hangs.wait(5.0)
        return number * 10

    assert within(0.05, work, [1, 2, 3]) == [10, None, 30]
    hangs.ask("test over")


def test_within_a_time_a_failure_is_the_askers() -> None:
    with pytest.raises(KeyError):
        within(1.0, lambda key: {}[key], ["x"])


def test_within_a_time_of_nothing_is_nothing() -> None:
    assert within(0.0, len, []) == []
