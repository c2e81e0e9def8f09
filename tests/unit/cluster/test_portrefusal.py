import json

import pytest
from websockets.datastructures import Headers
from websockets.exceptions import InvalidStatus, NegotiationError
from websockets.http11 import Response

from ktpy.cluster.portrefusal import refusal
from ktpy.errors import Forbidden, KtError, NotFound, TunnelLost, Unreachable

WHERE = "pod/shadow in dev, port 2222"


def refused(status: int, body: bytes = b"") -> KtError:
    return refusal(InvalidStatus(Response(status, "", Headers(), body)), WHERE)


def status_object(message: str) -> bytes:
    return json.dumps({"kind": "Status", "message": message}).encode()


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, Forbidden),
        (403, Forbidden),
        (404, NotFound),
        (503, Unreachable),
        (429, Unreachable),
        (400, TunnelLost),
        (500, TunnelLost),
        (200, TunnelLost),
        (302, TunnelLost),
    ],
)
def test_each_status_is_an_error_that_names_the_pod(status: int, kind: type[KtError]) -> None:
    error = refused(status, status_object("because"))
    assert type(error) is kind
    assert "pod/shadow in dev" in error.what


def test_missing_rights_are_named_with_both_verbs() -> None:
    error = refused(403, status_object('pods "shadow" is forbidden: User "ana" cannot …'))
    assert 'User "ana"' in error.what
    assert "get and create on pods/portforward" in error.what
    assert "kubectl auth can-i create pods/portforward" in error.try_


def test_a_pod_that_is_gone() -> None:
    assert refused(404, status_object('pods "shadow" not found')).what == (
        'pod/shadow in dev is gone: pods "shadow" not found'
    )


@pytest.mark.parametrize(
    ("body", "said"), [(b"plain words\n", "plain words"), (b"", "status 500"), (b"[]", "status 500")]
)
def test_any_body_will_do(body: bytes, said: str) -> None:
    assert refused(500, body).what.endswith(said)


def test_something_that_speaks_no_websocket() -> None:
    assert "does not speak WebSocket" in refusal(NegotiationError("no subprotocols"), WHERE).what
