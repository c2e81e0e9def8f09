"""A peer that is no sshd, or goes mad: a clear TunnelLost, never a hang."""

from __future__ import annotations

import os
import random
import socket
import time
from collections.abc import Callable

import pytest

from ktpy.errors import TunnelLost
from ktpy.net.tunnel import Timeouts
from tests.loopback.apps import serving
from tests.loopback.conftest import Pod
from tests.loopback.wires import Wires

SEED = int(os.environ.get("KTPY_SEED", random.randrange(1 << 32)))
SHORT = Timeouts(dial=2.0, login=2.0, listen=2.0)


def http(peer: socket.socket) -> None:
    peer.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")


def noise(peer: socket.socket) -> None:
    peer.sendall(random.Random(SEED).randbytes(300_000))


def banner_then_noise(peer: socket.socket) -> None:
    peer.sendall(b"SSH-2.0-OpenSSH_9.9\r\n" + random.Random(SEED).randbytes(5000))


def endless_line(peer: socket.socket) -> None:
    for _ in range(1000):
        peer.sendall(b"x" * 1000)


def huge_packet(peer: socket.socket) -> None:
    peer.sendall(b"SSH-2.0-x\r\n" + b"\x7f\xff\xff\xff" + bytes(1000))


def half_a_packet(peer: socket.socket) -> None:
    peer.sendall(b"SSH-2.0-x\r\n" + b"\0\0\x01\0\x04\x14")


def hang_up(peer: socket.socket) -> None:
    peer.recv(10)


def banner_that_plays_with_the_terminal(peer: socket.socket) -> None:
    peer.sendall(b"SSH-1\x1b[2J.0-x\r\n")


def say_nothing(peer: socket.socket) -> None:
    while peer.recv(1000):
        pass


@pytest.mark.parametrize(
    "handle",
    [
        http,
        noise,
        banner_then_noise,
        banner_that_plays_with_the_terminal,
        endless_line,
        huge_packet,
        half_a_packet,
        hang_up,
        say_nothing,
    ],
)
def test_what_is_no_sshd_is_refused_in_time(pod: Pod, handle: Callable[[socket.socket], None]) -> None:
    print("seed", SEED)
    started = time.monotonic()
    with (
        serving(handle) as port,
        pytest.raises(TunnelLost) as raised,
        pod.tunnel(1, dial=Wires(lambda: port), timeouts=SHORT),
    ):
        pass
    assert time.monotonic() - started < 10  # SHORT is in force: the usual log-in has 15 s
    assert raised.value.what.isprintable()
