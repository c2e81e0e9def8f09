"""What users type after --expose, in all spellings, held against a Service."""

from __future__ import annotations

import pytest

from ktpy.errors import KtError, NotFound, Usage
from ktpy.model import ports
from ktpy.model.ports import Expose, PodPort, Route, ServicePort
from tests.fakes import things
from tests.fakes.things import port

HTTP = ServicePort(80, "http", "8080", 8080)
GRPC = ServicePort(9090, "grpc", "rpc", 50051)
UDP = ServicePort(53, "dns", "53", 53, "UDP")


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("8080", Expose(8080)),
        ("8080:80", Expose(8080, "80")),
        ("8080:http", Expose(8080, "http")),
        ("10.0.0.7:8080:80", Expose(8080, "80", "10.0.0.7")),
        ("[::1]:8080:80", Expose(8080, "80", "::1")),
        ("[::1]:8080", Expose(8080, None, "::1")),
    ],
)
def test_an_expose_is_read(text: str, meant: Expose) -> None:
    assert ports.expose(text) == meant


@pytest.mark.parametrize(
    "text",
    ["", "x", "0", "65536", "-1", "8080:", ":80", "a:b:c:d", "[::1", "[::1]8080", "80 80", "１", ":1:2", "1:2:3:4"],
)
def test_what_is_no_expose_is_refused(text: str) -> None:
    with pytest.raises(Usage):
        ports.expose(text)


def test_exposes_may_be_repeated_or_a_comma_list() -> None:
    assert ports.exposes(["1:2, 3", "4"]) == (Expose(1, "2"), Expose(3), Expose(4))
    assert ports.exposes([]) == ()


@pytest.mark.parametrize(
    ("one", "said"), [(Expose(1), "1"), (Expose(1, "http"), "1:http"), (Expose(1, "2", "h"), "h:1:2")]
)
def test_an_expose_says_itself_as_it_is_typed(one: Expose, said: str) -> None:
    assert str(one) == said


@pytest.mark.parametrize("spelling", ["80", "http", "8080"])
def test_a_service_port_is_found_by_number_name_or_target(spelling: str) -> None:
    (route,) = ports.resolve([Expose(1234, spelling)], "shop", [HTTP, GRPC])

    assert route == Route(HTTP, PodPort(8080), "127.0.0.1", 1234)


@pytest.mark.parametrize("spelling", ["9090", "grpc", "rpc", "50051"])
def test_a_named_target_is_declared_by_the_shadow(spelling: str) -> None:
    (route,) = ports.resolve([Expose(1234, spelling)], "shop", [HTTP, GRPC])

    assert route.pod == PodPort(50051, "rpc")


def test_a_port_number_wins_over_anothers_target() -> None:
    first, second = ServicePort(80, "a", "8080", 8080), ServicePort(8080, "b", "9090", 9090)

    (route,) = ports.resolve([Expose(1, "8080")], "shop", [first, second])

    assert route.service == second


def test_a_name_that_no_pod_tells_gets_the_services_number() -> None:
    (route,) = ports.resolve([Expose(1)], "shop", [ServicePort(80, "", "web", None)])

    assert route.pod == PodPort(80, "web")


def test_a_port_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(NotFound, match=r"no port '81'; it has 80 \(http\), 9090 \(grpc\)") as refused:
        ports.resolve([Expose(1, "81")], "shop", [HTTP, GRPC])

    assert refused.value.try_ == ("ktpy exchange shop --expose 8080:80,50051:9090",)


def test_a_laptop_port_alone_needs_a_service_with_one_port() -> None:
    with pytest.raises(Usage, match="several ports"):
        ports.resolve([Expose(1)], "shop", [HTTP, GRPC])


def test_a_port_that_is_not_tcp_is_refused() -> None:
    with pytest.raises(KtError, match="is UDP"):
        ports.resolve([Expose(1, "53")], "shop", [HTTP, UDP])


def test_one_pod_port_cannot_go_to_two_places() -> None:
    with pytest.raises(Usage, match="given twice"):
        ports.resolve([Expose(1, "80"), Expose(2, "80")], "shop", [HTTP])


def test_two_service_ports_may_share_a_pod_port() -> None:
    other = ServicePort(8081, "old", "8080", 8080)

    routes = ports.resolve([Expose(1, "80"), Expose(1, "8081")], "shop", [HTTP, other])

    assert ports.pod_ports(routes) == (PodPort(8080),)
    assert ports.arrivals(routes) == {8080: ("127.0.0.1", 1)}


def test_the_pulse_has_a_port_that_no_program_needs() -> None:
    taken = ServicePort(2223, "odd", "2223", 2223)

    assert ports.pulse_port(ports.resolve([Expose(1, "80")], "shop", [HTTP])) == 2223
    assert ports.pulse_port(ports.resolve([Expose(1, "2223")], "shop", [taken])) == 2224


def test_an_exchange_needs_all_ports() -> None:
    routes = ports.resolve([Expose(1, "80")], "shop", [HTTP, GRPC])

    with pytest.raises(KtError, match=r"nothing would answer port 9090 \(grpc\)"):
        ports.must_be_complete(routes, "shop", [HTTP, GRPC])
    with pytest.raises(KtError, match="not TCP"):
        ports.must_be_complete(routes, "shop", [HTTP, UDP])
    ports.must_be_complete(routes, "shop", [HTTP])


def test_without_an_expose_the_only_port_is_meant() -> None:
    assert ports.plain_expose("shop", [HTTP]) == Expose(8080, "80")
    with pytest.raises(Usage, match="say which laptop ports answer"):
        ports.plain_expose("shop", [HTTP, GRPC])
    with pytest.raises(Usage):
        ports.plain_expose("shop", [])


def test_a_services_ports_are_read_with_names_looked_up_in_its_pods() -> None:
    service = things.service(ports=[port(80, "web"), {"port": 81}, port(82, "none"), port(53, protocol="UDP")])

    found = ports.ports_of(service, [things.pod("a"), things.pod("b", ports=[{"containerPort": 1, "name": "web"}])])

    assert [(p.port, p.target, p.number, p.protocol) for p in found] == [
        (80, "web", 8080, "TCP"), (81, "81", 81, "TCP"), (82, "none", None, "TCP"), (53, "53", 53, "UDP"),
    ]  # fmt: skip


def test_ports_in_words_name_the_protocol_where_it_is_not_tcp() -> None:
    assert ports.table([HTTP, UDP]) == "80 (http), 53 (dns)/UDP"
    assert ports.table([]) == "none"


def test_a_route_says_where_it_goes() -> None:
    assert str(Route(HTTP, PodPort(8080), "127.0.0.1", 1)) == "80 (http) → 127.0.0.1:1"
