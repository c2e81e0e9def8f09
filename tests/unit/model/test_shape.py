"""A pod's looks have modest defaults."""

from __future__ import annotations

from ktpy.model.shape import PodShape


def test_a_shadow_is_small_and_limited_by_default() -> None:
    shape = PodShape(image="x")

    assert shape.requests == {"cpu": "20m", "memory": "32Mi"}
    assert shape.limits.keys() == shape.requests.keys()
    assert shape.labels == {}
