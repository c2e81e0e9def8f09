"""Where the API server keeps things: paths, selectors, and the names of kinds in its messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ktpy.model.ref import KINDS, Object

_KIND_AT = {where: kind for kind, where in KINDS.items()}


class Key(NamedTuple):
    """Where an object is: no namespace where its kind has none."""

    kind: str
    namespace: str
    name: str


def parsed(path: str) -> Key:
    """/apis/GROUP/VERSION/namespaces/NAMESPACE/PLURAL/NAME, shorter for lists and for kinds without a namespace."""
    _, root, *rest = path.split("/")
    group, rest = ("/".join(rest[:2]), rest[2:]) if root == "apis" else (rest[0], rest[1:])
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2:
        _, namespace, *rest = rest
    return Key(_KIND_AT[group, rest[0]], namespace, rest[1] if len(rest) > 1 else "")


def selects(key: Key, query: Mapping[str, str], thing: Object) -> bool:
    """Whether a list or watch of KEY under QUERY's selectors shows THING."""
    meta = thing["metadata"]
    if thing["kind"] != key.kind or key.namespace not in ("", meta.get("namespace", "")):
        return False
    if (field := query.get("fieldSelector")) and field != f"metadata.name={meta['name']}":
        return False
    labels = meta.get("labels") or {}
    for part in filter(None, query.get("labelSelector", "").split(",")):
        name, equals, value = part.partition("=")
        if name not in labels or (equals and labels[name] != value):
            return False
    return True


def named(kind: str, item: Object) -> Object:
    return {"kind": kind, "apiVersion": KINDS[kind][0], **item}


def resource(kind: str) -> str:
    group, plural = KINDS[kind]
    return f"{plural}.{group.split('/')[0]}" if "/" in group else plural
