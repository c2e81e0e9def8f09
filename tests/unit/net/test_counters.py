from ktpy.net.counters import Counters, TunnelStats


def test_arrivals_and_ends() -> None:
    counters = Counters()
    counters.arrived(5.0)
    counters.arrived(6.0)
    counters.ended()
    assert counters.read() == TunnelStats(connections=2, open_now=1, first_connection_at=5.0)


def test_nothing_yet() -> None:
    assert Counters().read() == TunnelStats()
