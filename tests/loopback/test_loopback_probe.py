from ktpy.net.probe import listens
from tests.loopback.apps import echo, serving


def test_a_listener_is_seen_and_a_closed_port_is_not() -> None:
    with serving(echo) as port:
        assert listens("127.0.0.1", port, 1.0)
    assert not listens("127.0.0.1", port, 1.0)
