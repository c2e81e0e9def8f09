"""What a dead ktctl left is given back from its own note, as far as this user may."""

from __future__ import annotations

import pytest

from ktpy.model import names
from ktpy.model.diversion import selector_of
from ktpy.upkeep import ktctl_left
from tests.fakes import things
from tests.fakes.api import FakeApi
from tests.fakes.left import ktctl_on
from tests.fakes.run import person


def test_the_selector_comes_back_and_ktctls_pods_go(api: FakeApi) -> None:
    service = ktctl_on(api, beat=api.time - 600)

    report = ktctl_left.give_back(person(api).cluster, service)

    after = api.read("Service", "shop") or {}
    assert selector_of(after) == things.SELECTOR
    assert names.MANAGER not in str(after["metadata"]["managedFields"])
    assert api.names("Pod") == []
    assert report.did == (
        "service/shop given back from ktctl's note",
        "pod/shop-kt-x1 deleted",
        "its ConfigMap stays, if it has one: kubectl delete configmap shop-kt-x1",
    )
    assert report.left == ()


def test_a_note_that_cannot_be_read_is_said(api: FakeApi) -> None:
    ktctl_on(api, beat=api.time - 600)
    service = api.edit("Service", "shop", lambda now: now["metadata"].update(annotations={"kt-selector": "?"}))

    report = ktctl_left.give_back(person(api).cluster, service)

    assert "cannot be read" in report.left[0]


def test_what_this_user_may_not_delete_is_said_with_the_command(api: FakeApi) -> None:
    service = ktctl_on(api, beat=api.time - 600)
    for name in ("shop-kt-stuntman", "other-kt-stuntman"):
        api.put(things.service(name))
        api.edit("Service", name, lambda now: now["metadata"]["labels"].update({"control-by": "kt"}))

    user = person(api)
    user.wire.rights -= {"delete services"}

    report = ktctl_left.give_back(user.cluster, service)

    assert len(report.left) == 1
    assert "kubectl delete service/shop-kt-stuntman" in report.left[0]


def test_a_service_that_cannot_be_patched_keeps_its_pods(api: FakeApi) -> None:
    service = ktctl_on(api, beat=api.time - 600)
    user = person(api)
    user.wire.rights -= {"patch services"}

    report = ktctl_left.give_back(user.cluster, service)

    assert report.left
    assert api.names("Pod") == ["shop-kt-x1"]


@pytest.mark.parametrize(("beat", "age"), [(60, 60.0), (-5, 0.0)])
def test_an_age_goes_by_the_clusters_clock(api: FakeApi, beat: float, age: float) -> None:
    service = ktctl_on(api, beat=api.time - beat)

    assert ktctl_left.age(person(api).cluster, service) == age


def test_no_sign_of_life_is_infinitely_old(api: FakeApi) -> None:
    service = ktctl_on(api, beat=api.time)
    api.remove("Pod", "shop-kt-x1")

    assert ktctl_left.age(person(api).cluster, service) == float("inf")


def test_a_deployment_left_at_zero_is_told_with_the_line_that_brings_it_back(api: FakeApi) -> None:
    ktctl_on(api, beat=api.time - 600, config="app=shop,replicas=3")
    ktctl_on(api, beat=api.time - 10, service="cart", config="app=cart,replicas=2")

    assert ktctl_left.scaled_to_zero(person(api).cluster) == [
        "kubectl scale deployment/shop --replicas=3 && kubectl delete pod/shop-kt-x1"
    ]
