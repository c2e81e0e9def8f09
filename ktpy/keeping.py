"""A session's worker beside a router: every pod has the table, and the row the shadow's address of now."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from ktpy import routing
from ktpy.errors import Conflict, Taken, Unreachable
from ktpy.model import diversion
from ktpy.model.podstate import Phase, state_of
from ktpy.model.ref import Object, uid_of
from ktpy.watching import View
from ktpy.workers import Workers
from ktpy_router.table import Row

if TYPE_CHECKING:
    from ktpy.router import Router

log = logging.getLogger(__name__)


class Keeper:
    """A worker: every router pod has the table, also one that is new; the row has the shadow's address of now."""

    def __init__(
        self, router: Router, workers: Workers, view: View, row: Callable[[], Row],
        on_lost: Callable[[Object | None], None], *, last: Row, told: frozenset[tuple[str, int]],
    ) -> None:  # fmt: skip
        """LAST: the row that was put; TOLD: the pods that have it. Both may be old news by now."""
        self._router, self._workers, self._view, self._row, self._on_lost = router, workers, view, row, on_lost
        self._told, self._last = told, last
        self._service = View(
            router.kt.cluster, workers, "Service", name=router.front.name, on_change=router.kt.stop.poke
        )

    def _is_news(self) -> bool:
        return bool(serving(self._view).keys() - self._told) or self._row() != self._last or self._is_lost()

    def _is_lost(self) -> bool:
        view = self._service
        if not view.is_complete:
            return False
        service = view.objects.get(self._router.front.name)
        return service is None or not diversion.is_in_force(service, self._router.id)

    def keep(self) -> None:
        kt, done = self._router.kt, self._workers.done
        while not kt.stop.wait_for(lambda: done.is_asked or self._is_news()) and not done.is_asked:
            try:
                self._catch_up()
            except (Unreachable, Conflict) as error:
                log.debug("the routes cannot be kept now: %s", error)
                done.wait(1.0)

    def _catch_up(self) -> None:
        router, kt = self._router, self._router.kt
        found = routing.read(kt.cluster, router.front.name)
        if found is None or found.router != router.id:  # never lead the Service to a router that has ended
            router.session.renew()  # raises Taken with the name of whoever ended this session
            raise Taken(f"The router of {router.front.ref} is gone.", "ktpy birdseye")
        if self._is_lost():
            service = kt.cluster.get(router.front.ref)  # the view may be older than our own switch
            if service is None or not diversion.is_in_force(service, router.id):
                self._on_lost(service)
            kt.stop.wait(0.2)
        row = self._row()
        if row != self._last:
            router.put(row)
            found = router.routes
            self._last = row
            self._told = frozenset()
        pods = serving(self._view)
        told = routing.tell(kt.cluster, found, [pods[key] for key in pods.keys() - self._told])
        self._told |= frozenset(key for key in pods if key[0] in told.have)
        if told.missing:
            self._workers.done.wait(1.0)


def serving(view: View) -> dict[tuple[str, int], Object]:
    """The pods that serve, by their `key`."""
    return {key(pod): pod for pod in view.objects.values() if state_of(pod).phase is Phase.RUNNING}


def key(pod: Object) -> tuple[str, int]:
    """A container that starts anew in the same pod is another one: it may know an old table."""
    return uid_of(pod), _restarts(pod)


def _restarts(pod: Object) -> int:
    return sum(int(c.get("restartCount", 0)) for c in (pod.get("status") or {}).get("containerStatuses") or [])
