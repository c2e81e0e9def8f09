"""What of the gateway no server can show: its words, and its patience. The verbs themselves are in tests/cluster."""

from __future__ import annotations

import pytest

from ktpy.cluster.http import Answer
from ktpy.errors import Forbidden, NotFound, Unreachable
from ktpy.model.ref import Object
from tests.fakes import things
from tests.fakes.api import FakeApi
from tests.fakes.run import person


def test_a_list_that_is_refused_says_where(api: FakeApi) -> None:
    user = person(api)
    user.wire.rights = set()

    with pytest.raises(Forbidden, match="Cannot list services in namespace team"):
        user.cluster.find("Service")
    with pytest.raises(Forbidden, match="Cannot list services in all namespaces"):
        user.cluster.find_at("Service", everywhere=True)


def test_the_clock_is_asked_once_and_then_read_from_every_answer(api: FakeApi) -> None:
    user = person(api)

    assert user.cluster.now() == api.time
    api.time += 5
    user.cluster.find("Service")
    assert user.cluster.now() == api.time
    assert user.wire.calls == ["get version", "list Service"]


def test_an_answer_without_a_date_leaves_the_clock(api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    user = person(api)
    user.cluster.now()
    monkeypatch.setattr(user.wire, "call", lambda *a, **k: Answer(404, {}, None))

    assert user.cluster.get(user.cluster.ref("Service", "x")) is None
    assert user.cluster.now() == api.time


def test_a_change_may_start_from_what_was_read_before(api: FakeApi) -> None:
    api.put(things.service())
    user = person(api)
    ref = user.cluster.ref("Service", "shop")
    start = user.cluster.get(ref)
    user.wire.calls.clear()

    user.cluster.change(ref, relabelled, start=start)
    assert user.wire.calls == ["patch Service shop"]

    user.wire.calls.clear()
    user.cluster.change(ref, lambda now: relabelled(now, "2"), start=start)
    assert user.wire.calls == ["patch Service shop", "get Service shop", "patch Service shop"]


def test_no_answer_is_not_tried_again_here(api: FakeApi) -> None:
    api.put(things.service())
    user = person(api)
    user.wire.fail_at(2, Unreachable("gone"))

    with pytest.raises(Unreachable):
        user.cluster.change(user.cluster.ref("Service", "shop"), relabelled)

    assert len(user.wire.calls) == 2


def test_what_calls_off_a_change_flies_and_nothing_is_written(api: FakeApi) -> None:
    before = api.put(things.service())
    user = person(api)

    def refuse() -> None:
        raise NotFound("the Lease is gone")

    with pytest.raises(NotFound, match="the Lease is gone"):
        user.cluster.change(user.cluster.ref("Service", "shop"), relabelled, before=refuse)

    assert api.read("Service", "shop") == before


def relabelled(now: Object, value: str = "1") -> Object:
    return {**now, "metadata": {**now["metadata"], "labels": {"app": value}}}
