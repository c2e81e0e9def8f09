"""What selectors, ports and peers of a NetworkPolicy mean."""

from __future__ import annotations

import pytest

from ktpy.model.policy_rules import Endpoint, covers, endpoint, is_peer, isolates, selects, types_of
from ktpy.model.ports import ServicePort
from ktpy.model.ref import Object
from tests.fakes import things

SPACE = {"kubernetes.io/metadata.name": "team", "env": "dev"}


def labelled(**labels: str) -> Object:
    return {"matchLabels": labels}


def pods(**labels: str) -> Object:
    return {"podSelector": labelled(**labels)}


def tcp(port: int | str, **more: int) -> Object:
    return {"protocol": "TCP", "port": port, **more}


@pytest.mark.parametrize(
    ("selector", "labels", "yes"),
    [
        (None, {}, True),
        ({}, {"a": "1"}, True),
        ({"matchLabels": None, "matchExpressions": None}, {}, True),
        ({"matchLabels": {"a": "1"}}, {"a": "1", "b": "2"}, True),
        ({"matchLabels": {"a": "1", "b": "2"}}, {"a": "1"}, False),
        ({"matchExpressions": [{"key": "a", "operator": "In", "values": ["1", "2"]}]}, {"a": "2"}, True),
        ({"matchExpressions": [{"key": "a", "operator": "In", "values": ["1", "2"]}]}, {}, False),
        ({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["1"]}]}, {"a": "1"}, False),
        ({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["1"]}]}, {}, True),
        ({"matchExpressions": [{"key": "a", "operator": "Exists"}]}, {"a": ""}, True),
        ({"matchExpressions": [{"key": "a", "operator": "Exists"}]}, {}, False),
        ({"matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]}, {"a": ""}, False),
        ({"matchLabels": {"a": "1"}, "matchExpressions": [{"key": "b", "operator": "Exists"}]}, {"a": "1"}, False),
    ],
)
def test_a_label_selector_selects(selector: Object | None, labels: dict[str, str], yes: bool) -> None:
    assert selects(selector, labels) is yes


@pytest.mark.parametrize(
    ("spec", "types"),
    [
        ({}, {"Ingress"}),
        ({"egress": []}, {"Ingress"}),  # pkg/apis/networking/v1/defaults.go: len(Egress) != 0
        ({"egress": [{}]}, {"Ingress", "Egress"}),
        ({"policyTypes": [], "egress": [{}]}, {"Ingress", "Egress"}),
        ({"policyTypes": ["Egress"]}, {"Egress"}),
        ({"policyTypes": ["Ingress"], "egress": [{}]}, {"Ingress"}),
    ],
)
def test_policy_types_are_filled_in_as_the_server_does(spec: Object, types: set[str]) -> None:
    assert types_of({"spec": spec}) == types


@pytest.mark.parametrize(
    ("rule", "yes"),
    [
        ({}, True),
        ({"ports": []}, True),
        ({"ports": [{}]}, True),
        ({"ports": [{"protocol": "TCP"}]}, True),
        ({"ports": [{"protocol": "UDP"}]}, False),
        ({"ports": [{"port": 8080}]}, True),
        ({"ports": [{"port": 8080, "protocol": "UDP"}]}, False),
        ({"ports": [tcp(8079), tcp(8080)]}, True),
        ({"ports": [tcp(8000, endPort=8080)]}, True),
        ({"ports": [tcp(8000, endPort=8079)]}, False),
        ({"ports": [tcp("web")]}, True),
        ({"ports": [tcp("other")]}, False),
        ({"ports": [tcp("unknown")]}, False),
    ],
)
def test_a_rule_covers_a_port(rule: Object, yes: bool) -> None:
    assert covers(rule, 8080, {"web": 8080, "other": 81}) is yes


@pytest.mark.parametrize(
    ("peer", "yes"),
    [
        (None, True),
        ({"podSelector": {}}, True),
        (pods(a="1"), True),
        (pods(a="2"), False),
        ({"namespaceSelector": {}}, True),
        ({"namespaceSelector": labelled(env="dev")}, True),
        ({"namespaceSelector": labelled(env="prod")}, False),
        ({"namespaceSelector": labelled(env="dev"), **pods(a="2")}, False),
        ({"namespaceSelector": labelled(env="prod"), **pods(a="1")}, False),
        ({"ipBlock": {"cidr": "0.0.0.0/0"}}, False),
    ],
)
def test_a_peer_means_a_pod_of_the_policys_namespace(peer: Object | None, yes: bool) -> None:
    assert is_peer(peer, {"a": "1"}, SPACE) is yes


def test_a_pods_doors_are_told_by_its_own_names() -> None:
    ports = [ServicePort(80, "", "web", 1), ServicePort(81, "", "none", 2), ServicePort(53, "", "53", 53, "UDP")]
    pod = things.pod("a", ports=[{"containerPort": 8080, "name": "web"}, {"containerPort": 9, "name": "x"}])
    pod["spec"]["containers"][0]["ports"].append({"containerPort": 1, "name": "none", "protocol": "UDP"})
    pod["spec"]["initContainers"] = [
        {"name": "once", "ports": [{"containerPort": 2, "name": "none"}]},
        {"name": "stays", "restartPolicy": "Always", "ports": [{"containerPort": 3, "name": "side"}]},
    ]

    assert endpoint(pod, ports) == Endpoint(things.SELECTOR, {80: 8080}, {"web": 8080, "x": 9, "side": 3})


def test_a_policy_isolates_what_it_selects_in_the_directions_that_it_names() -> None:
    shop = {"spec": {"podSelector": labelled(app="shop"), "policyTypes": ["Ingress"]}}

    assert isolates(shop, {"app": "shop", "tier": "web"}, "Ingress")
    assert not isolates(shop, {"app": "shop"}, "Egress")
    assert not isolates(shop, {"app": "cart"}, "Ingress")
