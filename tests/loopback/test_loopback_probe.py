import socket

from ktpy.net.probe import listens, wait_listens
from tests.loopback.apps import echo, serving


def test_a_listener_is_seen_and_a_closed_port_is_not() -> None:
    with serving(echo) as port:
        assert listens("127.0.0.1", port, 1.0)
    assert not listens("127.0.0.1", port, 1.0)


def test_a_listener_that_comes_late_is_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    servers: list[socket.socket] = []

    def starts_meanwhile(_: float) -> bool:
        servers.append(socket.create_server(("127.0.0.1", port)))
        return False

    assert wait_listens("127.0.0.1", port, 5.0, wait=starts_meanwhile)
    servers[0].close()
    assert not wait_listens("127.0.0.1", port, 5.0, wait=lambda _: True)
    assert not wait_listens("127.0.0.1", port, 0.05, wait=lambda _: False)
