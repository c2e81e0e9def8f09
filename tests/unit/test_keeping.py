"""Which pods count as new to a table; what the worker does with that is in tests/unit/modes/test_mesh_kept.py."""

from __future__ import annotations

from ktpy.keeping import key
from ktpy.model.ref import Object
from tests.fakes import things


def pod(uid: str, *restarts: int) -> Object:
    made = things.stored(things.pod("shop-kt-router-1"), uid=uid)
    return {**made, "status": {"containerStatuses": [{"restartCount": count} for count in restarts]}}


def test_a_container_that_starts_anew_is_another_one() -> None:
    assert key(pod("a", 0)) == key(pod("a", 0))
    assert key(pod("a", 0)) != key(pod("a", 1))
    assert key(pod("a", 0)) != key(pod("b", 0))


def test_a_pod_without_a_status_has_not_started_anew() -> None:
    assert key(things.stored(things.pod("shop-kt-router-1"), uid="a")) == ("a", 0)
