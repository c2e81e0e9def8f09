"""The controllers of an owner's Deployments and StatefulSets: as many pods as each says, at once."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from ktpy.model.ref import Object

if TYPE_CHECKING:
    from tests.fakes.api import FakeApi


def controlled(api: FakeApi, workload: Object) -> Object:
    """Create WORKLOAD as its owner; from here on its pods follow its replicas."""
    made = api.put(workload)
    api.controlled |= {made["metadata"]["uid"]}
    keep_pods(api, made)
    return made


def keep_pods(api: FakeApi, workload: Object) -> None:
    """Those of a Deployment are its ReplicaSet's, by name and by the hash that they wear."""
    if workload["metadata"]["uid"] not in api.controlled:
        return
    kind, name, template = workload["kind"], workload["metadata"]["name"], workload["spec"]["template"]
    labels = dict(template["metadata"]["labels"])
    if kind == "Deployment":
        kind, name, labels = "ReplicaSet", f"{name}-5f7b", {**labels, "pod-template-hash": "5f7b"}
    owner = {"kind": kind, "name": name, "uid": workload["metadata"]["uid"], "controller": True}
    for number in range(9):
        pod, is_wanted = f"{name}-{number}", number < workload["spec"]["replicas"]
        is_there = api.read("Pod", pod) is not None
        if is_there and not is_wanted:
            api.remove("Pod", pod)
        if is_wanted and not is_there:
            meta = {"name": pod, "namespace": "team", "labels": labels, "ownerReferences": [owner]}
            api.put({"kind": "Pod", "metadata": meta, "spec": copy.deepcopy(template["spec"])})


def alike(found: dict[str, Object]) -> dict[str, Object]:
    """What `essence` has FOUND, without what differs between a pod and the one that takes its place."""
    return {name: {**thing, "metadata": _alike(thing["metadata"])} for name, thing in found.items()}


def _alike(meta: Object) -> Object:
    kept = {key: value for key, value in meta.items() if key not in ("uid", "creationTimestamp", "ownerReferences")}
    return {**kept, "owners": [(owner["kind"], owner["name"]) for owner in meta.get("ownerReferences") or []]}
