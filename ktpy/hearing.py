"""A session's worker beside a router: it says with each heartbeat that the session lives, and hears what fell back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from ktpy import routing
from ktpy.model.events import FellBack
from ktpy.model.ref import Object
from ktpy.workers import Workers

if TYPE_CHECKING:
    from ktpy.router import Router

Key = tuple[str, int]  # of a router's container, see keeping.key


class Hearing:
    """Errors: none of a router that does not answer: the next heartbeat asks it again."""

    def __init__(
        self, router: Router, workers: Workers, pods: Callable[[], Mapping[Key, Object]], *, is_marked: bool
    ) -> None:
        """PODS: those that serve now. IS_MARKED: only marked requests are this session's."""
        self._router, self._workers, self._pods, self._is_marked = router, workers, pods, is_marked
        self._fallbacks: dict[Key, int] = {}
        self._total = 0

    def keep(self) -> None:
        session, stop, done = self._router.session, self._router.kt.stop, self._workers.done
        beats = session.beats
        while not stop.wait_for(lambda: done.is_asked or session.beats != beats) and not done.is_asked:  # noqa: B023
            beats = session.beats
            self._hear()

    def _hear(self) -> None:
        router, pods = self._router, self._pods()
        said = routing.beat(router.kt.cluster, router.routes, router.session.id, list(pods.values()))
        grown = 0
        for key, carried in zip(pods, said, strict=True):
            if carried is not None:  # a worker of the pod that starts anew counts from nothing: then it shrinks
                grown += max(0, carried.fallbacks - self._fallbacks.get(key, 0))
                self._fallbacks[key] = carried.fallbacks
        if grown:
            self._total += grown
            router.kt.tell(FellBack(grown, self._total, self._is_marked))
