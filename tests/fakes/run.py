"""A run against a FakeApi: a user's Kt with a tunnel that has no sockets."""

from __future__ import annotations

import asyncio
import itertools
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any

from ktpy.cluster.gateway import Cluster
from ktpy.kt import Kt, User
from ktpy.laptop.machine import Laptop
from ktpy.laptop.state import Run
from ktpy.model.events import Event
from ktpy.model.ref import Object
from ktpy.model.router_manifests import RouterShape
from ktpy.model.settings import Settings
from ktpy.model.shape import PodShape
from ktpy.net.tunnel import Arrival, TunnelState, TunnelStats
from ktpy.stop import Stop
from tests.fakes.api import NAMESPACE, FakeApi
from tests.fakes.wire import Wire

_tails = itertools.count(1)


class FakeTunnel:
    """As net.tunnel.Tunnel to whoever holds it: it is up at once, and what it carries a test says."""

    def __init__(
        self,
        dial: Any,
        keys: Any,
        arrivals: Sequence[Arrival],
        *,
        pulse: int,
        on_state: Callable[[TunnelState], None],
        on_first: Callable[[], None],
    ) -> None:
        self.pulse = pulse
        self.dial, self.keys, self.arrivals, self.on_state = dial, keys, tuple(arrivals), on_state
        self.probed: list[int] = []
        self.is_open = False
        self.kicks = 0
        self.knocks: list[tuple[str, int]] = []
        self.is_followed = True
        self._stats = TunnelStats()

    def __enter__(self) -> FakeTunnel:
        self.is_open = True
        self.on_state(TunnelState("up", 0.0))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.is_open = False

    def probe(self, pod_port: int, *, timeout: float = 5.0) -> float:
        self.probed.append(pod_port)
        return 0.0

    def stats(self) -> TunnelStats:
        return self._stats

    def carry(self, **stats: Any) -> None:
        self._stats = replace(self._stats, **stats)

    def knock(self, host: str, port: int, *, timeout: float = 1.0) -> bool:
        """As where the node follows at once: what knocks at the Service comes out here."""
        self.knocks.append((host, port))
        if self.is_followed:
            self.carry(connections=1, first_connection_at=0.0)
        return True

    def start_over(self) -> None:
        self._stats = TunnelStats()

    def abandon(self) -> None: ...

    def kick(self) -> None:
        self.kicks += 1

    def drain(self, timeout: float) -> int:
        return 0


@dataclass
class Person:
    """A user at a laptop: KT, the WIRE it goes through, and what was TOLD."""

    kt: Kt
    wire: Wire
    told: list[Event]
    tunnels: list[FakeTunnel] = field(default_factory=list)

    @property
    def cluster(self) -> Cluster:
        return self.kt.cluster


def person(api: FakeApi, name: str = "ana", **settings: Any) -> Person:
    """NAME with a connection of their own. No lingering, and the rights of the published Role."""
    wire, stop = Wire(api), Stop()
    told: list[Event] = []
    made: list[FakeTunnel] = []

    def tell(event: Event) -> None:
        told.append(event)
        stop.poke()  # for tests that wait for it

    def tunnel(*args: Any, **kwargs: Any) -> Any:
        made.append(FakeTunnel(*args, **kwargs))
        return made[-1]

    kt = Kt(
        cluster=Cluster(wire, NAMESPACE),
        laptop=Laptop(Run("exchange-1", Path(tempfile.gettempdir()))),
        settings=Settings(**{"linger": 0.0, "timeout": 5.0, **settings}),
        stop=stop,
        user=User(name, f"{name}-laptop"),
        tell=tell,
        dial=lambda pod: _dial,
        chance=lambda: f"{next(_tails):08x}",
        shape=PodShape(image="localhost/ktpy-shadow:1"),
        router=RouterShape(PodShape(image="localhost/ktpy-router:1")),
        tunnel=tunnel,
    )
    return Person(kt, wire, told, made)


class _Wire(asyncio.Transport):
    """Leads nowhere; whoever only opens it is content."""

    def abort(self) -> None: ...


async def _dial(protocol_factory: Callable[[], asyncio.Protocol]) -> tuple[asyncio.Transport, asyncio.Protocol]:
    return _Wire(), protocol_factory()


def essence(api: FakeApi) -> dict[str, Object]:
    """All that an owner could miss: every object, without versions and times; and whether a manager is ours."""
    things = [thing for thing in api._things.values() if thing["kind"] != "Event"]  # they tell, and go by themselves
    return {f"{thing['kind']}/{thing['metadata']['name']}": _essence(thing) for thing in things}


def _essence(thing: Object) -> Object:
    meta = {k: v for k, v in thing["metadata"].items() if k not in ("resourceVersion", "generation")}
    meta["managedFields"] = sorted(entry["manager"] for entry in meta.get("managedFields", []))
    return {**thing, "metadata": meta}


def still(fact: Callable[[], bool], stop: Stop, seconds: float = 5.0) -> bool:
    """Wait for what another thread does; true once FACT holds. STOP is poked by every change a run sees."""
    stop.wait_for(fact, seconds)
    return fact()
