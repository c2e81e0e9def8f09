"""The API server's refusals, each as the error that its reader can act on."""

from __future__ import annotations

import pytest

from ktpy.cluster.failures import message_of, raise_for
from ktpy.cluster.http import Answer
from ktpy.errors import Conflict, Forbidden, KtError, NotFound, Unreachable


def answer(status: int, message: str = "the server's words") -> Answer:
    return Answer(status, {"kind": "Status", "message": message}, 0.0)


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, KtError), (401, Forbidden), (403, Forbidden), (404, NotFound), (409, Conflict), (422, KtError),
     (429, Unreachable), (500, Unreachable), (502, Unreachable), (503, Unreachable), (504, Unreachable)],
)  # fmt: skip
def test_a_status_is_an_error_with_the_deed_and_the_servers_words(status: int, kind: type[KtError]) -> None:
    with pytest.raises(kind, match=r"pod/x cannot be created.*the server's words") as refused:
        raise_for(answer(status), "pod/x cannot be created")

    assert type(refused.value) is kind


@pytest.mark.parametrize("status", [200, 201, 202])
def test_a_success_is_none(status: int) -> None:
    raise_for(answer(status), "x")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"message": "", "reason": "Forbidden"}, "Forbidden"),
        ({}, "status 403"),
        (None, "status 403"),
        ("<html>proxy</html>", "<html>proxy</html>"),
        ("x" * 999, "x" * 300),
    ],
)
def test_an_answer_without_a_message_says_what_it_can(body: object, said: str) -> None:
    assert message_of(Answer(403, body, None)) == said


@pytest.mark.parametrize(
    ("message", "hint"),
    [
        ("violates PodSecurity restricted", "Pod Security"),
        ("exceeded quota: team", "kubectl describe quota"),
        ("cannot create resource", "ktpy doctor"),
    ],
)
def test_a_refusal_names_what_helps(message: str, hint: str) -> None:
    with pytest.raises(Forbidden) as refused:
        raise_for(answer(403, message), "x")

    assert hint in " ".join(refused.value.try_)
