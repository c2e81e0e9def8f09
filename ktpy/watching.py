"""Objects of the cluster kept in view by a watch that heals itself, so that nobody has to poll."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping

from ktpy.cluster.gateway import Cluster
from ktpy.cluster.http import Lines
from ktpy.errors import Unreachable
from ktpy.model.ref import Object
from ktpy.workers import Workers

log = logging.getLogger(__name__)
RETRY_SECONDS = 0.5


class View:
    """The objects of KIND that wear LABELS or are called NAME, by name, as last seen.

    ON_CHANGE is called in the watch's thread after each change; then the run's Stop is poked.
    Resources: one thread and one connection of WORKERS. Errors: Forbidden ends the run; no answer is tried again.
    """

    def __init__(
        self,
        cluster: Cluster,
        workers: Workers,
        kind: str,
        *,
        name: str | None = None,
        labels: Mapping[str, str | None] | None = None,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self._cluster, self._workers, self._kind = cluster, workers, kind
        self._name, self._labels, self._on_change = name, labels, on_change
        self._lock = threading.Lock()
        self._lines: Lines | None = None
        self.objects: dict[str, Object] = {}
        self.is_complete = False
        workers.start(f"watch-{kind}", self._run, cancel=self._cancel)

    def _cancel(self) -> None:
        with self._lock:
            if self._lines:
                self._lines.cancel()

    def _run(self) -> None:
        done = self._workers.done
        while not done.is_asked:
            try:
                self._list_and_watch()
            except Unreachable as error:
                log.debug("watch on %s: %s", self._kind, error)
                done.wait(RETRY_SECONDS)

    def _list_and_watch(self) -> None:
        """A list first, so that what was deleted while nobody watched is noticed; then changes from that version on."""
        found, version = self._cluster.find_at(self._kind, name=self._name, labels=self._labels)
        self.objects = {thing["metadata"]["name"]: thing for thing in found}
        self.is_complete = True
        self._tell()
        with self._cluster.watch(self._kind, name=self._name, labels=self._labels, since=version) as lines:
            with self._lock:
                self._lines = lines
            if self._workers.done.is_asked:
                return
            for event in lines:
                if not self._take(event["type"], event["object"]):
                    return

    def _take(self, kind: str, thing: Object) -> bool:
        """Remember one event; false when the list must be read anew (410 Gone)."""
        if kind == "ERROR":
            log.debug("watch on %s: %s", self._kind, thing.get("message"))
            return False
        if kind == "BOOKMARK":
            return True
        name = thing["metadata"]["name"]
        objects = dict(self.objects)
        if kind == "DELETED":
            objects.pop(name, None)
        else:
            objects[name] = thing
        self.objects = objects
        self._tell()
        return True

    def _tell(self) -> None:
        self._on_change()
        self._workers.stop.poke()
