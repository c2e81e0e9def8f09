"""The control ports of router pods in memory: each has the table that was pushed last, as ktpy_router.control has."""

from __future__ import annotations

import json
from typing import Any

from ktpy.errors import Unreachable
from ktpy.model.ref import Object, uid_of
from ktpy_router.table import BadTable, Table


class Routers:
    """TABLES by the pod's uid. DOWN: uids of pods whose port nobody answers.

    FALLBACKS: by row, what each pod counts. BEATS: which sessions each pod has heard of, by its uid.
    """

    def __init__(self) -> None:
        self.tables: dict[str, Table] = {}
        self.down: set[str] = set()
        self.drained: set[str] = set()
        self.fallbacks: dict[str, int] = {}
        self.beats: dict[str, list[tuple[str, float]]] = {}

    def asked(self, pod: Object, method: str, path: str, body: str) -> tuple[int, str]:
        uid = uid_of(pod)
        if uid in self.down:
            raise Unreachable(f"pod/{pod['metadata']['name']}: nobody listens.")
        if (method, path) == ("PUT", "/routes"):
            return self._pushed(uid, body)
        if (method, path) == ("GET", "/routes"):
            table = self.tables.get(uid)
            return (200, table.to_json()) if table else (503, "none yet")
        if (method, path) == ("GET", "/stats"):
            return 200, json.dumps({"ports": {"8080": {"connections": 1}}, "rows": {}})
        if (method, path) == ("POST", "/heartbeat"):
            return self._heard(uid, json.loads(body))
        if (method, path) == ("POST", "/drain"):
            self.drained.add(uid)
            return 200, "Clients are asked to go."
        return 404, f"There is no {path}."

    def _heard(self, uid: str, beat: dict[str, Any]) -> tuple[int, str]:
        self.beats.setdefault(uid, []).append((beat["session"], beat["seconds"]))
        mine = [row.id for row in self.tables[uid].rows if row.owner == beat["session"]]
        return 200, json.dumps({"version": 1, "rows": {row: {"fallbacks": self.fallbacks.get(row, 0)} for row in mine}})

    def _pushed(self, uid: str, body: str) -> tuple[int, str]:
        try:
            new = Table.from_json(body)
        except BadTable as error:
            return 400, str(error)
        old = self.tables.get(uid)
        if old and old.version > new.version:
            return 409, f"Table {old.version} is in force, which is newer than {new.version}."
        if old and old.version == new.version and old != new:
            return 409, f"Another table {old.version} is in force; a changed table needs a greater version."
        self.tables[uid] = new
        return 200, "{}"
