"""The difference of two objects as a JSON patch (RFC 6902) that the API server refuses if the object has moved."""

from __future__ import annotations

from typing import Any

from ktpy.model.names import MANAGER
from ktpy.model.ref import Object

Operation = dict[str, Any]


def _pointer(*keys: str) -> str:
    """RFC 6901: / and ~ inside a key are escaped."""
    return "".join("/" + key.replace("~", "~0").replace("/", "~1") for key in keys)


def difference(old: Object, new: Object, *at: str) -> list[Operation]:
    """The operations that make NEW of OLD; lists are replaced whole."""
    operations: list[Operation] = []
    for key in sorted({*old, *new}):
        here = (*at, key)
        if key not in new:
            operations.append({"op": "remove", "path": _pointer(*here)})
        elif key not in old:
            operations.append({"op": "add", "path": _pointer(*here), "value": new[key]})
        elif isinstance(old[key], dict) and isinstance(new[key], dict):
            operations += difference(old[key], new[key], *here)
        elif old[key] != new[key]:
            operations.append({"op": "replace", "path": _pointer(*here), "value": new[key]})
    return operations


def guarded(old: Object, operations: list[Operation]) -> list[Operation]:
    """OPERATIONS, refused with 409 unless the object is still OLD's version and OLD's uid.

    *replace*, not *test*: a failed test answers 422, which looks like any other error.
    """
    meta = old["metadata"]
    guard = [
        {"op": "replace", "path": "/metadata/resourceVersion", "value": meta["resourceVersion"]},
        {"op": "replace", "path": "/metadata/uid", "value": meta["uid"]},
    ]
    return guard + operations


def without_our_field_entries(thing: Object) -> list[Operation]:
    """Operations that take our entries out of managedFields; empty when there are none.

    With an entry of ours left, the owner's next server-side apply of a field we gave back would be a conflict. An empty
    list would be ignored by the API server; one empty entry resets the field
    (kubernetes.io/docs/reference/using-api/server-side-apply/#clearing-managedfields).
    """
    entries = thing["metadata"].get("managedFields") or []
    kept = [entry for entry in entries if entry.get("manager") != MANAGER]
    if len(kept) == len(entries):
        return []
    return [{"op": "replace", "path": "/metadata/managedFields", "value": kept or [{}]}]
