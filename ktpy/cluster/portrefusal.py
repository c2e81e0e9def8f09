"""Why the API server did not open a port-forward, in our words."""

from __future__ import annotations

import json

from websockets.exceptions import InvalidStatus
from websockets.http11 import Response

from ktpy.errors import Forbidden, KtError, NotFound, TunnelLost, Unreachable

_LATER = {429, 502, 503, 504}


def refusal(error: Exception, where: str) -> KtError:
    """The answer to our upgrade as the error that the user is told."""
    if not isinstance(error, InvalidStatus):
        return TunnelLost(f"port-forward to {where}: what answers does not speak WebSocket: {error}")
    status, said = error.response.status_code, _message(error.response)
    text = f"port-forward to {where}: {said}"
    if status == 401:
        return Forbidden(f"port-forward to {where}: the API server does not accept this login ({said})")
    if status == 403:
        return Forbidden(
            f"{text} It takes the verbs get and create on pods/portforward.",
            ("kubectl auth can-i get pods/portforward", "kubectl auth can-i create pods/portforward"),
        )
    if status == 404:
        return NotFound(f"{where.partition(',')[0]} is gone: {said}")
    if status in _LATER:
        return Unreachable(text)
    if status < 400:
        return TunnelLost(
            f"port-forward to {where}: the API server, or a proxy before it, answered {status} and no WebSocket"
        )
    return TunnelLost(text)


def _message(response: Response) -> str:
    """The sentence of a Kubernetes Status, or what else the body says, or the bare number."""
    body = bytes(response.body or b"").decode("utf-8", "replace").strip()
    try:
        parsed = json.loads(body)
    except ValueError:
        return body[:300] or f"status {response.status_code}"
    said = parsed.get("message") if isinstance(parsed, dict) else None
    return str(said or f"status {response.status_code}")
