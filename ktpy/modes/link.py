"""The way between a Service and the laptop: a shadow pod, replaced when it goes, and the tunnel into it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from ktpy.errors import Conflict, Forbidden, KtError, NotFound, TunnelLost, Unreachable
from ktpy.kt import Kt
from ktpy.model import manifests, names
from ktpy.model.events import Note, Step, Tunnel, Waiting
from ktpy.model.image import how_to_bring
from ktpy.model.podstate import Phase, PodState, state_of
from ktpy.model.ports import Route, arrivals, pod_ports, pulse_port
from ktpy.model.ref import Object
from ktpy.net.keys import SessionKeys
from ktpy.session import Session
from ktpy.stop import Stop
from ktpy.undo import POD_GRACE_SECONDS
from ktpy.watching import View
from ktpy.workers import Workers, together

if TYPE_CHECKING:
    from ktpy.net.tunnel import Tunnel as SshTunnel
    from ktpy.net.tunnel import TunnelState, TunnelStats

SLOW_SECONDS = 2.0
PROBE_SECONDS = 10.0
FOLLOW_SECONDS = 3.0
KNOCK_SECONDS = 0.05
LOST_SECONDS = 0.25
MOST_SECONDS = 30.0


class Shadow:
    """The session's shadow pod. When it is deleted, evicted or done for, a new one under a new name takes its place."""

    def __init__(self, session: Session, workers: Workers, base: str, make: Callable[[str], Object]) -> None:
        self._session, self._workers, self._base, self._make = session, workers, base, make
        self._kt = session.kt
        self._generation = 1
        self._is_retired = False
        self._said = ""
        self._view: View | None = None
        self.name = base

    def create(self) -> None:
        self._session.create(self._make(self.name))

    def look(self) -> None:
        """Begin to watch."""
        self._view = View(self._kt.cluster, self._workers, "Pod", labels={names.SESSION: self._session.id})

    def state(self) -> PodState | None:
        """As last seen; None while nothing was seen yet."""
        if self._view is None or not self._view.is_complete:
            return None
        pod = self._view.objects.get(self.name)
        return state_of(pod) if pod else PodState(Phase.GOING, "deleted")

    def seen(self) -> Object | None:
        """The pod as last seen."""
        return self._view.objects.get(self.name) if self._view else None

    def wait_until_running(self, timeout: float) -> None:
        """Raises KtError with the kubelet's or scheduler's reason, within seconds where waiting cannot help."""
        stop, started = self._kt.stop, time.monotonic()
        waiting = {None, Phase.COMING}

        def is_settled() -> bool:
            state = self.state()
            return (state.phase if state else None) not in waiting

        while not is_settled() and time.monotonic() - started < timeout:
            stop.wait_for(is_settled, SLOW_SECONDS)
            stop.check()
            state = self.state()
            if not is_settled():
                self._kt.tell(Waiting("prepare", f"pod/{self.name}: {state.why if state else 'not seen yet'}"))
        self._must_run(timeout)

    def _must_run(self, timeout: float) -> None:
        state = self.state() or PodState(Phase.COMING, "not seen yet")
        image = self._kt.shape.image
        if state.phase is Phase.GOING:
            self._session.renew()  # raises Taken where somebody ended this session
        if state.phase is Phase.NO_IMAGE:
            raise KtError(
                f"pod/{self.name} cannot get its image {image}: {state.why}.",
                how_to_bring(image),
            )
        if state.phase is not Phase.RUNNING:
            after = f" after {timeout:.0f} s" if state.phase is Phase.COMING else ""
            raise KtError(f"pod/{self.name} does not run{after}: {state.why}.", f"kubectl describe pod {self.name}")

    def keep(self, move: Callable[[], None]) -> None:
        """A worker: replace the pod whenever it goes, say so, and MOVE the tunnel into the new one once that runs.

        A pod that is asked to go serves the tunnel it has for minutes, while new connections find the new pod.
        """
        done = self._workers.done
        moved_to = self.name
        while not done.is_asked and not self._is_retired:
            state = self.state()
            if state is not None and state.phase is Phase.RUNNING and self.name != moved_to:
                moved_to = self.name
                move()
            if state is None or state.phase not in (Phase.GOING, Phase.BROKEN, Phase.NO_IMAGE):
                self._kt.stop.wait_for(lambda seen=state: self.state() != seen or done.is_asked or self._is_retired)  # type: ignore[misc]
                if self._kt.stop.is_asked:
                    return
                continue
            try:
                self._replace(state)
            except (Unreachable, Forbidden) as error:  # pods go when control planes are busy; a full quota empties
                self._say_once(f"Shadow pod/{self.name} is {state.why} and cannot be replaced yet: {error.what}")
                done.wait(1.0)

    def retire(self) -> None:
        """Ask the pod to go, with none to take its place. It serves on, while new connections find other pods."""
        self._is_retired = True
        self._kt.stop.poke()
        self._kt.cluster.delete(self._kt.cluster.ref("Pod", self.name))

    def _say_once(self, text: str) -> None:
        if text != self._said:
            self._said = text
            self._kt.tell(Note(text))

    def _replace(self, state: PodState) -> None:
        self._session.renew()  # raises Taken where it was deleted by somebody who ended this session
        # One that cannot run would be followed by another that cannot: ever slower, and never two at a time.
        if self._workers.done.wait(min(MOST_SECONDS, self._generation - 1)) or self._kt.stop.is_asked:
            return
        if state.phase is not Phase.GOING:
            self._kt.cluster.delete(self._kt.cluster.ref("Pod", self.name), grace=POD_GRACE_SECONDS)
        old, name = self.name, f"{self._base}-r{self._generation + 1}"
        with contextlib.suppress(Conflict):  # made by a try whose answer was lost
            self._session.create(self._make(name))
        self._kt.tell(Note(f"Shadow pod/{old} is {state.why}; pod/{name} takes its place."))
        self._generation += 1
        self.name = name
        # The view may be a moment behind: a pod that it does not show yet is not gone.
        self._kt.stop.wait_for(lambda: self._is_in_view() or self._workers.done.is_asked, SLOW_SECONDS)
        self._kt.stop.poke()

    def _is_in_view(self) -> bool:
        return self._view is not None and self.name in self._view.objects


class Link:
    """What stands between laptop and cluster while a mode is in force. IS_MARKED: only marked requests come here."""

    def __init__(self, session: Session, shadow: Shadow, tunnel: SshTunnel, *, is_marked: bool = False) -> None:
        self.session, self.shadow, self.tunnel = session, shadow, tunnel
        self.is_marked = is_marked
        self._kt = session.kt
        self._address = ""

    def probe(self, routes: Sequence[Route]) -> None:
        """See every port end to end: pod port → SSH → this process, and back."""
        for port in pod_ports(routes):
            self.tunnel.probe(port.number, timeout=PROBE_SECONDS)

    @property
    def address(self) -> str:
        """The shadow's own, by which a router reaches it; the last known while it is being replaced."""
        pod = self.shadow.seen()
        self._address = str(((pod or {}).get("status") or {}).get("podIP") or self._address)
        return self._address

    def stats(self) -> TunnelStats:
        return self.tunnel.stats()

    def knock(self, host: str, port: int) -> bool:
        """Whether HOST:PORT takes a connection from the shadow; tried shortly: where no rule is yet, a SYN is lost."""
        return self.tunnel.knock(host, port, timeout=LOST_SECONDS)

    def follow(self, host: str, port: int) -> bool:
        """Wait until a connection to HOST:PORT, the Service's own address, comes here: the node has followed.

        kube-proxy takes up to a second. Knocks send nothing, and may reach an original pod before. False: not seen in
        time; a NetworkPolicy may forbid the shadow what others may.
        """
        until = time.monotonic() + FOLLOW_SECONDS

        def has_arrived() -> bool:
            return self.stats().first_connection_at is not None

        while not has_arrived() and time.monotonic() < until and not self._kt.stop.is_asked:
            self.knock(host, port)
            self._kt.stop.wait_for(has_arrived, KNOCK_SECONDS)
        seen = has_arrived()
        self.tunnel.start_over()
        return seen

    def unfollow(self, host: str, port: int, quiet: float) -> None:
        """Wait until nothing new has come here for QUIET seconds, with knocks at HOST:PORT: the nodes have followed."""
        began = last = time.monotonic()
        seen = self.stats().connections
        while (now := time.monotonic()) - last < quiet and now - began < MOST_SECONDS:
            self.knock(host, port)
            Stop().wait(KNOCK_SECONDS)
            if (count := self.stats().connections) != seen:
                seen, last = count, time.monotonic()


@contextlib.contextmanager
def linked(
    kt: Kt, session: Session, routes: Sequence[Route], *, base: str, wears: Mapping[str, str], is_probed: bool = False,
    is_marked: bool = False,
) -> Iterator[Link]:  # fmt: skip
    """A shadow pod wearing WEARS, and a tunnel that brings ROUTES here, probed end to end.

    IS_PROBED: some Service selects WEARS already, so the pod is Ready only while the tunnel is there.
    Resources: leaving closes the tunnel; pod and Secret go with the session.
    """
    keys = SessionKeys.make()
    line = keys.authorized_line([*(port.number for port in pod_ports(routes)), pulse_port(routes)])
    files = {"ssh_host_ed25519_key": keys.host_private, "authorized_keys": f"{line}\n"}
    secret = manifests.key_secret(session.id, session.owner, files)

    def make(name: str) -> Object:
        return manifests.shadow_pod(
            name, session.id, session.owner, shape=kt.shape, ports=pod_ports(routes), wears=wears, is_probed=is_probed
        )

    started = time.monotonic()
    with Workers(kt.stop) as workers:
        shadow = Shadow(session, workers, base, make)
        kt.stop.check()
        together(lambda: session.create(secret), shadow.create)
        way = _tunnel(kt, shadow, keys, routes)  # its libraries load while the pod starts
        shadow.look()
        shadow.wait_until_running(kt.settings.timeout)
        kt.tell(Step("shadow pod", f"pod/{shadow.name} runs", time.monotonic() - started))
        started = time.monotonic()
        with _entered(session, way) as tunnel:
            link = Link(session, shadow, tunnel, is_marked=is_marked)
            with _blamed(session):
                link.probe(routes)
            kt.stop.check()
            kt.tell(Step("tunnel", "probed end to end", time.monotonic() - started))
            workers.start("shadow", lambda: shadow.keep(tunnel.kick))
            yield link


@contextlib.contextmanager
def _entered(session: Session, way: SshTunnel) -> Iterator[SshTunnel]:
    """WAY once it is up; Ctrl-C ends the waiting."""
    session.kt.stop.on_ask(way.abandon)
    with contextlib.ExitStack() as stack:
        with _blamed(session):
            tunnel = stack.enter_context(way)
        yield tunnel


@contextlib.contextmanager
def _blamed(session: Session) -> Iterator[None]:
    """The pod may go, or the waiting end, because somebody asked for it: then that is the reason, and not the tunnel.

    Errors: Interrupted, Taken with the name of whoever ended this session, or the tunnel's own.
    """
    try:
        yield
    except (NotFound, TunnelLost):
        session.kt.stop.check()
        with contextlib.suppress(Unreachable):
            session.renew()
        raise


def _tunnel(kt: Kt, shadow: Shadow, keys: SessionKeys, routes: Sequence[Route]) -> SshTunnel:
    def dial(
        protocol_factory: Callable[[], asyncio.Protocol],
    ) -> Awaitable[tuple[asyncio.BaseTransport, asyncio.BaseProtocol]]:
        state = shadow.state()
        if state and state.phase is not Phase.RUNNING:
            raise NotFound(f"pod/{shadow.name}: {state.why}.")
        return kt.dial(shadow.name)(protocol_factory)

    def on_state(state: TunnelState) -> None:
        kt.tell(Tunnel(state.kind, state.why))
        if state.kind == "gave up":
            kt.stop.ask("tunnel lost", error=TunnelLost(f"The tunnel is lost: {state.why}.", "ktpy doctor"))
        kt.stop.poke()

    from ktpy.net.tunnel import Arrival

    points = [Arrival(pod, host, port) for pod, (host, port) in arrivals(routes).items()]
    pulse = pulse_port(routes)
    return kt.tunnel(dial, keys, points, pulse=pulse, on_state=on_state, on_first=kt.stop.poke)
