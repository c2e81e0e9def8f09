"""The wire breaks in every way we know, and all ports answer again."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from ktpy.errors import NotFound, TunnelLost
from ktpy.net.keys import SessionKeys
from ktpy.net.tunnel import Limits, Timeouts, Tunnel
from tests.loopback.apps import call, echo, expected, send, serving, sink, until
from tests.loopback.conftest import Pod
from tests.loopback.wires import Middle, Wires

# Dead after 1.5 s: a busy machine may keep sshd from answering for some tenths of that.
QUICK = Limits(keepalive=0.3, misses=5)


def answers_everywhere(pod: Pod, tunnel: Tunnel) -> bool:
    for port in pod.ports:
        with call(port) as caller:
            caller.sendall(b"word")
            if caller.recv(10) != b"word":
                return False
        tunnel.probe(port)
    return True


def healed(tunnel: Tunnel, times: int = 1) -> bool:
    return until(lambda: tunnel.stats().heals >= times and tunnel.state.kind == "up", 15)


def test_a_wire_cut_in_the_middle_of_a_transfer_heals_on_all_ports(pod: Pod) -> None:
    with pod.answered_by(echo) as tunnel:
        with call(pod.ports[0]) as caller:
            sending = threading.Thread(target=lambda: _send_until_it_breaks(caller))
            sending.start()
            assert until(lambda: tunnel.stats().bytes_to_laptop > 1 << 20)
            pod.wires.cut()
            assert healed(tunnel)
            sending.join(10)
            assert not sending.is_alive(), "the caller of the cut wire was left hanging"
        assert answers_everywhere(pod, tunnel)
        assert tunnel.drain(5) == 0
    assert [state.kind for state in pod.states] == ["up", "healing", "up"]
    assert "cut" in pod.states[1].why


def _send_until_it_breaks(caller: socket.socket) -> None:
    caller.settimeout(10)
    with contextlib.suppress(ConnectionError):
        while True:
            send(caller, 1)


def test_twenty_cuts_in_a_row(pod: Pod) -> None:
    with pod.answered_by(echo) as tunnel:
        for number in range(1, 21):
            pod.wires.cut()
            assert healed(tunnel, number)
        assert answers_everywhere(pod, tunnel)


def test_sshd_is_killed_and_started_again(pod: Pod) -> None:
    with pod.answered_by(echo) as tunnel:
        pod.sshd.kill()
        assert until(lambda: tunnel.state.kind == "healing")
        threading.Event().wait(0.5)  # some attempts fail
        pod.sshd.start()
        assert healed(tunnel)
        assert answers_everywhere(pod, tunnel)


def test_a_wire_that_falls_silent_is_noticed_by_the_keep_alive(pod: Pod) -> None:
    with pod.answered_by(echo, limits=QUICK) as tunnel:
        pod.wires.silence()
        assert healed(tunnel)
        assert answers_everywhere(pod, tunnel)
    assert "not been heard of" in pod.states[1].why


def test_ports_that_a_dead_session_holds_are_freed(pod: Pod) -> None:
    """The network loses the laptop without a word: sshd keeps the old session, and its ports, for 45 s.

    healed() waits for less than that.
    """
    with Middle(pod.sshd.port) as middle:
        wires = Wires(lambda: middle.port)
        with pod.answered_by(echo, limits=QUICK, dial=wires) as tunnel:
            middle.freeze()
            assert healed(tunnel)
            assert answers_everywhere(pod, tunnel)


def test_short_silence_keeps_the_wire(pod: Pod) -> None:
    """Of more than one question; the limit itself is Pulse's own test."""
    with pod.answered_by(echo, limits=Limits(keepalive=0.3, misses=10)) as tunnel:
        with call(pod.ports[0]) as caller:
            caller.sendall(b"before")
            assert caller.recv(10) == b"before"
            loop, transport = pod.wires._made[-1]
            loop.call_soon_threadsafe(transport.pause_reading)
            threading.Event().wait(0.5)
            loop.call_soon_threadsafe(transport.resume_reading)
            caller.sendall(b"after")
            assert caller.recv(10) == b"after"
        assert tunnel.stats().heals == 0


def test_a_pod_that_is_gone_is_said_and_its_successor_found_by_a_kick(pod: Pod) -> None:
    with pod.answered_by(echo) as tunnel:
        pod.wires.error = NotFound("pod/shadow in dev is gone")
        pod.wires.cut()
        assert until(lambda: "is gone" in tunnel.state.why)
        assert tunnel.state.kind == "healing"
        threading.Event().wait(1.0)  # by now it tries once a second
        pod.wires.error = None
        tunnel.kick()
        assert healed(tunnel)
        assert answers_everywhere(pod, tunnel)


def test_a_kick_moves_a_healthy_tunnel(pod: Pod) -> None:
    with pod.answered_by(echo) as tunnel:
        pod.wires.error = OSError("not yet")  # or it may be up again before the next line
        tunnel.kick()
        assert tunnel.state.kind == "healing"
        pod.wires.error = None
        assert healed(tunnel)
        assert answers_everywhere(pod, tunnel)
    assert pod.wires.count == 2


def test_it_gives_up_and_a_kick_revives_it(pod: Pod) -> None:
    with pod.answered_by(echo, timeouts=Timeouts(give_up=0.5)) as tunnel:
        pod.wires.error = OSError("no network")
        pod.wires.cut()
        assert until(lambda: tunnel.state.kind == "gave up")
        with pytest.raises(TunnelLost):
            tunnel.probe(pod.ports[0], timeout=0.2)
        pod.wires.error = None
        tunnel.kick()
        assert healed(tunnel)
        assert answers_everywhere(pod, tunnel)


def test_no_sshd_at_all_is_an_error_at_the_start(pod: Pod) -> None:
    pod.sshd.kill()
    with pytest.raises(TunnelLost, match="no connection"), pod.tunnel(1):
        pass


def test_leaving_while_healing_is_quick(pod: Pod) -> None:
    with pod.answered_by(echo) as tunnel:
        pod.sshd.kill()
        assert until(lambda: tunnel.state.kind == "healing")
        started = time.monotonic()
    assert time.monotonic() - started < 5  # it waits for no attempt, nor its time limit of 10 s


def test_a_laptop_that_was_suspended_heals(pod: Pod, tmp_path: Path) -> None:
    """SIGSTOP for many keep-alives, with a living wire and in the middle of healing."""
    key, script = tmp_path / "key", Path(__file__).with_name("suspended.py")
    key.write_text("\n".join([pod.keys.client_private, pod.keys.host_public]))
    with serving(echo) as port:
        child = subprocess.Popen(
            [sys.executable, script, key, str(pod.sshd.port), pod.sshd.user, str(pod.ports[0]), str(port)],
            stdout=subprocess.PIPE,
            stdin=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        )
        with child:
            assert child.stdout is not None
            assert child.stdout.readline() == "up\n"
            os.kill(child.pid, signal.SIGSTOP)
            threading.Event().wait(4)
            os.kill(child.pid, signal.SIGCONT)
            assert until(lambda: _answers(pod.ports[0]))
            pod.sshd.kill()
            assert child.stdout.readline() == "healing\n"
            os.kill(child.pid, signal.SIGSTOP)
            threading.Event().wait(4)
            pod.sshd.start()
            os.kill(child.pid, signal.SIGCONT)
            said = iter(child.stdout.readline, "up\n")
            assert set(said) <= {"healing\n"}
            assert until(lambda: _answers(pod.ports[0]))
            child.communicate("end\n", timeout=10)


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), call(port) as caller:
        caller.sendall(b"word")
        return caller.recv(10) == b"word"
    return False


def test_what_is_sent_before_the_end_arrives(pod: Pod) -> None:
    """No loss within a living connection: the caller sends and closes at once, a hundred times."""
    with pod.answered_by(sink) as tunnel:
        for _ in range(100):
            with call(pod.ports[0]) as caller:
                send(caller, 1)
                caller.shutdown(socket.SHUT_WR)
                assert caller.recv(1000).decode() == "{} {}".format(*expected(1))
        assert tunnel.stats().bytes_to_laptop == 100 << 20


def test_waiting_for_a_tunnel_that_does_not_come_up_can_be_called_off() -> None:
    async def silent(_: object) -> tuple[asyncio.BaseTransport, asyncio.BaseProtocol]:
        await asyncio.Event().wait()
        raise AssertionError("nobody sets it")

    tunnel = Tunnel(silent, SessionKeys.make(), [])
    threading.Timer(0.2, tunnel.abandon).start()
    started = time.monotonic()

    with pytest.raises(TunnelLost, match="nobody waits"), tunnel:
        pass

    assert time.monotonic() - started < 5
