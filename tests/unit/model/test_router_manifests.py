"""The objects of a router: whose they are, what they may, and how they find each other."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from ktpy.model import names, router_manifests, routes
from ktpy.model.manifests import Identity
from ktpy.model.names import SessionId
from ktpy.model.ports import PodPort
from ktpy.model.ref import Object, annotations_of, labels_of
from ktpy.model.router_manifests import RouterShape
from ktpy.model.routes import Routes
from ktpy.model.shape import PodShape
from tests.fakes import things

ROUTER = SessionId("router-0000abcd")
IDENTITY = Identity(ROUTER, "ana", "mbp-7", "router", "service/shop")
LEASE = router_manifests.lease(IDENTITY, "team", "2027-01-01T00:00:00Z", opener=SessionId("ana-1"), ktpy="0.1.0")
OWNER = {**LEASE, "metadata": {**LEASE["metadata"], "uid": "u-1"}}
SERVICE = {**things.service(ports=[things.port(80, 8080, name="http", nodePort=30080), things.port(90)])}
SERVICE["spec"] |= {
    "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"], "type": "LoadBalancer", "externalName": "x",
    "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack", "sessionAffinity": "ClientIP",
    "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 5}}, "publishNotReadyAddresses": True,
    "externalTrafficPolicy": "Local", "loadBalancerIP": "1.2.3.4",
}  # fmt: skip
STUNT = router_manifests.stuntman(SERVICE, things.SELECTOR, ROUTER, OWNER)
TABLE = Routes(ROUTER, "0.1.0", routes.spare_ports((8080,)), routes.first_table({8080: "10.0.0.2:80"}))
WEARS = {"app": "kt-1", "tier": "kt-1"}


def deployed(shape: RouterShape | None = None) -> Object:
    shape = shape or RouterShape(PodShape(image="router:1"))
    opened = [PodPort(8080, "web"), PodPort(90)]
    return router_manifests.deployment("shop", TABLE, OWNER, shape=shape, opened=opened, wears=WEARS)


def test_its_lease_says_who_set_it_up_for_which_service() -> None:
    assert labels_of(LEASE) == {names.ROLE: names.ROLE_ROUTER, names.SESSION: ROUTER}
    assert annotations_of(LEASE)[names.OPENER] == "ana-1"
    assert annotations_of(LEASE)[names.TARGET] == "service/shop"
    assert annotations_of(LEASE)[names.VERSION] == "0.1.0"
    assert LEASE["metadata"]["name"] == names.lease_name(ROUTER)


@pytest.mark.parametrize(("thing", "role"), [
    (STUNT, names.ROLE_STUNTMAN),
    (router_manifests.config_map("shop", TABLE, OWNER), names.ROLE_TABLE),
    (deployed(), names.ROLE_ROUTER),
])  # fmt: skip
def test_every_part_is_the_leases_and_blocks_nothing(thing: Object, role: str) -> None:
    (owner,) = thing["metadata"]["ownerReferences"]

    assert labels_of(thing) == {names.ROLE: role, names.SESSION: ROUTER}
    assert (owner["kind"], owner["name"], owner["uid"]) == ("Lease", LEASE["metadata"]["name"], "u-1")
    assert not owner.get("controller")
    assert not owner.get("blockOwnerDeletion")
    assert thing["metadata"]["namespace"] == "team"


def test_the_stuntman_is_the_service_within_the_cluster_only() -> None:
    assert STUNT["spec"] == {
        "type": "ClusterIP",
        "selector": things.SELECTOR,
        "ports": [{"port": 80, "protocol": "TCP", "targetPort": 8080, "name": "http"}, things.port(90)],
        "ipFamilies": ["IPv4"],
        "ipFamilyPolicy": "SingleStack",
        "sessionAffinity": "ClientIP",
        "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 5}},
        "publishNotReadyAddresses": True,
    }
    assert STUNT["metadata"]["name"] == "shop-kt-stuntman-0000abcd"
    assert "nodePort" in SERVICE["spec"]["ports"][0], "the Service itself is not changed"


@pytest.mark.parametrize(("address", "host"), [("10.0.0.2", "10.0.0.2"), ("fd00::2", "[fd00::2]")])
def test_what_no_row_takes_goes_to_the_stuntmans_address(address: str, host: str) -> None:
    made = {**STUNT, "spec": {**STUNT["spec"], "clusterIP": address}}

    assert router_manifests.defaults(made, {80: 8080, 81: 8080, 90: 90}) == {8080: f"{host}:80", 90: f"{host}:90"}


def test_the_config_map_holds_the_table() -> None:
    made = router_manifests.config_map("shop", TABLE, OWNER)

    assert made["metadata"]["name"] == names.router_name("shop")
    assert routes.read(made) == TABLE


def test_its_pods_wear_the_diverted_selector_and_its_own_selector_names_ours_only() -> None:
    spec = deployed()["spec"]

    assert spec["selector"]["matchLabels"] == {names.ROLE: names.ROLE_ROUTER, names.SESSION: ROUTER}
    assert labels_of(spec["template"]).items() >= {**WEARS, **spec["selector"]["matchLabels"]}.items()
    assert spec["replicas"] == 2
    assert spec["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}


def test_labels_of_the_policy_never_win_over_those_that_the_service_selects() -> None:
    shape = RouterShape(PodShape(image="router:1", labels={"app": "mine", "team": "x"}))

    assert labels_of(deployed(shape)["spec"]["template"]).items() >= {"app": "kt-1", "team": "x"}.items()


def test_its_pods_pass_pod_security_restricted_and_stay_longer_than_they_drain() -> None:
    spec = deployed(replace(RouterShape(PodShape(image="router:1")), drain=30.0))["spec"]["template"]["spec"]
    (container,) = spec["containers"]

    assert spec["terminationGracePeriodSeconds"] > 30
    assert "--drain-seconds=30" in container["args"]
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["securityContext"]["capabilities"]["drop"] == ["ALL"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["automountServiceAccountToken"] is False


def test_the_container_listens_where_the_table_says() -> None:
    (container,) = deployed()["spec"]["template"]["spec"]["containers"]

    assert container["ports"] == [
        {"containerPort": 8080, "protocol": "TCP", "name": "web"}, {"containerPort": 90, "protocol": "TCP"},
    ]  # fmt: skip
    assert container["readinessProbe"]["httpGet"]["port"] == TABLE.ports.health
    assert f"--control-port={TABLE.ports.control}" in container["args"]
    assert f"--table=/etc/ktpy-router/{routes.TABLE_KEY}" in container["args"]
    assert {mount["mountPath"] for mount in container["volumeMounts"]} == {"/etc/ktpy-router", "/run/ktpy-router"}


def test_every_object_is_json() -> None:
    for thing in (LEASE, STUNT, deployed(), router_manifests.config_map("shop", TABLE, OWNER)):
        assert json.loads(json.dumps(thing)) == thing


def test_what_a_worker_needs_is_asked_for() -> None:
    assert RouterShape.pod_default().requests
    assert RouterShape.pod_default().limits
