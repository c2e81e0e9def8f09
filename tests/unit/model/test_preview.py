"""What a preview publishes, what of that is its own for sure, and what is somebody else's by now."""

from __future__ import annotations

from typing import Any

import pytest

from ktpy.errors import Usage
from ktpy.model import names, preview
from ktpy.model.diversion import diverted, given_back
from ktpy.model.manifests import Identity, lease, owned_by
from ktpy.model.names import SessionId
from ktpy.model.preview import Wanted
from ktpy.model.ref import Object, labels_of

ANA, BOB = SessionId("ana-1"), SessionId("bob-2")
WROTE = {"managedFields": [{"manager": names.MANAGER, "operation": "Update"}]}


def lease_of(session: SessionId = ANA, uid: str = "lease-uid") -> Object:
    made = lease(Identity(session, "ana", "laptop", "preview", "service/web"), "team", "now")
    return {**made, "metadata": {**made["metadata"], "uid": uid}}


def published(*texts: str, **more: Any) -> Object:
    wanted = Wanted("web", preview.routes(texts or ("8080:80",)), **more)
    made = preview.service(wanted, ANA, lease_of())
    return {**made, "metadata": {**made["metadata"], "uid": "u-1", **WROTE}}


def orphan(**meta: Any) -> Object:
    made = published()
    return {**made, "metadata": {**made["metadata"], "ownerReferences": [], **meta}}


# what users type


@pytest.mark.parametrize("text", ["web", "web-2", "2web", "w", "x" * 63])
def test_a_name_is_a_dns_label(text: str) -> None:
    assert preview.name(text) == text
    assert preview.name(f"service/{text}") == text


@pytest.mark.parametrize("text", ["", "Web", "a.b", "a_b", "-a", "a-", "x" * 64, "pod/web", "a/b/c", "a\n", "é"])
def test_what_cannot_be_a_services_name_is_usage(text: str) -> None:
    with pytest.raises(Usage):
        preview.name(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("8080", ["8080 → 127.0.0.1:8080"]),
        ("8080:80", ["80 → 127.0.0.1:8080"]),
        ("8080/http", ["8080 (http) → 127.0.0.1:8080"]),
        ("devbox:8080:80/http", ["80 (http) → devbox:8080"]),
        ("[::1]:8080:80", ["80 → ::1:8080"]),
        ("8080:80,9090", ["80 (port-80) → 127.0.0.1:8080", "9090 (port-9090) → 127.0.0.1:9090"]),
        ("8080:80/http, 8080:81", ["80 (http) → 127.0.0.1:8080", "81 (port-81) → 127.0.0.1:8080"]),
    ],
)
def test_expose_makes_the_ports_of_the_new_service(text: str, said: list[str]) -> None:
    assert [str(route) for route in preview.routes([text])] == said


@pytest.mark.parametrize(
    "texts",
    [
        [], [""], ["x"], ["8080:http"], ["8080:0"], ["8080:65536"], ["8080:80/"], ["8080:80/HTTP"], ["8080:80/udp"],
        ["8080:80", "9090:80"], ["1:80/a,2:81/a"], ["1:80/port-81,2:81"], ["8080:\u0668\u0660"], ["80:80/a/b"],
    ],
)  # fmt: skip
def test_what_cannot_be_a_services_ports_is_usage(texts: list[str]) -> None:
    with pytest.raises(Usage):
        preview.routes(texts)


def test_a_service_port_that_is_the_shadows_own_gets_another_in_the_pod() -> None:
    one, two = preview.routes([f"8080:{names.SSH_PORT}", "22222"])

    assert one.service.port == names.SSH_PORT
    assert one.pod.number not in (names.SSH_PORT, 22222)
    assert two.pod.number == 22222


def test_protocols_are_for_all_ports_or_for_one() -> None:
    routes = preview.routes(["8080:80/http,9090:90"])

    assert preview.protocols(["http"], routes) == {80: "http", 90: "http"}
    assert preview.protocols(["http=http", "90=kubernetes.io/h2c"], routes) == {80: "http", 90: "kubernetes.io/h2c"}
    for wrong in ("91=http", "=http", "80=", ""):
        with pytest.raises(Usage):
            preview.protocols([wrong], routes)


@pytest.mark.parametrize("text", ["web.example.com", "*.example.com", "localhost"])
def test_a_host_is_a_name(text: str) -> None:
    assert preview.host(text) == text


@pytest.mark.parametrize("text", ["", "http://web", "web:80", "web/x", "Web.com", "a..b", "x." * 130 + "y"])
def test_what_is_no_host_is_usage(text: str) -> None:
    with pytest.raises(Usage):
        preview.host(text)


# what is made


def test_the_service_asks_for_this_sessions_shadows_and_is_owned_by_its_lease() -> None:
    made = published("8080:80")

    assert made["spec"] == {
        "type": "ClusterIP",
        "selector": {names.PREVIEW: ANA},
        "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}],
    }
    assert made["metadata"]["ownerReferences"] == owned_by(lease_of())
    assert labels_of(made) == {names.ROLE: names.ROLE_PREVIEW, names.SESSION: ANA}


def test_names_protocols_and_a_load_balancer_are_as_asked() -> None:
    made = published("8080:80/http,9090:90", protocols={90: "kubernetes.io/h2c"}, external=True)

    assert made["spec"]["type"] == "LoadBalancer"
    assert [(port["name"], port.get("appProtocol")) for port in made["spec"]["ports"]] == [
        ("http", None), ("port-90", "kubernetes.io/h2c"),
    ]  # fmt: skip


def test_the_ingress_leads_its_host_to_the_first_port() -> None:
    wanted = Wanted("web", preview.routes(["8080:80", "9090"]), host="web.example.com", ingress_class="nginx")

    made = preview.ingress(wanted, ANA, lease_of())

    assert made["spec"]["ingressClassName"] == "nginx"
    (rule,) = made["spec"]["rules"]
    assert rule["host"] == "web.example.com"
    assert rule["http"]["paths"][0]["backend"] == {"service": {"name": "web", "port": {"number": 80}}}
    assert made["metadata"]["ownerReferences"] == owned_by(lease_of())
    assert "ingressClassName" not in preview.ingress(Wanted("web", wanted.routes, host="x"), ANA, lease_of())["spec"]


# whose it is


def test_a_published_service_names_its_session() -> None:
    assert preview.publisher(published()) == ANA
    assert preview.is_published_by(published(), ANA, lease_of())
    assert preview.is_published_by(published(), ANA, None)
    assert not preview.is_published_by(published(), BOB, None)


def test_the_owner_must_be_this_very_lease() -> None:
    assert not preview.is_published_by(published(), ANA, lease_of(uid="another"))
    assert not preview.is_published_by(orphan(), ANA, lease_of())


def test_an_orphan_is_known_by_its_own_name_and_our_write() -> None:
    assert preview.publisher(orphan()) == ANA
    assert preview.publisher(orphan(name="copy")) is None
    assert preview.publisher(orphan(managedFields=[{"manager": "kubectl"}])) is None
    assert preview.publisher(orphan(managedFields=None)) is None
    assert preview.publisher(orphan(ownerReferences=[{"kind": "Deployment", "name": "x"}])) is None
    assert preview.publisher(orphan(labels={})) is None


def test_anothers_diversion_does_not_hide_whose_it_is() -> None:
    made = published()
    held = diverted(made, BOB, "kt-2")

    assert preview.publisher(held) == ANA
    assert preview.is_published_by(held, ANA, lease_of())
    assert not preview.is_adopted(held, ANA)
    assert not preview.is_adopted(given_back(held, BOB), ANA)


def test_a_service_applied_over_ours_is_handed_over_without_a_trace() -> None:
    made = published()
    made["spec"]["selector"]["app"] = "web"
    made["metadata"]["labels"]["team"] = "shop"

    after = preview.handed_over(made, ANA)

    assert preview.is_adopted(made, ANA)
    assert after["spec"]["selector"] == {"app": "web"}
    assert after["metadata"] == {
        "name": "web", "namespace": "team", "labels": {"team": "shop"}, "uid": "u-1", **WROTE,
    }  # fmt: skip
    assert preview.publisher(after) is None


def test_what_is_anothers_on_it_stays_when_it_is_handed_over() -> None:
    made = published()
    made["metadata"]["labels"][names.SESSION] = BOB
    made["metadata"]["annotations"]["x"] = "y"
    made["metadata"]["ownerReferences"].append({"kind": "App", "name": "web", "uid": "z"})
    made["spec"]["selector"] = {"app": "web"}

    after = preview.handed_over(made, ANA)

    assert labels_of(after) == {names.SESSION: BOB}
    assert after["metadata"]["annotations"] == {"x": "y"}
    assert [owner["kind"] for owner in after["metadata"]["ownerReferences"]] == ["App"]


@pytest.mark.parametrize(
    ("status", "address"),
    [
        (None, ""), ({}, ""), ({"loadBalancer": {}}, ""),
        ({"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}, "192.0.2.1"),
        ({"loadBalancer": {"ingress": [{"hostname": "a.example"}, {"ip": "192.0.2.1"}]}}, "a.example, 192.0.2.1"),
    ],
)  # fmt: skip
def test_an_address_is_told_once_there_is_one(status: Any, address: str) -> None:
    assert preview.address_of({"status": status}) == address
