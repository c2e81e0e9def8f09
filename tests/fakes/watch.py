"""A watch on a FakeApi: its history from a version on, and then what comes."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from ktpy.model.ref import Object
from tests.fakes.paths import Key, named, selects

if TYPE_CHECKING:
    from tests.fakes.api import FakeApi


class Change(NamedTuple):
    """One entry of the watch history."""

    version: int
    old: Object | None
    new: Object | None


class HistoryLines:
    """A watch: what of the history KEY and QUERY select, then what comes, until cancelled or out of time."""

    def __init__(self, api: FakeApi, key: Key, query: Mapping[str, str]) -> None:
        self._api, self._key, self._query = api, key, query
        self._is_cancelled = False
        self._until = time.monotonic() + float(query.get("timeoutSeconds", 3600))

    def cancel(self) -> None:
        with self._api._changed:
            self._is_cancelled = True
            self._api._changed.notify_all()

    def __iter__(self) -> Iterator[Any]:
        seen = self._query.get("resourceVersion")
        with self._api._changed:
            if seen is None:
                items = self._api._listed(self._key, self._query)["items"]
                backlog = [{"type": "ADDED", "object": named(self._key.kind, item)} for item in items]
                at = self._api._version
            else:
                backlog, at = [], int(seen)
        yield from copy.deepcopy(backlog)
        while (change := self._next(at)) is not None:
            at = change.version
            if at < self._api._oldest:
                yield {"type": "ERROR", "object": {"kind": "Status", "code": 410, "message": "too old"}}
                return
            if event := self._event(change):
                yield event

    def _next(self, at: int) -> Change | None:
        api = self._api
        with api._changed:
            while not self._is_cancelled and (left := self._until - time.monotonic()) > 0:
                if api._version > at:
                    return next(change for change in api._history if change.version > at)
                api._changed.wait(left)
        return None

    def _event(self, change: Change) -> Object | None:
        """An object that stops matching is DELETED for this watch, one that begins to is ADDED."""
        old = change.old if change.old and selects(self._key, self._query, change.old) else None
        new = change.new if change.new and selects(self._key, self._query, change.new) else None
        if new:
            return {"type": "MODIFIED" if old else "ADDED", "object": copy.deepcopy(new)}
        if not old:
            return None
        last = copy.deepcopy(change.new or old)
        last["metadata"]["resourceVersion"] = str(change.version)
        return {"type": "DELETED", "object": last}
