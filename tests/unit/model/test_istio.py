"""A manual mesh: which labels the laptop's pod wears, and the rules that tell it from the others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import yaml

from ktpy.errors import KtError, Taken, Usage
from ktpy.model import istio, marks, names
from ktpy.model.istio import Mark, apart, mark, rules, wears
from ktpy.model.ports import ServicePort, ports_of
from ktpy.model.ref import Object
from tests.fakes import things

ANA = Mark("version", "ana", "ana")
SERVICE = things.service()
ONE, TWO = ServicePort(80, "http", "8080", 8080), ServicePort(81, "admin", "adm", None)


def pod(name: str = "shop-1", *, owner: tuple[str, str] | None = None, **labels: str) -> Object:
    owners = [{"kind": owner[0], "name": owner[1], "controller": True}] if owner else []
    return things.pod(name, labels={**things.SELECTOR, **{k.replace("_", "-"): v for k, v in labels.items()}},
                      owners=owners)  # fmt: skip


def test_a_mark_is_a_label_of_the_same_key_and_value() -> None:
    found = mark(marks.mark("x-dev:ana", str))

    assert (found, found.label) == (Mark("x-dev", "ana", "ana"), "x-dev=ana")
    assert mark(marks.mark("0.0.1", str)).label == "version=0.0.1"


def test_a_value_that_no_label_can_have_is_hashed() -> None:
    for value in ("feature/ana", "Ana Müller", "a" * 64, "-x", "x-"):
        found = mark(marks.condition("header", "exact", "version", value))

        assert found.value == value
        assert found.worn != value
        assert istio._LABEL.fullmatch(found.worn)
    assert mark(marks.mark("feature/ana", str)).worn == names.fitted("feature/ana")


@pytest.mark.parametrize("key", ["x!dev", "_dev", "a" * 64])
def test_a_key_that_no_label_can_have_is_refused(key: str) -> None:
    with pytest.raises(Usage, match="cannot be the key of a label"):
        mark(marks.condition("header", "exact", key, "ana"))


def test_the_shadow_wears_the_selector_and_the_mark_and_nothing_else_of_the_pods() -> None:
    helm = {"helm.sh/chart": "shop-1", "app.kubernetes.io/managed-by": "Helm", "argocd.argoproj.io/instance": "shop"}
    pods = [pod(pod_template_hash="5f", owner=("ReplicaSet", "shop-5f"), **helm)]

    assert wears(SERVICE, ANA, pods) == {**things.SELECTOR, "version": "ana"}


def test_the_selector_is_the_owners_also_while_the_service_is_diverted() -> None:
    from ktpy.model.diversion import diverted

    service = diverted(things.stored(SERVICE), names.SessionId("router-1"), "kt-1")

    assert wears(service, ANA, []) == {**things.SELECTOR, "version": "ana"}


@pytest.mark.parametrize("key", ["pod-template-hash", "controller-revision-hash", "rollouts-pod-template-hash"])
def test_a_service_that_selects_by_a_controllers_label_is_refused(key: str) -> None:
    with pytest.raises(KtError, match=f"selects by {key}"):
        wears(things.service(selector={**things.SELECTOR, key: "5f"}), ANA, [])


@pytest.mark.parametrize(
    "owner", [("DaemonSet", "shop"), ("ReplicationController", "shop"), ("ReplicaSet", "shop"), ("CloneSet", "shop")]
)
def test_controllers_that_adopt_what_they_find_are_refused(owner: tuple[str, str]) -> None:
    with pytest.raises(KtError, match=f"{owner[0].lower()}/shop would take the shadow"):
        wears(SERVICE, ANA, [pod(owner=owner)])


@pytest.mark.parametrize(
    ("owner", "labels"),
    [
        (("ReplicaSet", "shop-5f"), {"pod_template_hash": "5f"}),
        (("ReplicaSet", "shop-5f"), {"rollouts_pod_template_hash": "5f"}),
        (("StatefulSet", "shop"), {}),
        (None, {}),
    ],
)
def test_controllers_that_know_their_own_are_no_danger(owner: tuple[str, str] | None, labels: dict[str, str]) -> None:
    assert wears(SERVICE, ANA, [pod(owner=owner, **labels)])


def test_another_shadow_is_nobodys_pod() -> None:
    lease = {"kind": "Lease", "name": "ktpy-bob-1"}
    labels = {**things.SELECTOR, names.ROLE: "shadow", names.SESSION: "bob-1", "version": "bob"}
    shadow = things.pod("x", labels=labels, owners=[lease])

    assert wears(SERVICE, ANA, [shadow])
    with pytest.raises(Taken, match=r"pod/x wears version=bob already \(session bob-1\)"):
        wears(SERVICE, Mark("version", "bob", "bob"), [shadow])
    shadow["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert wears(SERVICE, Mark("version", "bob", "bob"), [shadow])


def test_a_key_that_the_service_selects_by_is_refused() -> None:
    with pytest.raises(Usage, match="a pod with version=ana would get nothing") as error:
        wears(things.service(selector={"app": "shop", "version": "v1"}), ANA, [])

    assert error.value.try_ == ("--version-mark x-version:ana",)


def test_the_others_are_told_by_the_marks_own_key_where_they_have_it() -> None:
    pods = [pod("a", app_version="2", version="v1", zone="x"), pod("b", app_version="2", version="v1", zone="y")]

    assert apart(pods, {**things.SELECTOR, "version": "ana"}, ANA) == {"version": "v1"}
    assert apart(pods, {**things.SELECTOR, "x-dev": "ana"}, Mark("x-dev", "ana", "ana")) == {"app-version": "2"}


def test_others_that_have_no_label_in_common_cannot_be_told() -> None:
    worn = {**things.SELECTOR, "version": "ana"}

    assert apart([pod("a", version="v1"), pod("b", version="v2")], worn, ANA) == {}
    assert apart([pod("a", pod_template_hash="5f")], worn, ANA) == {}
    assert apart([], worn, ANA) == {}


def made(text: str) -> dict[str, Any]:
    """Each object by kind and name, from the text as it is copied."""
    istios, gateway = text.split("# Gateway API")
    found = [*yaml.safe_load_all(istios), *yaml.safe_load_all(f"# {gateway}")]
    return {f"{thing['kind']}/{thing['metadata']['name']}": thing for thing in found if thing}


def spec(thing: Mapping[str, Any]) -> Any:
    assert thing["metadata"]["namespace"] == "team"
    return thing["spec"]


def test_istio_sends_the_mark_to_one_subset_and_the_rest_to_the_other() -> None:
    found = made(rules(SERVICE, ANA, {"version": "v1"}, [ONE]))

    assert spec(found["DestinationRule/shop-kt-ana"]) == {
        "host": "shop",
        "subsets": [
            {"name": "ana", "labels": {"version": "ana"}}, {"name": "others", "labels": {"version": "v1"}},
        ],
    }  # fmt: skip
    assert spec(found["VirtualService/shop-kt-ana"]) == {
        "hosts": ["shop"],
        "http": [
            {
                "match": [{"headers": {"version": {"exact": "ana"}}}],
                "route": [{"destination": {"host": "shop", "subset": "ana"}}],
            },
            {"route": [{"destination": {"host": "shop", "subset": "others"}}]},
        ],
    }


def test_a_service_of_several_ports_has_rules_for_each() -> None:
    http = spec(made(rules(SERVICE, ANA, {"version": "v1"}, [ONE, TWO]))["VirtualService/shop-kt-ana"])["http"]

    assert [rule["match"][0]["port"] for rule in http] == [80, 80, 81, 81]
    assert [rule["route"][0]["destination"]["port"]["number"] for rule in http] == [80, 80, 81, 81]
    assert ["headers" in rule["match"][0] for rule in http] == [True, False, True, False]


def test_the_gateway_api_has_a_service_for_each_side() -> None:
    found = made(rules(SERVICE, ANA, {"version": "v1"}, [ONE, TWO]))

    ports = [
        {"port": 80, "targetPort": 8080, "name": "http"}, {"port": 81, "targetPort": "adm", "name": "admin"},
    ]  # fmt: skip
    mine = {**things.SELECTOR, "version": "ana"}
    assert spec(found["Service/shop-kt-ana"]) == {"selector": mine, "ports": ports}
    assert spec(found["Service/shop-kt-others"])["selector"] == {**things.SELECTOR, "version": "v1"}
    assert spec(found["HTTPRoute/shop-kt-ana"]) == {
        "parentRefs": [{"group": "", "kind": "Service", "name": "shop", "port": 80}],
        "rules": [
            {
                "matches": [{"headers": [{"name": "version", "value": "ana"}]}],
                "backendRefs": [{"name": "shop-kt-ana", "port": 80}],
            },
            {"backendRefs": [{"name": "shop-kt-others", "port": 80}]},
        ],
    }


def test_where_the_others_have_no_label_the_rules_say_so() -> None:
    text = rules(SERVICE, ANA, {}, [ONE])
    found = made(text)

    assert "unmarked requests still reach it too" in text
    assert spec(found["VirtualService/shop-kt-ana"])["http"][1] == {"route": [{"destination": {"host": "shop"}}]}
    assert spec(found["HTTPRoute/shop-kt-ana"])["rules"][1]["backendRefs"] == [{"name": "shop", "port": 80}]
    assert "Service/shop-kt-others" not in found


@pytest.mark.parametrize("value", ["yes", "1", "null", 'a"b', "Ana Müller: x", "#x", "feature/ana", "0.0.1", "{x}"])
def test_whatever_a_mark_is_called_the_rules_are_yaml_with_just_that_value(value: str) -> None:
    odd = mark(marks.condition("header", "exact", "version", value))
    found = made(rules(SERVICE, odd, {"version": "yes"}, ports_of(SERVICE, [])))
    virtual, route, destination = (
        next(spec(thing) for key, thing in found.items() if key.startswith(kind))
        for kind in ("VirtualService", "HTTPRoute", "DestinationRule")
    )

    assert virtual["http"][0]["match"][0]["headers"]["version"]["exact"] == value
    assert route["rules"][0]["matches"][0]["headers"][0]["value"] == value
    assert [subset["labels"]["version"] for subset in destination["subsets"]] == [odd.worn, "yes"]


def test_names_stay_within_what_kubernetes_takes() -> None:
    service = {**SERVICE, "metadata": {**SERVICE["metadata"], "name": "s" * 63}}
    found = made(rules(service, Mark("version", "a" * 63, "a" * 63), {"version": "v1"}, [ONE]))

    assert max(len(key.partition("/")[2]) for key in found) <= 63
    assert len(found) == 5
