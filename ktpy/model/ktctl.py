"""What KT-Connect's ktctl leaves on a cluster: its marks, read so that a dead one's can be given back."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from dataclasses import dataclass

from ktpy.model.ref import Object, annotations_of, labels_of

CONTROL, KT = "control-by", "kt"
SELECTOR, LOCK = "kt-selector", "kt-lock"  # annotations of a target Service
CONFIG, BEAT, WHO = "kt-config", "kt-last-heart-beat", "kt-user"  # annotations of what ktctl creates
DEAD_SECONDS = 300.0  # ktctl beats every two minutes and calls five without a beat expired
LOCK_SECONDS = 180.0


def holds(service: Object) -> bool:
    """Whether ktctl diverted SERVICE, or died between its lock and its unlock."""
    return bool({SELECTOR, LOCK} & annotations_of(service).keys())


def selector(service: Object) -> dict[str, str] | None:
    """The owner's selector as ktctl noted it; None where there is none that can be read."""
    try:
        found = json.loads(annotations_of(service).get(SELECTOR, ""))
    except json.JSONDecodeError:
        return None
    if isinstance(found, dict) and found and all(isinstance(v, str) for v in found.values()):
        return {str(key): value for key, value in found.items()}
    return None


def restored(service: Object) -> Object:
    """SERVICE as it was before ktctl: its selector back where the note is readable, the marks gone."""
    new = copy.deepcopy(service)
    was = selector(service)
    marks = new["metadata"]["annotations"]
    if was is not None or SELECTOR not in marks:
        marks.pop(SELECTOR, None)
        marks.pop(LOCK, None)
    if was is not None:
        new["spec"]["selector"] = was
    if not marks:
        del new["metadata"]["annotations"]
    return new


def config_of(thing: Object) -> dict[str, str]:
    """`service=shop` or `app=shop,replicas=2`, as on shadow and router."""
    text = annotations_of(thing).get(CONFIG, "")
    return dict(part.split("=", 1) for part in text.split(",") if "=" in part)


def beat_of(thing: Object) -> float | None:
    """The last heartbeat, seconds since 1970 by the cluster's clock."""
    text = annotations_of(thing).get(BEAT, "")
    return float(text) if text.isascii() and text.isdigit() else None


def belongs_to(thing: Object, service: Object) -> bool:
    """Whether THING, ktctl's, serves SERVICE: by its config, or because the Service selects it now."""
    now = service["spec"].get("selector") or {}
    selected = bool(now) and now.items() <= labels_of(thing).items()
    return selected or config_of(thing).get("service") == service["metadata"]["name"]


def last_seen(things: Sequence[Object], service: Object) -> float | None:
    """The youngest sign of life of whatever ktctl has for SERVICE: a heartbeat, or its lock."""
    beats = [beat for thing in things if belongs_to(thing, service) and (beat := beat_of(thing)) is not None]
    lock = annotations_of(service).get(LOCK, "")
    if lock.isascii() and lock.isdigit():
        beats.append(float(lock) + LOCK_SECONDS - DEAD_SECONDS)  # a lock dies sooner than a heartbeat
    return max(beats, default=None)


@dataclass(frozen=True)
class Scaled:
    """A Deployment that a dead `ktctl exchange --mode scale` left at zero."""

    deployment: str
    replicas: int


def scaled(thing: Object) -> Scaled | None:
    """What THING, a shadow of ktctl's, noted of a Deployment."""
    found = config_of(thing)
    replicas = found.get("replicas", "")
    return Scaled(found["app"], int(replicas)) if "app" in found and replicas.isdigit() else None
