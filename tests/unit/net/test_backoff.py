from ktpy.net.backoff import Backoff


def test_pauses_double_to_a_second() -> None:
    backoff = Backoff(0, give_up=300)
    assert [backoff.after_failure(0) for _ in range(6)] == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]


def test_enough_is_enough() -> None:
    backoff = Backoff(0, give_up=300)
    assert backoff.after_failure(29) is not None
    assert all(backoff.after_failure(29 + 10 * turn) is not None for turn in range(1, 27))
    assert backoff.after_failure(300) is None


def test_time_that_was_slept_through_does_not_count() -> None:
    backoff = Backoff(0, give_up=300)
    assert backoff.after_failure(1) is not None
    assert backoff.after_failure(1_000_000) is not None
