"""The API server's refusals in our words; the only place that reads its Status objects."""

from __future__ import annotations

from ktpy.cluster.http import Answer
from ktpy.errors import Conflict, Forbidden, KtError, NotFound, Unreachable

_LATER = {429, 500, 502, 503, 504}


def message_of(answer: Answer) -> str:
    """The server's own sentence; it is empty now and then."""
    if isinstance(answer.body, dict):
        return str(answer.body.get("message") or answer.body.get("reason") or f"status {answer.status}")
    return str(answer.body or f"status {answer.status}")[:300]


def raise_for(answer: Answer, deed: str) -> None:
    """Nothing for a 2xx; else the matching KtError, saying which DEED was refused."""
    if answer.status < 300:
        return
    said = message_of(answer)
    text = f"{deed}: {said}"
    if answer.status == 401:
        raise Forbidden(f"{deed}: the API server does not accept this login ({said}).", "kubectl auth whoami")
    if answer.status == 403:
        raise Forbidden(text, _mend(said))
    if answer.status == 404:
        raise NotFound(text)
    if answer.status == 409:
        raise Conflict(text)
    if answer.status in _LATER:
        raise Unreachable(text)
    raise KtError(text)


def _mend(said: str) -> tuple[str, ...]:
    if "PodSecurity" in said:
        return ("ktpy doctor", "the shadow passes Pod Security *restricted*: a custom --image or --label may not")
    if "exceeded quota" in said:
        return ("kubectl describe quota", "ktpy … --requests cpu=10m,memory=16Mi --limits cpu=200m,memory=64Mi")
    return ("ktpy doctor",)
