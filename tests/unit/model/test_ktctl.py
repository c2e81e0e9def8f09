"""What KT-Connect's ktctl leaves is read from its own marks."""

from __future__ import annotations

import pytest

from ktpy.model import ktctl
from ktpy.model.ref import Object
from tests.fakes import things

NOTE = '{"app": "shop", "tier": "web"}'


def held(**marks: str) -> Object:
    service = things.service(selector={"kt-role": "exchange-shadow", "kt-target": "x1"})
    service["metadata"]["annotations"] = {name.replace("_", "-"): value for name, value in marks.items()}
    return service


def shadow(beat: str = "", config: str = "service=shop", **labels: str) -> Object:
    return things.pod("shop-kt-x1", labels={"control-by": "kt", **labels},
                      annotations={ktctl.BEAT: beat, ktctl.CONFIG: config})  # fmt: skip


def test_a_service_with_its_note_or_lock_is_held() -> None:
    assert ktctl.holds(held(kt_selector=NOTE))
    assert ktctl.holds(held(kt_lock="1"))
    assert not ktctl.holds(held(other="1"))
    assert not ktctl.holds(things.service())


def test_a_readable_note_gives_the_service_back_without_marks() -> None:
    assert ktctl.restored(held(kt_selector=NOTE, kt_lock="1")) == things.service()


def test_other_annotations_stay() -> None:
    assert ktctl.restored(held(kt_selector=NOTE, mine="1"))["metadata"]["annotations"] == {"mine": "1"}


@pytest.mark.parametrize("text", ["", "nonsense", "[]", "{}", '{"a": 1}', "null"])
def test_a_note_that_cannot_be_read_stays_for_a_person_to_see(text: str) -> None:
    service = held(kt_selector=text)

    assert ktctl.selector(service) is None
    assert ktctl.restored(service) == service


def test_a_lock_alone_is_taken_off() -> None:
    assert "annotations" not in ktctl.restored(held(kt_lock="1"))["metadata"]


def test_a_thing_belongs_to_a_service_by_config_or_by_being_selected() -> None:
    service = held(kt_selector=NOTE)

    assert ktctl.belongs_to(shadow(), service)
    assert ktctl.belongs_to(
        shadow(config="app=x,replicas=1", **{"kt-role": "exchange-shadow", "kt-target": "x1"}), service
    )
    assert not ktctl.belongs_to(shadow(config="service=cart"), service)


def test_an_empty_selector_selects_nothing() -> None:
    assert not ktctl.belongs_to(shadow(config=""), things.service(selector={}))


@pytest.mark.parametrize(
    ("text", "beat"), [("1700000000", 1.7e9), ("", None), ("soon", None), ("-1", None), ("²", None)]
)
def test_a_heartbeat_is_a_number_or_none(text: str, beat: float | None) -> None:
    assert ktctl.beat_of(shadow(text)) == beat


def test_the_youngest_sign_of_life_counts() -> None:
    service = held(kt_selector=NOTE)

    assert ktctl.last_seen([shadow("100"), shadow("200"), shadow("900", config="service=cart")], service) == 200
    assert ktctl.last_seen([shadow()], service) is None


def test_a_lock_dies_sooner_than_a_heartbeat() -> None:
    seen = ktctl.last_seen([], held(kt_lock="1000"))

    assert seen == 1000 + ktctl.LOCK_SECONDS - ktctl.DEAD_SECONDS


def test_a_scaled_deployment_is_read_from_its_shadow() -> None:
    assert ktctl.scaled(shadow(config="app=shop,replicas=3")) == ktctl.Scaled("shop", 3)
    assert ktctl.scaled(shadow()) is None
    assert ktctl.scaled(shadow(config="app=shop,replicas=many")) is None
