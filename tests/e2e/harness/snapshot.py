"""A namespace's objects as far as they must be the same before and after, and how two such states differ."""

from __future__ import annotations

import difflib
import json
from typing import Any

from tests.e2e.harness.node import Node

GROUPS = {
    "/api/v1": "services,endpoints,pods,secrets,configmaps,serviceaccounts,persistentvolumeclaims,resourcequotas,"
    "limitranges",
    "/apis/discovery.k8s.io/v1": "endpointslices",
    "/apis/coordination.k8s.io/v1": "leases",
    "/apis/apps/v1": "deployments,replicasets,statefulsets,controllerrevisions,daemonsets",
    "/apis/batch/v1": "jobs,cronjobs",
    "/apis/autoscaling/v2": "horizontalpodautoscalers",
    "/apis/policy/v1": "poddisruptionbudgets",
    "/apis/networking.k8s.io/v1": "networkpolicies,ingresses",
    "/apis/rbac.authorization.k8s.io/v1": "roles,rolebindings",
}
TIMES = {"creationTimestamp", "deletionTimestamp", "endpoints.kubernetes.io/last-change-trigger-time"}
MOVING = TIMES | {"resourceVersion", "generation"}
HAS_MOVING_STATUS = {"Pod", "Deployment", "ReplicaSet", "StatefulSet", "ResourceQuota"}

Snapshot = dict[str, Any]


def taken(node: Node, namespace: str) -> Snapshot:
    """Kind/name → the object, without what moves by itself."""
    return {f"{thing['kind']}/{thing['metadata']['name']}": _tidy(thing) for thing in objects(node, namespace)}


def objects(node: Node, namespace: str) -> list[dict[str, Any]]:
    """Every object of the NAMESPACE as the server has it."""
    paths = [f"{group}/namespaces/{namespace}/{kind}" for group, kinds in GROUPS.items() for kind in kinds.split(",")]
    return [thing for list_ in node.direct.read(*paths) for thing in _items(list_)]


def _items(list_: dict[str, Any]) -> list[dict[str, Any]]:
    """The server leaves out of each item what the list says of all."""
    same = {"apiVersion": list_["apiVersion"], "kind": list_["kind"].removesuffix("List")}
    return [{**item, **same} for item in list_["items"]]


def is_only_ending(before: Snapshot, after: Snapshot) -> bool:
    """Whether all that differs is pods that were deleted and that the node has yet to stop.

    And what goes with the last of them: a router's stuntman and NetworkPolicies.
    """
    more = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    ending = {name for name in more if name in after and "being deleted" in after[name]}
    theirs = {name for name in more if name in after and goes_with_pods(after[name])}
    ending |= theirs | {name for name in more if _service_behind(after.get(name)) in theirs}
    return more <= ending


def goes_with_pods(thing: dict[str, Any]) -> bool:
    """Whether pods own it, as they do a router's stuntman and NetworkPolicies once the router was told to go."""
    owners = [owner["kind"] for owner in thing["metadata"].get("ownerReferences", [])]
    return thing["kind"] in ("Service", "NetworkPolicy") and set(owners) == {"Pod"}


def _service_behind(thing: dict[str, Any] | None) -> str:
    """The Service of endpoints, or of a slice of them."""
    if not thing or thing["kind"] not in ("Endpoints", "EndpointSlice"):
        return ""
    meta = thing["metadata"]
    return f"Service/{meta.get('labels', {}).get('kubernetes.io/service-name', meta['name'])}"


def difference(before: Snapshot, after: Snapshot) -> str:
    """What is new, what is gone, and line by line what changed; empty where they are the same."""
    told = []
    for name in sorted(before.keys() ^ after.keys()):
        going = ", being deleted" if "being deleted" in after.get(name, {}) else ""
        told.append(f"{name} is {'gone' if name in before else f'new{going}'}")
    for name in sorted(before.keys() & after.keys()):
        was, now = _lines(before[name]), _lines(after[name])
        told += list(difflib.unified_diff(was, now, f"{name} before", f"{name} after", n=2, lineterm=""))
    return "\n".join(told)


def _tidy(thing: dict[str, Any]) -> Any:
    entries = thing["metadata"].pop("managedFields", None) or []
    if thing["kind"] in HAS_MOVING_STATUS:
        thing.pop("status", None)
    if thing["kind"] == "EndpointSlice":
        thing["endpoints"] = sorted(thing.get("endpoints") or [], key=lambda e: str(e["addresses"]))
    bare = _without_moving(thing)
    if "deletionTimestamp" in thing["metadata"]:
        bare["being deleted"] = True
    bare["metadata"]["managedFields of ktpy"] = [e for e in entries if str(e.get("manager", "")).startswith("ktpy")]
    return bare


def _without_moving(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {key: _without_moving(inner) for key, inner in value.items() if key not in MOVING}
        # Controllers write an annotation that moves, and leave the empty map behind.
        return {key: inner for key, inner in kept.items() if key != "annotations" or inner}
    if isinstance(value, list):
        return [_without_moving(inner) for inner in value]
    return value


def _lines(thing: Any) -> list[str]:
    return json.dumps(thing, indent=1, sort_keys=True).splitlines()
