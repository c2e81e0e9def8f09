"""The router's own answers can be read by every client, and gRPC clients get a status that they know."""

from __future__ import annotations

from hpack import Decoder

from ktpy_router.h2 import frames, hpack
from ktpy_router.h2.answer import answer, fallback_field, is_final, is_grpc, is_head, is_idempotent, mark_value


def fields(payload: bytes) -> dict[str, str]:
    return {str(name): str(value) for name, value in Decoder().decode(payload)}


def test_a_sentence_and_its_length() -> None:
    (_, flags, _, head), (_, ends, _, text) = frames.read(answer(3, 502, "why", "It is so.", grpc=False, body=True))

    assert not flags & frames.END_STREAM
    assert ends & frames.END_STREAM
    assert text == b"It is so.\n"
    assert fields(head) == {
        ":status": "502",
        "content-type": "text/plain; charset=utf-8",
        "ktpy-router": "why",
        "content-length": "10",
    }


def test_without_a_body_the_head_says_it() -> None:
    ((_, flags, _, head),) = frames.read(answer(3, 503, "why", "It is so.", grpc=False, body=False))

    assert flags & frames.END_STREAM
    assert fields(head)["ktpy-router"] == "why"


def test_grpc_messages_are_percent_encoded() -> None:
    ((_, flags, _, head),) = frames.read(answer(3, 503, "why", "Für 100 %.\r\n", grpc=True, body=True))

    found = fields(head)
    assert flags & frames.END_STREAM
    assert (found[":status"], found["grpc-status"]) == ("200", "14")
    assert found["grpc-message"] == "F%C3%BCr 100 %25.%0D%0A"


def test_marks_that_no_header_may_hold_are_percent_encoded() -> None:
    assert mark_value("ana-1") == b"ana-1"
    assert mark_value("ä%\n") == b"%C3%A4%25%0A"
    assert hpack.fields(fallback_field("ana")) == [(b"ktpy-fallback", b"ana")]


def test_what_a_request_is() -> None:
    def block(method: bytes, kind: bytes) -> bytes:
        return hpack.block([(b":method", method), (b"content-type", kind)])

    assert is_grpc(block(b"POST", b"application/grpc+proto"))
    assert not is_grpc(block(b"POST", b"application/json"))
    assert is_idempotent(block(b"PUT", b""))
    assert not is_idempotent(block(b"POST", b""))
    assert is_head(block(b"HEAD", b""))
    assert not is_idempotent(b"\xbe"), "what cannot be read is not known to be safe"


def test_what_an_answer_is() -> None:
    assert is_final(hpack.block([(b":status", b"200")]))
    assert not is_final(hpack.block([(b":status", b"103")]))
    assert not is_final(hpack.block([(b"grpc-status", b"0")]))
