"""The router in front of a shared Service: set up by the first user, joined by each, and ended by the last.

Joining: a row is put into the ConfigMap, every router pod is told, and only if the Service still leads to this
generation afterwards does the row count. The first one has made stuntman, table and Deployment before, and points the
Service at the router when every replica is ready and has reached the originals.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping

from ktpy import closing, opening, routing, undo
from ktpy.conflicts import no_link_port, same_mark
from ktpy.errors import Conflict, KtError, NotFound, Taken, Unreachable
from ktpy.hearing import Hearing
from ktpy.keeping import Keeper, key, serving
from ktpy.kt import Kt
from ktpy.model import diversion, names, router_manifests, routes
from ktpy.model.events import Note, Step, Waiting
from ktpy.model.front import Front, diverted
from ktpy.model.image import how_to_bring
from ktpy.model.names import SessionId
from ktpy.model.podstate import Phase, state_of
from ktpy.model.ref import Object
from ktpy.model.routes import Routes
from ktpy.model.sharelink import Headers
from ktpy.model.target import original_selector
from ktpy.session import Session, persist
from ktpy.watching import View
from ktpy.workers import Workers
from ktpy_router.table import Row

log = logging.getLogger(__name__)

TRIES = 5  # each meets a router whose last user was just leaving
PUSH_SECONDS = 0.5
FOLLOW_SECONDS = 3.0
KNOCK_SECONDS = 0.05
SLOW_SECONDS = 2.0


class Gone(Taken):
    """The router has ended while we were joining it."""


class Router:
    """One generation, as this session uses it. Resources: the rows, until `joined` is left."""

    def __init__(self, kt: Kt, session: Session, front: Front, *, link: Headers | None = None) -> None:
        """LINK: the row has a share link beside it, whose requests get these headers."""
        self.kt, self.session, self.front, self._link = kt, session, front, link
        self._find()

    def _find(self) -> None:
        self.routes, self.is_first = opening.found_or_opened(self.kt, self.session, self.front)

    @property
    def id(self) -> SessionId:
        return self.routes.router

    @contextlib.contextmanager
    def joined(
        self, row: Callable[[], Row], *, knock: Callable[[], object], on_lost: Callable[[Object | None], None]
    ) -> Iterator[None]:
        """ROW's requests come here while the block lasts. ON_LOST is told when somebody has taken the Service back.

        ROW is asked again whenever something changed, since a shadow that is replaced has another address. KNOCK
        connects to the Service's address, by which is seen that the nodes follow a switch.
        """
        with contextlib.ExitStack() as stack:
            stack.callback(self._leave)
            for tries_left in reversed(range(TRIES)):
                try:
                    stack.enter_context(self._served(row, knock, on_lost))
                    break
                except Gone:  # its last user left just now: there will be another
                    if not tries_left:
                        raise
                    self._find()
            yield

    @contextlib.contextmanager
    def _served(
        self, row: Callable[[], Row], knock: Callable[[], object], on_lost: Callable[[Object | None], None]
    ) -> Iterator[None]:
        with Workers(self.kt.stop) as workers:
            view = View(
                self.kt.cluster, workers, "Pod", labels={names.ROLE: names.ROLE_ROUTER, names.SESSION: self.id},
                on_change=self.kt.stop.poke,
            )  # fmt: skip
            self._wait_until_ready(view)
            mine = row()
            self.put(mine)
            told = self._push_to_all(view)
            if self.is_first or self._must_switch():
                self._switch()
                self._follow(view, knock)
            workers.start("routes", Keeper(self, workers, view, row, on_lost, last=mine, told=told).keep)
            hearing = Hearing(self, workers, lambda: serving(view), is_marked=bool(mine.conditions))
            workers.start("hearing", hearing.keep)
            yield

    # coming

    def _wait_until_ready(self, view: View) -> None:
        started = time.monotonic()
        kt, wanted = self.kt, router_manifests.replicas(self.kt.router, self.front.nodes)

        def ready() -> int:
            return sum(state_of(pod).phase is Phase.RUNNING for pod in view.objects.values())

        def is_settled() -> bool:
            broken = any(state_of(pod).phase in (Phase.NO_IMAGE, Phase.BROKEN) for pod in view.objects.values())
            return view.is_complete and (ready() >= (wanted if self.is_first else 1) or broken)

        while not is_settled():
            kt.stop.wait_for(is_settled, SLOW_SECONDS if view.objects else PUSH_SECONDS)
            kt.stop.check()
            if not is_settled():
                self._must_be_open()
            if time.monotonic() - started > kt.settings.timeout:
                raise KtError(
                    f"deployment/{names.router_name(self.front.name)} has {ready()} of {wanted} pods ready after "
                    f"{kt.settings.timeout:.0f} s.",
                    f"kubectl describe deployment {names.router_name(self.front.name)}",
                )
            if not is_settled():
                kt.tell(Waiting("router", _why_not(view) or f"{ready()} of {wanted} pods ready"))
        for pod in view.objects.values():
            state = state_of(pod)
            if state.phase is Phase.NO_IMAGE:
                raise KtError(
                    f"pod/{pod['metadata']['name']} cannot get its image {kt.router.pod.image}: {state.why}.",
                    how_to_bring(kt.router.pod.image),
                )
            if state.phase is Phase.BROKEN and not ready():
                raise KtError(f"pod/{pod['metadata']['name']} does not run: {state.why}.")
        if self.is_first:
            kt.tell(Step("router", f"{wanted} pods are ready", time.monotonic() - started))

    def put(self, row: Row) -> None:
        """ROW into the ConfigMap. Errors: Taken where another has the same requests by now, or the router closes."""

        def how(now: Routes) -> Routes:
            if now.router != self.id or now.closing:
                raise self._gone()
            other = routes.same_requests(routes.without(now, row.owner), row.conditions, tuple(row.to))
            if other:
                raise same_mark(self.kt, self.front, other)
            return self._linked(routes.with_row(now, row), row)

        after = routing.change(self.kt.cluster, self.front.name, how, before=self.session.renew)
        if after is None:
            raise self._gone()
        self.routes = after

    def _linked(self, now: Routes, row: Row) -> Routes:
        """Errors: Taken where the router has no port left for a link."""
        if self._link is None:
            return now
        if after := routes.with_link(now, row, self._link):
            return after
        raise no_link_port(self.front, now)

    def claimed(self) -> Mapping[int, int]:
        """Number in the pods → link port, of this session's share link."""
        (row,) = [row for row in self.routes.table.rows if row.id == self.session.id]
        return routes.claims(self.routes, row) or {}

    def _push_to_all(self, view: View) -> frozenset[tuple[str, int]]:
        """Every pod that is ready has the table; which they are. Errors: KtError where one does not take it in time."""
        started = time.monotonic()
        while True:
            pods = [pod for pod in view.objects.values() if state_of(pod).phase is Phase.RUNNING]
            told = routing.tell(self.kt.cluster, self.routes, pods)
            if pods and not told.missing:
                break
            self.kt.stop.wait(PUSH_SECONDS)
            self.kt.stop.check()
            if time.monotonic() - started > self.kt.settings.timeout:
                name, why = next(iter(told.missing.items()), ("", "there is no pod"))
                raise KtError(f"The router's pod/{name} does not take the routes: {why}", "ktpy doctor")
        self.kt.tell(Step("routes", f"{len(pods)} router pods have them", time.monotonic() - started))
        return frozenset(map(key, pods))

    def _switch(self) -> None:
        """Point the Service at the router, as its first user."""
        started = time.monotonic()
        self.divert()
        self.kt.tell(Step("switch", f"{self.front.ref} leads to the router", time.monotonic() - started))

    def divert(self) -> None:
        """Lead the Service here; unmatched requests follow the selector that its owner has given it by now.

        Errors: those of `diverted`; Taken where the router has ended.
        """
        service = self.kt.cluster.get(self.front.ref)
        if service is not None:
            self._adopt(diverted(self.front, service, self.id))
        self._adopt(self.session.take(self.front.ref, lambda now: diverted(self.front, now, self.id)))

    def _adopt(self, service: Object) -> None:
        selector = original_selector(service)
        stunt = self.kt.cluster.ref("Service", names.stuntman_name(self.front.name, self.id))

        def following(now: Object) -> Object:
            return {**now, "spec": {**now["spec"], "selector": selector}}

        if self.kt.cluster.change(stunt, following, before=self.session.renew) is None:
            raise self._gone()

    def _gone(self) -> Gone:
        return Gone(f"The router of {self.front.ref} was ended a moment ago.", "once more, please")

    def _follow(self, view: View, knock: Callable[[], object]) -> None:
        """Ready is when the Service's address leads to the router, not when its selector says so."""
        kt, started = self.kt, time.monotonic()
        while time.monotonic() - started < FOLLOW_SECONDS:
            knock()
            pods = [pod for pod in view.objects.values() if state_of(pod).phase is Phase.RUNNING]
            if any(routing.connections(kt.cluster, self.routes, pod) for pod in pods):
                kt.tell(Step("follow", "the Service's address leads to the router", time.monotonic() - started))
                return
            kt.stop.wait(KNOCK_SECONDS)
            kt.stop.check()
        kt.tell(Note("The Service's address was not yet seen to lead here; nodes may need some more seconds."))

    def _must_switch(self) -> bool:
        """Whether the first user, who set the router up, has not switched the Service (yet, or ever).

        Errors: Taken where the router was ended meanwhile.
        """
        service = self.kt.cluster.get(self.front.ref)
        if service is None:
            raise NotFound(f"{self.front.ref} is gone.")
        if diversion.is_in_force(service, self.id):
            return False
        self._must_be_open()
        return True

    def _must_be_open(self) -> None:
        found = routing.read(self.kt.cluster, self.front.name)
        if found is None or found.router != self.id or found.closing:
            raise self._gone()

    # going

    def _leave(self) -> None:
        """Tried until it is done, or for a while: the session's own give-back then says what is left."""
        started = time.monotonic()
        said: list[str] = []

        def tell(what: str) -> None:
            said.append(what)
            self.kt.tell(Step("give back", what, time.monotonic() - started))

        def is_back() -> None:
            tell(f"{self.front.ref} is its owner's again")

        def is_done() -> bool:
            try:
                closing.leave(
                    self.kt.cluster, self.front.name, self.session.id, linger=self.kt.settings.linger,
                    alive=lambda other: undo.is_alive(self.kt.cluster, SessionId(other)), late_writes=False,
                    on_back=is_back,
                )  # fmt: skip
            except (Unreachable, Conflict) as error:
                log.debug("leaving the router: %s", error)
                return False
            except KtError as error:
                log.debug("leaving the router: %s", error)
            return True

        persist(self.kt, is_done)
        if not said:
            tell(f"your requests to {self.front.ref} go to the cluster again")


def _why_not(view: View) -> str:
    for pod in view.objects.values():
        state = state_of(pod)
        if state.phase is not Phase.RUNNING:
            return f"pod/{pod['metadata']['name']}: {state.why}"
    return ""
