"""The route table as its ConfigMap keeps it: what goes in comes out, and nothing is taken on trust."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from ktpy import __version__
from ktpy.errors import KtError
from ktpy.model import routes
from ktpy.model.names import SessionId
from ktpy.model.ref import Object
from ktpy.model.routes import Ports, Routes
from ktpy_router.match import Condition
from ktpy_router.table import Port, Row

ROUTER = SessionId("router-1")
EMPTY = Routes(ROUTER, "0.1.0", Ports(9901, 9904, 9902, 9903), routes.first_table({8080: "10.0.0.9:80"}))
BLUE = (Condition("header", "version", "exact", "blue"),)


def row(owner: str, *conditions: Condition, to: dict[int, str] | None = None) -> Row:
    return Row(owner, owner, owner, 0, conditions, to or {8080: "10.1.0.1:8080"})


def thing(found: Routes = EMPTY) -> Object:
    return routes.written(found, {"kind": "ConfigMap", "metadata": {"name": "shop-kt-router"}})


def with_state(**changes: object) -> Object:
    made = thing()
    state = {**json.loads(made["data"][routes.STATE_KEY]), **changes}
    made["data"][routes.STATE_KEY] = json.dumps({key: value for key, value in state.items() if value is not None})
    return made


def test_spare_ports_are_some_that_the_pods_do_not_have() -> None:
    assert routes.spare_ports(()) == Ports(9901, 9904, 9902, 9903, tuple(range(9905, 9913)))
    taken = (9901, 9903, 80, 9907)
    ports = routes.spare_ports(taken)
    assert len({ports.control, ports.health, ports.inspect, ports.web, *ports.links} - set(taken)) == 12


def test_the_first_table_sends_everything_to_the_originals_unlooked() -> None:
    table = routes.first_table({90: "a:1", 80: "a:2"})

    assert table.ports == (Port(80, "a:2", raw=True), Port(90, "a:1", raw=True))
    assert (table.version, table.rows) == (1, ())


def test_a_new_row_is_younger_than_all_others() -> None:
    two = routes.with_row(routes.with_row(EMPTY, row("ana")), row("bob"))

    assert [(found.owner, found.since) for found in two.table.rows] == [("ana", 1), ("bob", 2)]
    assert two.table.version == 3
    assert two.sessions == ("ana", "bob")


def test_a_row_put_again_keeps_its_age_and_place_and_only_a_change_is_one() -> None:
    two = routes.with_row(routes.with_row(EMPTY, row("ana")), row("bob"))
    moved = routes.with_row(two, row("ana", to={8080: "10.1.0.2:8080"}))

    assert routes.with_row(two, row("ana")) is two
    assert [(found.owner, found.since) for found in moved.table.rows] == [("ana", 1), ("bob", 2)]
    assert moved.table.rows[0].to == {8080: "10.1.0.2:8080"}
    assert moved.table.version == 4


def test_a_port_is_looked_into_while_a_row_takes_it() -> None:
    two_ports = replace(EMPTY, table=routes.first_table({8080: "a:1", 90: "a:2"}))
    taken = routes.with_row(two_ports, row("ana"))

    assert [port.raw for port in taken.table.ports] == [True, False]
    assert [port.raw for port in routes.without(taken, "ana").table.ports] == [True, True]


def test_without_somebody_who_has_no_row_it_is_the_same() -> None:
    one = routes.with_row(EMPTY, row("ana"))

    assert routes.without(one, "bob") is one
    assert routes.without(one, "bob", "ana").table.rows == ()


def test_renewed_is_the_same_in_the_next_version() -> None:
    one = routes.with_row(EMPTY, row("ana"))
    again = routes.renewed(one)

    assert again.table == replace(one.table, version=one.table.version + 1)
    assert replace(again, table=one.table) == one


def test_whoever_strikes_the_last_row_closes_in_the_same_write() -> None:
    two = routes.with_row(routes.with_row(EMPTY, row("ana")), row("bob"))

    assert routes.struck(two, "ana").closing == ""
    closed = routes.struck(two, "bob", "ana")
    assert (closed.closing, closed.table.rows) == ("bob", ())
    assert routes.struck(closed, "eve") is closed  # the first one stays


def test_while_somebody_is_opening_others_do_not_close() -> None:
    opening = replace(EMPTY, opening="ana")

    assert routes.struck(opening, "bob") is opening
    come_and_gone = routes.struck(routes.with_row(opening, row("bob")), "bob")
    assert (come_and_gone.closing, come_and_gone.opening) == ("", "ana")
    assert routes.with_row(opening, row("bob")).opening == "ana"
    assert routes.with_row(opening, row("ana")).opening == ""
    assert (routes.struck(opening, "ana").closing, routes.struck(opening, "ana").opening) == ("ana", "")


def test_the_same_requests_are_the_same_conditions_in_any_order_on_a_common_port() -> None:
    path = Condition("path", "", "prefix", "/api")
    found = routes.with_row(EMPTY, row("ana", *BLUE, path))

    assert routes.same_requests(found, (path, *BLUE), [8080]) == found.table.rows[0]
    assert routes.same_requests(found, (path, *BLUE), [90]) is None
    assert routes.same_requests(found, BLUE, [8080]) is None
    assert routes.same_requests(EMPTY, (), [8080]) is None


@pytest.mark.parametrize("found", [
    EMPTY,
    replace(EMPTY, closing="ana-1", opening="bob-2"),
    routes.with_row(EMPTY, Row("a", "m", "a", 0, BLUE, {8080: "[fd00::1]:80"}, True, 3.0, ((b"x", b"y"),), True, True)),
])  # fmt: skip
def test_what_is_written_is_read(found: Routes) -> None:
    assert routes.read(thing(found)) == found


def test_other_data_of_the_configmap_stays_and_the_object_is_not_changed_in_place() -> None:
    before = {"metadata": {"name": "x"}, "data": {"other": "1"}}

    after = routes.written(EMPTY, before)

    assert set(after["data"]) == {"other", routes.TABLE_KEY, routes.STATE_KEY}
    assert before["data"] == {"other": "1"}


def test_a_table_without_an_opener_is_read() -> None:
    """As ktpy 0.1.0 wrote it before there was one."""
    assert routes.read(with_state(opening=None, closing=None)) == EMPTY


def test_a_table_of_a_router_without_link_ports_is_read() -> None:
    ports = {"control": 9901, "health": 9904, "inspect": 9902, "web": 9903}
    assert routes.read(with_state(ports=ports)) == EMPTY


# share links

LINKED = replace(
    EMPTY,
    ports=Ports(9901, 9904, 9902, 9903, (9905, 9906, 9907)),
    table=routes.first_table({8080: "10.0.0.9:80", 9090: "10.0.0.9:90"}, (9905, 9906, 9907)),
)
MARK = ((b"version", b"blue"),)
BOTH = {8080: "10.1.0.1:8080", 9090: "10.1.0.1:9090"}


def linked(now: Routes, one: Row) -> Routes:
    found = routes.with_link(routes.with_row(now, one), one, MARK)
    assert found is not None
    return found


def test_link_ports_are_bound_from_the_start_and_nothing_is_looked_into_there() -> None:
    assert [(port.listen, port.default, port.raw) for port in LINKED.table.ports[2:]] == [
        (9905, "10.0.0.9:80", True), (9906, "10.0.0.9:80", True), (9907, "10.0.0.9:80", True),
    ]  # fmt: skip


def test_a_link_sends_all_of_its_own_ports_where_its_row_does_with_the_mark_added() -> None:
    ana = replace(row("ana", *BLUE, to=BOTH), strict=True)
    table = linked(LINKED, ana).table

    mine, link = table.rows
    assert (mine.conditions, mine.add) == (BLUE, ())
    assert (link.id, link.owner, link.conditions, link.add, link.strict) == ("ana-link", "ana", (), MARK, True)
    assert link.to == {9905: "10.1.0.1:8080", 9906: "10.1.0.1:9090"}
    ports = {port.listen: (port.default, port.raw) for port in table.ports}
    assert (ports[9905], ports[9906]) == (("10.0.0.9:80", False), ("10.0.0.9:90", False))
    assert [routes.is_links(one) for one in table.rows] == [False, True]


def test_a_link_put_again_keeps_its_ports_and_one_of_another_has_others() -> None:
    ana, bob = row("ana", to=BOTH), row("bob", to={8080: "10.1.0.2:8080"})
    two = linked(linked(LINKED, ana), bob)
    moved = linked(two, replace(ana, to={8080: "10.1.0.3:8080", 9090: "10.1.0.3:9090"}))

    assert linked(two, ana) == two
    links = {one.owner: one.to for one in moved.table.rows if routes.is_links(one)}
    assert links == {"ana": {9905: "10.1.0.3:8080", 9906: "10.1.0.3:9090"}, "bob": {9907: "10.1.0.2:8080"}}
    assert routes.claims(moved, ana) == {8080: 9905, 9090: 9906}


def test_too_few_link_ports_are_none() -> None:
    two = routes.with_row(linked(LINKED, row("ana", to=BOTH)), row("bob", to=BOTH))

    assert routes.with_link(two, row("bob", to=BOTH), MARK) is None
    assert routes.with_link(EMPTY, row("ana"), MARK) is None


def test_a_links_row_is_struck_with_its_owners_and_its_port_is_free_again() -> None:
    ana, bob = row("ana", to=BOTH), row("bob", to=BOTH)
    one = linked(LINKED, ana)
    assert one.sessions == ("ana",)
    left = routes.struck(one, "ana")
    assert (left.table.rows, left.closing) == ((), "ana")
    assert routes.claims(routes.without(one, "ana"), bob) == {8080: 9905, 9090: 9906}


def test_a_link_is_no_exchange_of_the_service() -> None:
    assert routes.same_requests(linked(LINKED, row("ana", *BLUE, to=BOTH)), (), [8080, 9090]) is None


def test_a_newer_table_is_refused_with_both_versions() -> None:
    with pytest.raises(KtError, match=rf"ktpy 9\.1\.0, which is newer than this ktpy {__version__}") as told:
        routes.read(with_state(v=routes.FORMAT + 1, ktpy="9.1.0", router=[]))

    assert told.value.try_ == ("pip install ktpy==9.1.0",)


@pytest.mark.parametrize("data", [
    None,
    {},
    {routes.STATE_KEY: "{"},
    {routes.STATE_KEY: "[]"},
    {routes.STATE_KEY: "7"},
    {routes.STATE_KEY: "{}"},
    {**thing()["data"], routes.TABLE_KEY: "{}"},
    {**thing()["data"], routes.TABLE_KEY: "no JSON"},
    {**thing()["data"], routes.TABLE_KEY: None},
    with_state(v="1")["data"],
    with_state(v=None)["data"],
    with_state(router=7)["data"],
    with_state(router=None)["data"],
    with_state(closing={})["data"],
    with_state(opening=1)["data"],
    with_state(ports=None)["data"],
    with_state(ports=[])["data"],
    with_state(ports={"control": "x", "health": 1, "inspect": 2, "web": 3})["data"],
    with_state(ports={"control": 1, "health": 1, "inspect": 2, "web": 3, "links": 7})["data"],
    with_state(ports={"control": 1, "health": 1, "inspect": 2, "web": 3, "links": ["x"]})["data"],
    with_state(ports={"control": 65536, "health": 1, "inspect": 2, "web": 3})["data"],
    with_state(ports={"control": True, "health": 1, "inspect": 2, "web": 3})["data"],
])  # fmt: skip
def test_what_is_no_table_is_told_and_never_a_crash(data: object) -> None:
    with pytest.raises(KtError, match="configmap/shop-kt-router holds no route table that this ktpy can read"):
        routes.read({"metadata": {"name": "shop-kt-router"}, "data": data})
