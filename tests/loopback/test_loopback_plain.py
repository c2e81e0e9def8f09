"""The same tunnel on a machine without uvloop."""

from __future__ import annotations

import asyncio
import socket
import threading

import pytest

from ktpy.net import tunnel as tunnels
from tests.loopback.apps import call, digest, echo, expected, send, sink, until
from tests.loopback.conftest import Pod


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tunnels, "new_loop", asyncio.new_event_loop)


def test_bytes_both_ways_with_plain_asyncio(pod: Pod) -> None:
    with pod.answered_by(echo), call(pod.ports[0]) as caller:
        sending = threading.Thread(target=lambda: (send(caller, 30), caller.shutdown(socket.SHUT_WR)))
        sending.start()
        assert digest(caller) == expected(30)
        sending.join()


def test_half_close_with_plain_asyncio(pod: Pod) -> None:
    with pod.answered_by(sink) as tunnel:
        for _ in range(50):
            with call(pod.ports[0]) as caller:
                caller.sendall(b"x" * 70_000)
                caller.shutdown(socket.SHUT_WR)
                assert caller.recv(100).startswith(b"70000 ")
        assert tunnel.drain(5) == 0


def test_a_cut_heals_with_plain_asyncio(pod: Pod) -> None:
    with pod.answered_by(echo) as tunnel:
        pod.wires.cut()
        assert until(lambda: tunnel.stats().heals == 1)
        assert [tunnel.probe(port) < 5 for port in pod.ports] == [True] * 3
