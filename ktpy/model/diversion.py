"""How a Service is pointed at a shadow and given back: pure functions on its raw JSON, with the undo note."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ktpy.model.names import NOTE, SESSION, SessionId
from ktpy.model.ref import Object, annotations_of, labels_of, uid_of

VERSION = 1


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


def is_stale(thing: Object, note: Note) -> bool:
    """A note of another object, or copied without its label, or whose values are all gone, restores nothing."""
    if marked_by(thing) != note.session:
        return True
    now = selector_of(thing)
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
    return note is not None and holder_of(service) == session and selector_of(service) == note.set


def diverted(service: Object, session: SessionId, value: str) -> Object:
    """SERVICE pointed at pods that wear VALUE under each key of its selector, with the undo note in the same write.

    The keys stay the owner's: his next apply then merges to exactly his selector and never to a mixture.
    """
    was = selector_of(service)
    set_ = dict.fromkeys(was, value)
    new = _marked(service, Note(session, uid_of(service), was, set_))
    new["spec"]["selector"] = set_
    return new


def touched(service: Object, session: SessionId) -> Object:
    """SERVICE with SESSION's marks and nothing to restore: a write that only moves its version."""
    return _marked(service, Note(session, uid_of(service), {}, {}))


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
    new = copy.deepcopy(thing)
    note = note_of(thing)
    meta = new["metadata"]
    if note is None or note.session == session:
        (meta.get("annotations") or {}).pop(NOTE, None)
    if labels_of(thing).get(SESSION) == session:
        meta["labels"].pop(SESSION)
    for field in ("labels", "annotations"):
        if meta.get(field) == {}:
            del meta[field]
    return new


def given_back(thing: Object, session: SessionId) -> Object:
    """THING as its owner left it, as far as SESSION is concerned; equal to THING when there is nothing to undo."""
    bare = without_marks(thing, session)
    note = note_of(thing)
    if note is None or note.session != session or is_stale(thing, note):
        return bare
    bare["spec"]["selector"] = per_key(selector_of(thing), note.set, note.was)
    return bare
