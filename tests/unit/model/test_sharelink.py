"""A share link leads to the router's pods: the ports of the laptop to those of its own, all others where they went."""

from __future__ import annotations

from ktpy.model import names, ports, sharelink
from ktpy.model.front import Front
from ktpy.model.names import SessionId
from ktpy.model.sharelink import Link
from tests.fakes import things

ROUTER, ANA = SessionId("router-1"), SessionId("ana-1")
OWNER = things.stored({**things.service("x"), "kind": "Lease", "metadata": {"name": "ktpy-ana-1", "namespace": "team"}})
LINK = Link("shop-link-ana", (("version", "Ünï"),), "web.example.com", "some")


def front() -> Front:
    service = things.service()
    service["spec"]["ports"].append(things.port(90, name="more"))
    service["spec"]["ipFamilies"] = ["IPv4"]
    return Front(service, ports.ports_of(service, [things.pod("shop-1")]))


def test_its_headers_are_a_rows() -> None:
    assert LINK.headers == ((b"version", "Ünï".encode()),)


def test_its_service_has_the_targets_ports_and_families_and_finds_the_routers_pods() -> None:
    made = sharelink.service(LINK, front(), {8080: 9905}, ANA, OWNER, router=ROUTER)

    assert made["spec"]["selector"] == {names.ROLE: names.ROLE_ROUTER, names.SESSION: ROUTER}
    assert [(port["port"], port["targetPort"]) for port in made["spec"]["ports"]] == [(80, 9905), (90, 90)]
    assert made["spec"]["ipFamilies"] == ["IPv4"]
    meta = made["metadata"]
    assert (meta["name"], meta["labels"]) == ("shop-link-ana", {names.ROLE: names.ROLE_LINK, names.SESSION: ANA})
    assert (meta["annotations"], meta["ownerReferences"][0]["name"]) == ({names.SELF: "shop-link-ana"}, "ktpy-ana-1")


def test_its_ingress_leads_the_host_to_its_service() -> None:
    made = sharelink.ingress(LINK, 80, ANA, OWNER)

    (rule,) = made["spec"]["rules"]
    assert (made["spec"]["ingressClassName"], rule["host"]) == ("some", "web.example.com")
    assert rule["http"]["paths"][0]["backend"]["service"] == {"name": "shop-link-ana", "port": {"number": 80}}


def test_its_name_is_a_legal_one_of_any_mark() -> None:
    assert names.link_name("shop", "ana") == "shop-link-ana"
    assert names.link_name("shop", "Ünï/1").startswith("shop-link-")
    assert len(names.link_name("s" * 63, "a")) == 63
    assert names.link_name("shop", "a b") != names.link_name("shop", "a/b")
