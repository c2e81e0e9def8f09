"""JSON patch (RFC 6902) as the API server applies it: add, replace, remove; anything it cannot do is refused whole.

It is laxer than the RFC: `replace` of a key that a map does not have adds it.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any


class PatchRefused(Exception):
    """The document is not as the patch supposes: 422 at the API server."""


def patched(document: Any, operations: Sequence[dict[str, Any]]) -> Any:
    """A copy of DOCUMENT with OPERATIONS applied in order. Raises PatchRefused."""
    new = copy.deepcopy(document)
    for operation in operations:
        keys = [key.replace("~1", "/").replace("~0", "~") for key in operation["path"].split("/")[1:]]
        _apply(_parent(new, keys), keys[-1], operation)
    return new


def _parent(document: Any, keys: Sequence[str]) -> Any:
    for key in keys[:-1]:
        try:
            document = document[int(key)] if isinstance(document, list) else document[key]
        except (KeyError, IndexError, ValueError, TypeError) as error:
            raise PatchRefused(f"no {key}") from error
    if not isinstance(document, dict | list):
        raise PatchRefused(f"nothing to hold {keys[-1]}")
    return document


def _apply(parent: Any, key: str, operation: dict[str, Any]) -> None:
    here: Any = key
    if isinstance(parent, list):
        here = len(parent) if key == "-" else int(key)
    exists = here in parent if isinstance(parent, dict) else here < len(parent)
    kind = operation["op"]
    if kind == "add":
        if isinstance(parent, list):
            parent.insert(here, copy.deepcopy(operation["value"]))
        else:
            parent[here] = copy.deepcopy(operation["value"])
        return
    if not exists and (kind != "replace" or isinstance(parent, list)):
        raise PatchRefused(f"no {key} to {kind}")
    if kind == "remove":
        del parent[here]
    elif kind == "replace":
        parent[here] = copy.deepcopy(operation["value"])
    else:
        raise PatchRefused(f"{kind} is not known here")
