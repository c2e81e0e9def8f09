"""Who took what of a Service and when, as Events that `kubectl describe service` shows."""

from __future__ import annotations

from datetime import UTC, datetime

from ktpy.model import names
from ktpy.model.liveness import Holder
from ktpy.model.manifests import Identity
from ktpy.model.marks import Match
from ktpy.model.ref import Object

SOURCE = "ktpy"
MOST = 1000  # characters of a message: what the newer kind of Event takes
MESHED, EXCHANGED, GIVEN_BACK, ENDED = "KtpyMeshed", "KtpyExchanged", "KtpyGivenBack", "KtpyEnded"
COMMANDS = {names.MODE_MANUAL: "mesh --mode manual", names.MODE_SCALE: "exchange --mode scale"}


def taken(who: Identity, match: Match, *, mirror: bool = False) -> tuple[str, str]:
    """Reason and message: WHO has from now on what MATCHes. MIRROR: copies of it."""
    what = f"requests with {match}" if match.conditions else "all requests"
    deed = "gets copies of" if mirror else "answers"
    return EXCHANGED if not match.conditions and not mirror else MESHED, f"{_person(who)} {deed} {what} {_by(who)}"


def joined(who: Identity, wears: str) -> tuple[str, str]:
    """WHO answers as one more pod, told from the others by what it WEARS."""
    return MESHED, f"{_person(who)} answers as one of the pods, the one with {wears} {_by(who)}"


def given_back(who: Identity) -> tuple[str, str]:
    """WHO has it no more, by his own will."""
    return GIVEN_BACK, f"{_person(who)} has given it back {_by(who)}"


def ended(holder: Holder, who: str) -> tuple[str, str]:
    """HOLDER's session was ended by WHO, since it had died or against its owner's will."""
    return ENDED, f"{holder} was ended by {who}"


def event(service: Object, happened: tuple[str, str], *, now: float, tail: str) -> Object:
    """What HAPPENED to SERVICE. NOW: the server's, in seconds since 1970; TAIL makes the name its own."""
    meta = service["metadata"]
    reason, message = happened
    time = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{meta['name']}.{tail}", "namespace": meta["namespace"]},
        "involvedObject": {
            "apiVersion": "v1",
            "kind": "Service",
            "name": meta["name"],
            "namespace": meta["namespace"],
            "uid": meta["uid"],
        },
        "type": "Normal",
        "reason": reason,
        "message": message if len(message) <= MOST else f"{message[: MOST - 1]}…",
        "source": {"component": SOURCE},
        "firstTimestamp": time,
        "lastTimestamp": time,
        "count": 1,
    }


def _person(who: Identity) -> str:
    return f"{who.owner} on {who.host}"


def _by(who: Identity) -> str:
    return f"(ktpy {COMMANDS.get(who.mode, who.mode)})"
