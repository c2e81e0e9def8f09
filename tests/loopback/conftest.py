"""Loopback tests: a real OpenSSH sshd stands for the shadow pod, threads with sockets for laptop and cluster."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from ktpy.net.keys import SessionKeys
from ktpy.net.tunnel import Arrival, Tunnel, TunnelState
from tests.loopback.apps import serving
from tests.loopback.sshd import Sshd, free_port, running
from tests.loopback.wires import Wires


@dataclass
class Pod:
    """An sshd, three ports that it may listen on, and the tunnels that a test opens to it."""

    sshd: Sshd
    keys: SessionKeys
    ports: list[int]
    wires: Wires = field(init=False)
    states: list[TunnelState] = field(default_factory=list)
    refused: list[tuple[Arrival, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.wires = Wires(lambda: self.sshd.port)

    def tunnel(self, *laptop_ports: int, **more: Any) -> Tunnel:
        """Not entered yet. The first pod port is answered by the first laptop port, and so on."""
        pairs = zip(self.ports, laptop_ports, strict=False)
        arrivals = [Arrival(pod_port, "127.0.0.1", port) for pod_port, port in pairs]
        settings: dict[str, Any] = {
            "bind": "127.0.0.1",
            "user": self.sshd.user,
            "on_state": self.states.append,
            "on_refused": lambda arrival, why: self.refused.append((arrival, why)),
        }
        return Tunnel(more.pop("dial", self.wires), more.pop("keys", self.keys), arrivals, **settings | more)

    @contextlib.contextmanager
    def answered_by(self, handle: Callable[..., None], **more: Any) -> Iterator[Tunnel]:
        """An open tunnel whose ports are all answered by one laptop program."""
        with serving(handle) as port, self.tunnel(port, port, port, **more) as tunnel:
            yield tunnel


@pytest.fixture
def make_pod() -> Iterator[Callable[[str], Pod]]:
    with contextlib.ExitStack() as stack:

        def make(more: str = "") -> Pod:
            keys = SessionKeys.make()
            ports = [free_port() for _ in range(3)]
            return Pod(stack.enter_context(running(keys, ports, more=more)), keys, ports)

        yield make


@pytest.fixture
def pod(make_pod: Callable[[str], Pod]) -> Pod:
    return make_pod("")
