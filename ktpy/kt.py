"""What a run is made of, built once in cli/main.py and handed down: cluster, laptop, settings, stop, user."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ktpy.cluster.gateway import Cluster
from ktpy.laptop.machine import Laptop
from ktpy.model.events import Event
from ktpy.model.router_manifests import RouterShape
from ktpy.model.settings import Settings
from ktpy.model.shape import PodShape
from ktpy.stop import Stop

if TYPE_CHECKING:  # paramiko takes a quarter of a second to import: while the pod starts, not before
    from ktpy.net.tunnel import Dial, Tunnel


@dataclass(frozen=True)
class User:
    """Who runs ktpy, and on which machine: what colleagues will read."""

    name: str
    host: str


@dataclass(frozen=True)
class Kt:
    """One run. TELL receives what happens; DIAL(name) gives the way to that pod's sshd; CHANCE() random hex.

    TUNNEL makes the tunnel over such a way; tests have one without sockets.
    """

    cluster: Cluster
    laptop: Laptop
    settings: Settings
    stop: Stop
    user: User
    tell: Callable[[Event], None]
    dial: Callable[[str], Dial]
    chance: Callable[[], str]
    shape: PodShape
    router: RouterShape
    tunnel: Callable[..., Tunnel]
