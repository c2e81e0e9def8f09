"""How a Service is pointed at a shadow and given back: pure functions on its raw JSON, with the undo note.

The note serves whatever else of somebody's is changed: of a workload, its number of replicas (model/scaling.py).
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ktpy.model.names import NOTE, SESSION, SessionId
from ktpy.model.ref import Object, annotations_of, labels_of, uid_of

VERSION = 1
WORKLOADS = ("Deployment", "StatefulSet")
REPLICAS = "spec.replicas"  # what a workload's note speaks of


@dataclass(frozen=True)
class Note:
    """What SESSION changed on the object UID: each value as it WAS and as we SET it."""

    session: SessionId
    uid: str
    was: Mapping[str, str]
    set: Mapping[str, str]

    def text(self) -> str:
        return json.dumps(
            {"v": VERSION, "session": self.session, "uid": self.uid, "was": dict(self.was), "set": dict(self.set)},
            sort_keys=True,
        )


def _is_str_map(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(k, str) and isinstance(v, str) for k, v in value.items())


def note_of(thing: Object) -> Note | None:
    """The undo note on THING; None where there is none or it cannot be read (it then restores nothing)."""
    try:
        raw = json.loads(annotations_of(thing).get(NOTE, "null"))
    except json.JSONDecodeError:
        return None
    if not isinstance(raw, dict) or not isinstance(raw.get("session"), str) or not isinstance(raw.get("uid"), str):
        return None
    if not _is_str_map(raw.get("was")) or not _is_str_map(raw.get("set")):
        return None
    return Note(SessionId(raw["session"]), raw["uid"], raw["was"], raw["set"])


def selector_of(service: Object) -> dict[str, str]:
    return dict(service.get("spec", {}).get("selector") or {})


def values_of(thing: Object) -> dict[str, str]:
    """The values that a note on THING speaks of, each by its own name: a Service's selector, a workload's replicas."""
    if thing.get("kind") in WORKLOADS:
        return {REPLICAS: str(thing["spec"].get("replicas", 1))}
    return selector_of(thing)


def with_values(thing: Object, values: Mapping[str, str]) -> Object:
    """THING with VALUES in their place; a number of replicas that is none is left out."""
    if thing.get("kind") not in WORKLOADS:
        return {**thing, "spec": {**thing["spec"], "selector": dict(values)}}
    replicas = values[REPLICAS]
    return {**thing, "spec": {**thing["spec"], "replicas": int(replicas)}} if replicas.isdecimal() else thing


def is_stale(thing: Object, note: Note) -> bool:
    """A note of another object, or copied without its label, or whose values are all gone, restores nothing."""
    if marked_by(thing) != note.session:
        return True
    now = values_of(thing)
    return not any(now.get(key) == value for key, value in note.set.items())


def marked_by(thing: Object) -> SessionId | None:
    """The session that wrote its marks on this very THING; None for a label or a note that came by copy."""
    note = note_of(thing)
    if note is None or note.uid != uid_of(thing) or labels_of(thing).get(SESSION) != note.session:
        return None
    return note.session


def holder_of(service: Object) -> SessionId | None:
    """The session whose diversion is in force; None when the Service is its owner's."""
    note = note_of(service)
    return note.session if note and not is_stale(service, note) else None


def is_in_force(service: Object, session: SessionId) -> bool:
    """Whether SESSION's diversion is whole: with one value of its owner's in between, the selector finds no pod."""
    note = note_of(service)
    return note is not None and holder_of(service) == session and values_of(service) == note.set


def diverted(service: Object, session: SessionId, value: str) -> Object:
    """SERVICE pointed at pods that wear VALUE under each key of its selector, with the undo note in the same write.

    The keys stay the owner's: his next apply then merges to exactly his selector and never to a mixture.
    """
    was = selector_of(service)
    set_ = dict.fromkeys(was, value)
    return changed(service, session, was=was, set_=set_)


def changed(thing: Object, session: SessionId, *, was: Mapping[str, str], set_: Mapping[str, str]) -> Object:
    """THING with the values SET_ that SESSION gives it, and the note of what they were."""
    return with_values(_marked(thing, Note(session, uid_of(thing), was, set_)), set_)


def touched(thing: Object, session: SessionId) -> Object:
    """THING with SESSION's marks and nothing to restore: a write that only moves its version.

    A workload gets the label alone: its annotations would be copied to its ReplicaSets, for good.
    """
    new = _marked(thing, Note(session, uid_of(thing), {}, {}))
    return without_note(new) if thing.get("kind") in WORKLOADS else new


def _marked(thing: Object, note: Note) -> Object:
    new = copy.deepcopy(thing)
    new["metadata"]["labels"] = {**labels_of(thing), SESSION: note.session}
    new["metadata"]["annotations"] = {**annotations_of(thing), NOTE: note.text()}
    return new


def per_key(now: Mapping[str, str], ours: Mapping[str, str], was: Mapping[str, str]) -> dict[str, str]:
    """NOW with each value that is still OURS as it WAS; what the owner changed meanwhile stays."""
    return {key: was[key] if key in was and ours.get(key) == value else value for key, value in now.items()}


def without_marks(thing: Object, session: SessionId) -> Object:
    """THING without SESSION's note and label; those of another session stay."""
    note = note_of(thing)
    new = without_note(thing) if note is None or note.session == session else copy.deepcopy(thing)
    if labels_of(thing).get(SESSION) == session:
        new["metadata"]["labels"].pop(SESSION)
    if new["metadata"].get("labels") == {}:
        del new["metadata"]["labels"]
    return new


def without_note(thing: Object) -> Object:
    """THING without any undo note."""
    new = copy.deepcopy(thing)
    (new["metadata"].get("annotations") or {}).pop(NOTE, None)
    if new["metadata"].get("annotations") == {}:
        del new["metadata"]["annotations"]
    return new


def given_back(thing: Object, session: SessionId) -> Object:
    """THING as its owner left it, as far as SESSION is concerned; equal to THING when there is nothing to undo."""
    bare = without_marks(thing, session)
    note = note_of(thing)
    if note is None or note.session != session or is_stale(thing, note):
        return bare
    return with_values(bare, per_key(values_of(thing), note.set, note.was))
