"""A Service given back: value by value, its version moved, our entry gone, and nobody else's touched."""

from __future__ import annotations

import pytest

from ktpy import restore
from ktpy.model import names
from ktpy.model.diversion import diverted, holder_of, selector_of
from ktpy.model.names import SessionId
from ktpy.model.ref import Object, annotations_of, labels_of
from tests.fakes import things
from tests.fakes.api import FakeApi
from tests.fakes.run import Person, essence, person

ANA, BOB = SessionId("ana-1"), SessionId("bob-2")


@pytest.fixture
def ana(api: FakeApi) -> Person:
    api.put(things.service())
    return person(api)


def service(api: FakeApi) -> Object:
    found = api.read("Service", "shop")
    assert found is not None
    return found


def take(user: Person, session: SessionId = ANA) -> Object:
    ref = user.cluster.ref("Service", "shop")
    found = user.cluster.change(ref, lambda now: diverted(now, session, names.selector_value(session)))
    assert found is not None
    return found


def give(user: Person, session: SessionId = ANA, *, late_writes: bool = True) -> bool:
    ref = user.cluster.ref("Service", "shop")
    return restore.give(user.cluster, service(user.wire.api), session, ref, late_writes=late_writes)


def test_what_was_held_is_given_back_without_a_trace(api: FakeApi, ana: Person) -> None:
    before = essence(api)
    take(ana)

    assert give(ana)
    assert essence(api) == before


@pytest.mark.parametrize(("late_writes", "writes"), [(True, 3), (False, 0)])
def test_the_version_moves_only_where_a_write_may_be_late(
    api: FakeApi, ana: Person, late_writes: bool, writes: int
) -> None:
    before = essence(api)

    assert not give(ana, late_writes=late_writes)

    assert ana.wire.changes() == ["patch Service shop"] * writes
    assert essence(api) == before


def test_what_another_holds_is_not_written(api: FakeApi, ana: Person) -> None:
    held = take(ana, BOB)

    assert not give(ana)
    assert service(api) == held


def test_what_is_gone_needs_nothing(ana: Person) -> None:
    ref = ana.cluster.ref("Service", "gone")

    assert restore.put_back(ana.cluster, ref, ANA) is None
    restore.touch(ana.cluster, ref, ANA)
    restore.forget_us(ana.cluster, None)

    assert ana.wire.changes() == []


def test_putting_back_twice_or_too_late_changes_nothing(api: FakeApi, ana: Person) -> None:
    take(ana)
    ref = ana.cluster.ref("Service", "shop")
    once = restore.put_back(ana.cluster, ref, ANA)
    take(ana, BOB)

    restore.put_back(ana.cluster, ref, ANA, start=once)

    assert holder_of(service(api)) == BOB


def test_a_touch_wears_our_marks_and_restores_nothing(api: FakeApi, ana: Person) -> None:
    ref = ana.cluster.ref("Service", "shop")

    restore.touch(ana.cluster, ref, ANA)

    assert labels_of(service(api))[names.SESSION] == ANA
    assert holder_of(service(api)) is None
    assert selector_of(service(api)) == things.SELECTOR
    version = service(api)["metadata"]["resourceVersion"]
    restore.touch(ana.cluster, ref, BOB)
    assert service(api)["metadata"]["resourceVersion"] == version  # it wears a label already: its version has moved
    restore.put_back(ana.cluster, ref, ANA)
    assert names.NOTE not in annotations_of(service(api))


def test_our_entry_stays_while_another_session_holds_it(api: FakeApi, ana: Person) -> None:
    held = take(ana, BOB)

    restore.forget_us(ana.cluster, held)
    assert names.MANAGER in str(service(api)["metadata"]["managedFields"])

    restore.forget_us(ana.cluster, restore.put_back(ana.cluster, ana.cluster.ref("Service", "shop"), BOB))
    assert names.MANAGER not in str(service(api)["metadata"]["managedFields"])
