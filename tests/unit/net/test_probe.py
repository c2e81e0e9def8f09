"""No sockets here: an address that no machine can have fails before one is opened."""

from ktpy.net.probe import wait_listens


def test_the_end_of_the_run_ends_the_waiting() -> None:
    asked: list[float] = []

    def ends_at_the_third(seconds: float) -> bool:
        asked.append(seconds)
        return len(asked) == 3

    assert not wait_listens("256.256.256.256", 1, 100.0, wait=ends_at_the_third, every=0.0)
    assert len(asked) == 3
