from ktpy.net.counters import Counters, TunnelStats


def test_arrivals_and_ends() -> None:
    counters = Counters()
    counters.arrived(5.0)
    counters.arrived(6.0)
    counters.ended()
    assert counters.read() == TunnelStats(connections=2, open_now=1, first_connection_at=5.0)


def test_the_first_bytes_are_told_once() -> None:
    told: list[str] = []
    counters = Counters(lambda: told.append("first"))
    counters.to_laptop(3)
    counters.to_laptop(4)
    assert told == ["first"]
    assert counters.read().bytes_to_laptop == 7
    assert counters.read().first_bytes_at is not None


def test_starting_over_forgets_arrivals_but_not_bytes() -> None:
    counters = Counters()
    counters.arrived(5.0)
    counters.to_laptop(3)
    counters.start_over()
    assert counters.read() == TunnelStats(open_now=1, bytes_to_laptop=3)


def test_starting_over_looks_for_a_first_request_anew() -> None:
    counters = Counters()
    old = counters.first
    old.to_laptop("a", b"GET /x HTTP/1.1\r\n")
    counters.start_over()
    assert counters.first is not old
    assert counters.read().first.method == ""


def test_nothing_yet() -> None:
    assert Counters().read() == TunnelStats()
