"""New keys in a living session, asked by sshd and by us, under load both ways; and who is let in at all."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from dataclasses import replace

import pytest

from ktpy.errors import TunnelLost
from ktpy.net.handshake import Handshake
from ktpy.net.keys import SessionKeys
from ktpy.net.messages import USERAUTH_FAILURE
from ktpy.net.tunnel import Limits, Tunnel
from tests.loopback.apps import call, digest, echo, expected, send, serving
from tests.loopback.conftest import Pod
from tests.loopback.sshd import free_port, running


def load(pod: Pod, tunnel: Tunnel, megabytes: int) -> None:
    """Two streams echo at once while small probes go by."""
    callers = [call(pod.ports[0]), call(pod.ports[1])]
    sending = [threading.Thread(target=lambda c=c: (send(c, megabytes), c.shutdown(socket.SHUT_WR))) for c in callers]
    got: list[tuple[int, str]] = []
    reading = [threading.Thread(target=lambda c=c: got.append(digest(c))) for c in callers]
    for thread in [*sending, *reading]:
        thread.start()
    while any(thread.is_alive() for thread in reading):
        tunnel.probe(pod.ports[2], timeout=10)
    for thread in [*sending, *reading]:
        thread.join()
    for caller in callers:
        caller.close()
    assert got == [expected(megabytes)] * 2


def test_the_server_asks_for_new_keys(make_pod: Callable[[str], Pod]) -> None:
    pod = make_pod("RekeyLimit 16M")
    with pod.answered_by(echo) as tunnel:
        load(pod, tunnel, 60)
        assert tunnel.stats().heals == 0
    assert pod.wires.count == 1


def test_we_ask_for_new_keys(pod: Pod) -> None:
    with pod.answered_by(echo, limits=Limits(rekey_bytes=4 << 20)) as tunnel:
        load(pod, tunnel, 60)
        assert tunnel.stats().heals == 0
    assert pod.wires.count == 1


def test_both_ask_for_new_keys(make_pod: Callable[[str], Pod]) -> None:
    pod = make_pod("RekeyLimit 5M")
    with pod.answered_by(echo, limits=Limits(rekey_bytes=4 << 20)) as tunnel:
        load(pod, tunnel, 40)
        assert tunnel.stats().heals == 0


def test_only_the_bigger_key_will_do(make_pod: Callable[[str], Pod]) -> None:
    pod = make_pod("Ciphers aes256-gcm@openssh.com\nRekeyLimit 16M")
    with pod.answered_by(echo) as tunnel:
        load(pod, tunnel, 20)


def test_another_host_key_is_refused(pod: Pod) -> None:
    stranger = replace(pod.keys, host_public=SessionKeys.make().host_public)
    with pytest.raises(TunnelLost, match="host key is another"), pod.tunnel(1, keys=stranger):
        pass


def test_another_client_key_is_refused(pod: Pod) -> None:
    stranger = replace(SessionKeys.make(), host_public=pod.keys.host_public)
    with pytest.raises(TunnelLost, match="refused this session's key"), pod.tunnel(1, keys=stranger):
        pass


def test_a_refusal_is_said_even_when_the_wire_ends_right_behind_it(pod: Pod) -> None:
    class Cut(Handshake):
        def _look(self, packet: bytes) -> int:
            kind = super()._look(packet)
            if kind == USERAUTH_FAILURE:
                self.lost(ConnectionResetError("closed by the other side"))
            return kind

    def read() -> None:
        while data := wire.recv(65536):
            handshake.feed(data)

    stranger = replace(SessionKeys.make(), host_public=pod.keys.host_public)
    with call(pod.sshd.port) as wire:
        handshake = Cut(stranger, wire.sendall, user=pod.sshd.user, timeout=10)
        reading = threading.Thread(target=read)
        reading.start()
        with pytest.raises(TunnelLost, match="refused this session's key"):
            handshake.run()
        wire.shutdown(socket.SHUT_RDWR)
        reading.join()


def test_a_port_that_the_key_may_not_listen_on_is_named(pod: Pod) -> None:
    allowed = pod.ports[0]
    with serving(lambda _: None) as free:
        pass
    pod.ports[0] = free
    with pytest.raises(TunnelLost, match=f"refuses to listen on port {free}"), pod.tunnel(1):
        pass
    assert allowed != free


def test_a_key_without_ports_only_reaches_out() -> None:
    keys = SessionKeys.make()
    with serving(echo) as service, running(keys, []) as sshd:
        pod = Pod(sshd, keys, [free_port()])
        with pod.tunnel() as tunnel:
            stream, _ = tunnel.submit(tunnel.connect("127.0.0.1", service, asyncio.Protocol)).result(5)
            assert not stream.is_closing()
        with pytest.raises(TunnelLost, match="refuses to listen"), pod.tunnel(1):
            pass


def test_a_server_without_our_ciphers_is_refused(make_pod: Callable[[str], Pod]) -> None:
    pod = make_pod("Ciphers chacha20-poly1305@openssh.com")
    with pytest.raises(TunnelLost, match="cipher"), pod.tunnel(1):
        pass
