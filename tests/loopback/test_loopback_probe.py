from ktpy.net.probe import listens
from tests.loopback.apps import call, echo, serving, until
from tests.loopback.conftest import Pod
from tests.loopback.sshd import free_port


def test_a_listener_is_seen_and_a_closed_port_is_not() -> None:
    with serving(echo) as port:
        assert listens("127.0.0.1", port, 1.0)
    assert not listens("127.0.0.1", port, 1.0)


def test_the_pulse_is_answered_by_this_process_also_after_a_cut(pod: Pod) -> None:
    """Whatever the laptop's programs do, and without counting as a request."""
    with pod.tunnel(free_port(), pulse=pod.ports[2]) as tunnel:
        for way in range(2):
            with call(pod.ports[2]) as caller:
                for _ in range(3):
                    caller.sendall(b".")
                    assert caller.recv(10) == b"."
            if not way:
                pod.wires.cut()
                until(lambda: tunnel.stats().heals == 1)
        assert tunnel.stats().connections == 0


def test_who_floods_the_pulse_is_left(pod: Pod) -> None:
    with pod.tunnel(pulse=pod.ports[2]), call(pod.ports[2]) as caller:
        caller.sendall(b"x" * 100)
        assert caller.recv(10) == b""
