"""An API server in memory, at the level of ktpy.cluster.http.Api; tests/cluster holds it to the real one."""

from __future__ import annotations

import base64
import contextlib
import copy
import json
import re
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from ktpy.cluster.http import JSON_PATCH, Answer
from ktpy.errors import NotFound
from ktpy.model import names
from ktpy.model.ref import CLUSTER_WIDE, KINDS, Object
from tests.fakes.controller import keep_pods
from tests.fakes.jsonpatch import PatchRefused, patched
from tests.fakes.paths import Key, parsed, resource, selects
from tests.fakes.routers import Routers
from tests.fakes.watch import Change, HistoryLines

NAMESPACE = "team"
START = 1_800_000_000.0  # an arbitrary moment of the server's clock
Kubelet = Callable[[Object], Object]


class Refused(Exception):
    """An answer that is not 2xx."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status, self.reason = status, reason


def ready(pod: Object) -> Object:
    """A kubelet that runs every pod at once, each under an address of its own."""
    number = int(names.short_hash(pod.get("metadata", {}).get("name", ""), 4), 16)
    address = f"10.244.{number >> 8}.{number & 255}"
    return {"phase": "Running", "podIP": address, "conditions": [{"type": "Ready", "status": "True"}]}


def no_image(pod: Object) -> Object:
    """A kubelet that cannot pull."""
    waiting = {"reason": "ErrImagePull", "message": "no such image anywhere"}
    return {"phase": "Pending", "containerStatuses": [{"state": {"waiting": waiting}}]}


def never(pod: Object) -> Object:
    """A scheduler that finds no node."""
    why = {"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available"}
    return {"phase": "Pending", "conditions": [why]}


class FakeApi:
    """All objects, their history and a clock that stands still until a test moves `time`.

    Tests act as others through `put`, `edit` and `remove`; a user's own connection, with rights and faults, is a Wire.
    """

    def __init__(self, *namespaces: str) -> None:
        self.time = START
        self.kubelet: Kubelet = ready
        self.routers = Routers()
        self.controlled: frozenset[str] = frozenset()  # uids of workloads with a controller: tests/fakes/controller.py
        self.drains = False  # pods that are deleted serve on until `drained` is called
        self._changed = threading.Condition(threading.RLock())
        self._things: dict[Key, Object] = {}
        self._history: list[Change] = []
        self._version = 100
        self._oldest = 0  # versions before this one are forgotten by the watch
        for name in namespaces or (NAMESPACE,):
            self.put({"kind": "Namespace", "metadata": {"name": name}})

    # for tests

    def put(self, thing: Object, *, manager: str = "kubectl") -> Object:
        """Create THING as somebody else."""
        kind = thing["kind"]
        return self._create(kind, thing["metadata"].get("namespace", "" if kind in CLUSTER_WIDE else NAMESPACE), thing,
                            {"fieldManager": manager})  # fmt: skip

    def edit(self, kind: str, name: str, how: Callable[[Object], object], *, manager: str = "kubectl") -> Object:
        """Change an object in place as somebody else: HOW edits what it is given."""
        with self._changed:
            old = self._things[Key(kind, NAMESPACE, name)]
            new = copy.deepcopy(old)
            how(new)
            return self._update(Key(kind, NAMESPACE, name), old, new, manager)

    def remove(self, kind: str, name: str, *, orphan: bool = False) -> None:
        self._delete(Key(kind, NAMESPACE, name), {"propagationPolicy": "Orphan" if orphan else "Background"})

    def read(self, kind: str, name: str) -> Object | None:
        with self._changed:
            return copy.deepcopy(self._things.get(Key(kind, NAMESPACE, name)))

    def names(self, kind: str) -> list[str]:
        return sorted(key.name for key in self._things if key.kind == kind and key.namespace == NAMESPACE)

    def past(self, kind: str, name: str) -> list[Object]:
        """Every state that the object has had."""
        news = [change.new for change in self._history if change.new]
        return [new for new in news if (new["kind"], new["metadata"]["name"]) == (kind, name)]

    def forget_history(self) -> None:
        """As etcd's compaction: a watch from an older version is told 410 Gone."""
        self._oldest = self._version

    def drained(self) -> None:
        """The last connection of every pod that is going has ended."""
        with self._changed:
            for key, thing in list(self._things.items()):
                if key in self._things and thing["metadata"].get("deletionTimestamp"):
                    self._gone(key, thing)

    def snapshot(self) -> FakeApi:
        """The cluster as it is now, to go on with on its own."""
        with self._changed:
            other = FakeApi()
            other.time, other.kubelet, other._version = self.time, self.kubelet, self._version
            other.routers, other.drains = copy.deepcopy(self.routers), self.drains
            other.controlled = self.controlled
            other._things, other._history = copy.deepcopy(self._things), list(self._history)  # history is not edited
            return other

    # ktpy.cluster.http.Api

    def call(
        self, method: str, path: str, query: Mapping[str, str], body: Any = None, *, content: str = "application/json"
    ) -> Answer:
        sent = json.loads(json.dumps(body))
        with self._changed:
            try:
                status, answer = self._answered(method, path, query, sent, content)
            except Refused as error:
                status = error.status
                answer = {"kind": "Status", "status": "Failure", "reason": error.reason, "message": str(error)}
            return Answer(status, copy.deepcopy(answer), float(int(self.time)))

    @contextlib.contextmanager
    def lines(self, path: str, query: Mapping[str, str]) -> Iterator[HistoryLines]:
        key = parsed(path)
        lines = HistoryLines(self, key, query)
        try:
            yield lines
        finally:
            lines.cancel()

    def ask_pod(self, namespace: str, pod: str, port: int, method: str, path: str, body: str) -> tuple[int, str]:
        with self._changed:
            thing = self._things.get(Key("Pod", namespace, pod))
            if thing is None:
                raise NotFound(f"pod/{pod} is not there.")
            return self.routers.asked(thing, method, path, body)

    # inside

    def _answered(self, method: str, path: str, query: Mapping[str, str], body: Any, content: str) -> tuple[int, Any]:
        if path == "/version":
            return 200, {"gitVersion": "v1.35.4"}
        key = parsed(path)
        if key.kind == "SelfSubjectAccessReview":
            return 201, {**body, "status": {"allowed": True}}
        if key.kind == "SelfSubjectRulesReview":
            everything = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
            return 201, {**body, "status": {"resourceRules": [everything], "incomplete": False}}
        if method == "POST":
            return 201, self._create(key.kind, key.namespace, body, query)
        if not key.name:
            return 200, self._listed(key, query)
        old = self._things.get(key)
        if old is None:
            raise Refused(404, "NotFound", f'{resource(key.kind)} "{key.name}" not found')
        if method == "PATCH":
            assert content == JSON_PATCH
            return 200, self._patch(key, old, body, query)
        if method == "DELETE":
            self._delete(key, body or {})
            return 200, {"kind": "Status", "status": "Success"}
        return 200, old

    def _listed(self, key: Key, query: Mapping[str, str]) -> Object:
        found = [
            thing for at, thing in sorted(self._things.items()) if selects(key, query, thing) and at.kind == key.kind
        ]
        items = [{k: v for k, v in thing.items() if k not in ("kind", "apiVersion")} for thing in found]
        return {"kind": f"{key.kind}List", "metadata": {"resourceVersion": str(self._version)}, "items": items}

    def _create(self, kind: str, namespace: str, thing: Object, query: Mapping[str, str]) -> Object:
        key = Key(kind, namespace, thing["metadata"]["name"])
        if namespace and Key("Namespace", "", namespace) not in self._things:
            raise Refused(404, "NotFound", f'namespaces "{namespace}" not found')
        if not re.fullmatch(r"[a-z0-9]([-.a-z0-9]*[a-z0-9])?", key.name):
            raise Refused(422, "Invalid", f'{kind} "{key.name}" is invalid: metadata.name: Invalid value')
        if key in self._things:
            raise Refused(409, "AlreadyExists", f'{resource(kind)} "{key.name}" already exists')
        new = copy.deepcopy({"apiVersion": KINDS[kind][0], **thing})
        new["metadata"] |= {"uid": str(uuid.uuid4()), "creationTimestamp": self._stamp()}
        new["metadata"] |= {"namespace": namespace} if namespace else {}
        if "stringData" in new:
            text = new.pop("stringData")
            new["data"] = {name: base64.b64encode(value.encode()).decode() for name, value in text.items()}
        if kind == "Service":
            new["spec"].setdefault("clusterIP", f"10.96.0.{self._version % 250}")
        self._signed(new, query.get("fieldManager", "unknown"))
        if "dryRun" in query:
            return new
        if kind == "Pod":
            new["status"] = {"phase": "Pending"}
        self._store(key, new)
        if kind == "Pod":
            self._store(key, {**copy.deepcopy(new), "status": self.kubelet(copy.deepcopy(new))})
        if kind == "Deployment" and "replicas" in new["spec"] and names.ROLE in (new["metadata"].get("labels") or {}):
            self._run(new)
        self._collect_unowned(key)
        return new

    def _run(self, deployment: Object) -> None:
        """The controllers of a Deployment of ours: its pods, each owned by a ReplicaSet that it owns."""
        meta, spec = deployment["metadata"], deployment["spec"]
        owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": meta["name"], "uid": meta["uid"]}
        made = {"name": f"{meta['name']}-{self._version}", "ownerReferences": [owner]}
        replica_set = self._create("ReplicaSet", meta["namespace"], {"kind": "ReplicaSet", "metadata": made,
                                   "spec": {"template": spec["template"]}}, {})  # fmt: skip
        for _ in range(spec["replicas"]):
            self._replicate(replica_set)

    def _replicate(self, replica_set: Object) -> None:
        meta = replica_set["metadata"]
        owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": meta["name"], "uid": meta["uid"]}
        pod = copy.deepcopy({"kind": "Pod", **replica_set["spec"]["template"]})
        pod["metadata"] |= {"name": f"{meta['name']}-{self._version}", "ownerReferences": [owner]}
        self._create("Pod", meta["namespace"], pod, {})

    def _patch(self, key: Key, old: Object, operations: Any, query: Mapping[str, str]) -> Object:
        try:
            new = patched(old, operations)
        except PatchRefused as error:
            message = "the server rejected our request due to an error in our request"
            raise Refused(422, "Invalid", message) from error
        if new["metadata"]["resourceVersion"] != old["metadata"]["resourceVersion"]:
            message = (
                f'Operation cannot be fulfilled on {resource(key.kind)} "{key.name}": the object has been modified'
            )
            raise Refused(409, "Conflict", message)
        if new["metadata"]["uid"] != old["metadata"]["uid"]:
            raise Refused(422, "Invalid", f'{key.kind} "{key.name}" is invalid: metadata.uid: field is immutable')
        return self._update(key, old, new, query.get("fieldManager", "unknown"))

    def _update(self, key: Key, old: Object, new: Object, manager: str) -> Object:
        """A write that changes nothing is none: no new version, no new stamp."""
        fields = [entry for entry in new["metadata"].get("managedFields", []) if entry]
        new["metadata"]["managedFields"] = fields
        if _bare(new) != _bare(old):
            self._signed(new, manager)
        elif fields == old["metadata"]["managedFields"]:
            return old
        self._store(key, new)
        keep_pods(self, new)
        self._collect_unowned(key)
        return new

    def _delete(self, key: Key, options: Mapping[str, Any]) -> None:
        with self._changed:
            old = self._things[key]
            wanted = (options.get("preconditions") or {}).get("uid", old["metadata"]["uid"])
            if wanted != old["metadata"]["uid"]:
                raise Refused(409, "Conflict", f"Precondition failed: UID in precondition: {wanted}")
            is_going = bool(old["metadata"].get("deletionTimestamp"))
            if key.kind == "Pod" and self.drains and "gracePeriodSeconds" not in options:
                if not is_going:
                    going = {"deletionTimestamp": self._stamp(), "deletionGracePeriodSeconds": 70}
                    self._store(key, {**old, "metadata": {**old["metadata"], **going}})
            else:
                self._gone(key, old, orphan=options.get("propagationPolicy") == "Orphan")
            for owner in old["metadata"].get("ownerReferences") or [] if not is_going else []:
                if replica_set := self._things.get(Key("ReplicaSet", key.namespace, owner["name"])):
                    self._replicate(replica_set)

    def _gone(self, key: Key, old: Object, *, orphan: bool = False) -> None:
        self._store(key, None)
        self._collect(old["metadata"]["uid"], orphan=orphan)

    def _collect(self, owner: str, *, orphan: bool) -> None:
        """The garbage collector: what has no owner left goes; ORPHAN takes the reference off instead."""
        for key, thing in list(self._things.items()):
            owners = thing["metadata"].get("ownerReferences") or []
            left = [entry for entry in owners if entry["uid"] != owner]
            if len(left) == len(owners) or key not in self._things:
                continue
            if left or orphan:
                new = copy.deepcopy(thing)
                new["metadata"]["ownerReferences"] = left
                self._store(key, new)
            else:
                self._delete(key, {})

    def _collect_unowned(self, key: Key) -> None:
        """It also finds what was given owners that are all gone by then."""
        owners = self._things[key]["metadata"].get("ownerReferences") or [] if key in self._things else []
        uids = {entry.get("uid") for entry in owners}
        if uids and not any(thing["metadata"]["uid"] in uids for thing in self._things.values()):
            self._delete(key, {})

    def _store(self, key: Key, new: Object | None) -> None:
        with self._changed:
            self._version += 1
            old = self._things.pop(key, None)
            if new is not None:
                new["metadata"]["resourceVersion"] = str(self._version)
                self._things[key] = new
            self._history.append(Change(self._version, old, copy.deepcopy(new)))
            self._changed.notify_all()

    def _signed(self, thing: Object, manager: str) -> None:
        """MANAGER's entry in managedFields, with the time of this write."""
        kept = [e for e in thing["metadata"].get("managedFields", []) if e.get("manager") != manager]
        mine = {"manager": manager, "operation": "Update", "time": self._stamp(), "fieldsType": "FieldsV1"}
        thing["metadata"]["managedFields"] = [*kept, mine]

    def _stamp(self) -> str:
        return datetime.fromtimestamp(int(self.time), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _bare(thing: Object) -> Object:
    meta = {k: v for k, v in thing["metadata"].items() if k not in ("managedFields", "resourceVersion")}
    return {**thing, "metadata": meta}
