"""What happens in a run, as values: the cli turns them into words or into one JSON object per line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Step:
    """A step of the set-up begins (SECONDS is None), or has ended after SECONDS."""

    name: str
    detail: str = ""
    seconds: float | None = None


@dataclass(frozen=True)
class Waiting:
    """A step takes long; DETAIL names the object it waits for."""

    step: str
    detail: str


@dataclass(frozen=True)
class Ready:
    """The mode is in force. The same four facts for every mode: what is taken, who is affected, try, stop.

    WHAT is answered by this laptop; the target where it is all of it. LINK: how others get there without a mark.
    """

    mode: str
    session: str
    namespace: str
    target: str
    taken: tuple[str, ...]
    affected: str
    try_: str
    stop: str
    others: tuple[str, ...] = ()
    seconds: float = 0.0
    what: str = ""
    link: str = ""


@dataclass(frozen=True)
class Note:
    """Something the user should know while the run goes on."""

    text: str


@dataclass(frozen=True)
class Rules:
    """LINES to copy: rules that the user's own service mesh may be given."""

    lines: tuple[str, ...]


@dataclass(frozen=True)
class Tunnel:
    """The tunnel's state changed: up, healing, gave up."""

    state: str
    why: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class FirstRequest:
    """The first request of the cluster reached the laptop, SECONDS after ready; MARKED: only marked ones do.

    The rest is known for HTTP/1 alone: METHOD, PATH with the names of its query, STATUS, and the MILLISECONDS until the
    answer began. What has no answer yet has no STATUS.
    """

    seconds: float
    marked: bool = False
    method: str = ""
    path: str = ""
    status: int | None = None
    milliseconds: int | None = None


@dataclass(frozen=True)
class FellBack:
    """COUNT more requests of this session were answered by the cluster, as the laptop did not; TOTAL of them by now."""

    count: int
    total: int
    marked: bool = False


@dataclass(frozen=True)
class Ended:
    """The run is over. LEFT: what could not be given back."""

    reason: str
    seconds: float
    connections: int = 0
    left: tuple[str, ...] = field(default=())


@dataclass(frozen=True)
class Failed:
    """The run ends with this error; CODE is its exit code."""

    what: str
    try_: tuple[str, ...]
    code: int
    log: str = ""


Event = Step | Waiting | Ready | Note | Rules | Tunnel | FirstRequest | FellBack | Ended | Failed

_KINDS: dict[str, type[Any]] = {
    "step": Step,
    "waiting": Waiting,
    "ready": Ready,
    "note": Note,
    "rules": Rules,
    "tunnel": Tunnel,
    "first-request": FirstRequest,
    "fell-back": FellBack,
    "ended": Ended,
    "failed": Failed,
}
_NAMES = {kind: name for name, kind in _KINDS.items()}


def to_json(event: Event) -> dict[str, Any]:
    """The event as one JSON object; the field `event` names its kind."""
    return {"event": _NAMES[type(event)], **{key.rstrip("_"): value for key, value in asdict(event).items()}}


def from_json(raw: Mapping[str, Any]) -> Event:
    """The event that `to_json` wrote. Raises KeyError or TypeError for anything else."""
    kind = _KINDS[raw["event"]]
    fields = {f"{key}_" if key == "try" else key: value for key, value in raw.items() if key != "event"}
    event: Event = kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in fields.items()})
    return event
