"""Events say who took what when, in a form that the API server takes and `kubectl describe` shows."""

from __future__ import annotations

import dataclasses

import pytest

from ktpy.model import happened, names
from ktpy.model.liveness import lost_holder
from ktpy.model.manifests import Identity
from ktpy.model.marks import EVERYTHING, match
from ktpy.model.names import SessionId
from tests.fakes import things

ANA = Identity(SessionId("ana-1"), "ana", "ana-laptop", "mesh", "service/shop")
MARKED = match("version:ana", [], str)
SERVICE = things.stored(things.service(), uid="uid-9")
SAID = ("KtpyMeshed", "ana has it")


def test_marked_requests_are_meshed_and_all_of_them_exchanged() -> None:
    assert happened.taken(ANA, MARKED) == (
        "KtpyMeshed", "ana on ana-laptop answers requests with version: ana (ktpy mesh)",
    )  # fmt: skip
    assert happened.taken(dataclasses.replace(ANA, mode="exchange"), EVERYTHING) == (
        "KtpyExchanged", "ana on ana-laptop answers all requests (ktpy exchange)",
    )  # fmt: skip


def test_copies_are_no_exchange() -> None:
    assert happened.taken(ANA, EVERYTHING, mirror=True) == (
        "KtpyMeshed", "ana on ana-laptop gets copies of all requests (ktpy mesh)",
    )  # fmt: skip


def test_the_command_is_told_as_it_is_typed() -> None:
    manual = dataclasses.replace(ANA, mode=names.MODE_MANUAL)

    assert happened.joined(manual, "version=ana") == (
        "KtpyMeshed",
        "ana on ana-laptop answers as one of the pods, the one with version=ana (ktpy mesh --mode manual)",
    )


def test_the_end_is_told_with_who_did_it() -> None:
    assert happened.given_back(ANA) == ("KtpyGivenBack", "ana on ana-laptop has given it back (ktpy mesh)")
    reason, message = happened.ended(lost_holder(SessionId("ana-1")), "bob on pc (ktpy clean)")
    assert reason == "KtpyEnded"
    assert message.startswith("session ana-1 (")
    assert message.endswith(" was ended by bob on pc (ktpy clean)")


def test_an_event_names_the_very_service() -> None:
    event = happened.event(SERVICE, SAID, now=0.0, tail="0a1b")

    assert event["involvedObject"] == {
        "apiVersion": "v1", "kind": "Service", "name": "shop", "namespace": "team", "uid": "uid-9",
    }  # fmt: skip
    assert event["metadata"] == {"name": "shop.0a1b", "namespace": "team"}
    assert (event["type"], event["reason"], event["message"]) == ("Normal", *SAID)
    assert (event["source"], event["count"]) == ({"component": "ktpy"}, 1)
    assert event["firstTimestamp"] == event["lastTimestamp"] == "1970-01-01T00:00:00Z"


@pytest.mark.parametrize("length", [1000, 1001, 5000])
def test_a_long_mark_does_not_make_the_event_too_long(length: int) -> None:
    message = happened.event(SERVICE, ("X", "m" * length), now=0.0, tail="a")["message"]

    assert len(message) == 1000
    assert len(message.encode()) <= 1024
