"""What a user means by TARGET, and what he is told where it is not there."""

from __future__ import annotations

import pytest

from ktpy.errors import KtError, NotFound, Usage
from ktpy.model import target
from ktpy.model.diversion import diverted
from ktpy.model.names import SessionId
from ktpy.model.target import Target
from tests.fakes import things


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("shop", Target("Service", "shop")),
        ("svc/shop", Target("Service", "shop")),
        ("Service/shop", Target("Service", "shop")),
        ("deploy/shop", Target("Deployment", "shop")),
        ("deployments/shop", Target("Deployment", "shop")),
        ("sts/shop", Target("StatefulSet", "shop")),
    ],
)
def test_a_target_is_read(text: str, meant: Target) -> None:
    assert target.target(text) == meant


@pytest.mark.parametrize("text", ["", "/", "svc/", "a/b/c", "pod/x", "po/x", "job/x"])
def test_what_is_no_target_is_refused(text: str) -> None:
    with pytest.raises(Usage):
        target.target(text)


def test_a_target_says_itself_as_it_is_typed() -> None:
    assert str(Target("StatefulSet", "db")) == "statefulset/db"


def test_the_owners_selector_is_known_while_the_service_is_diverted() -> None:
    service = things.stored(things.service())

    assert target.original_selector(diverted(service, SessionId("ana-1"), "kt-1")) == things.SELECTOR
    assert target.original_selector(service) == things.SELECTOR


def test_a_workload_is_found_behind_its_one_service_also_while_that_is_diverted() -> None:
    shop = diverted(things.stored(things.service()), SessionId("ana-1"), "kt-1")
    others = [things.service("cart", selector={"app": "cart"}), things.service("bare", selector={})]

    assert target.in_front_of(things.deployment(), [*others, shop]) is shop


def test_a_workload_behind_no_service_or_several_is_refused() -> None:
    with pytest.raises(NotFound, match="No Service in namespace team"):
        target.in_front_of(things.deployment(), [things.service(selector={"app": "cart"})])
    with pytest.raises(KtError, match="several Services: a, b") as refused:
        target.in_front_of(things.deployment(), [things.service("b"), things.service("a")])
    assert refused.value.try_ == ("ktpy exchange service/a", "ktpy exchange service/b")


def test_a_wrong_name_meets_the_nearest_ones_here_and_the_same_one_elsewhere() -> None:
    error = target.not_found(Target("Service", "shop"), "team", ["shops", "cart"], [("other", "shop"), ("team", "x")])

    assert error.what == "There is no service/shop in namespace team."
    assert error.try_ == ("ktpy exchange shop -n other", "ktpy exchange shops      did you mean this?")


def test_a_wrong_name_meets_near_ones_elsewhere_or_what_there_is() -> None:
    wanted = Target("Service", "shop")

    assert "shops -n other" in target.not_found(wanted, "team", [], [("other", "shops")]).try_[0]
    assert target.not_found(wanted, "team", ["zzz"], []).try_ == ("namespace team has: zzz",)
    assert target.not_found(wanted, "team", [], []).try_ == ()


@pytest.mark.parametrize(
    ("service", "reason"),
    [
        (things.service(type="ExternalName", externalName="x.example"), "ExternalName"),
        (things.service(clusterIP="None"), "headless"),
        (things.service(selector={}), "no selector"),
    ],
)
def test_what_a_selector_cannot_divert_is_refused(service, reason: str) -> None:
    with pytest.raises(KtError, match=reason):
        target.must_be_divertible(service)


def test_an_ordinary_service_can_be_diverted() -> None:
    target.must_be_divertible(things.service())
