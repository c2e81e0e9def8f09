"""What people see of a namespace: each Service's status, and everybody's share."""

from __future__ import annotations

import dataclasses

from ktpy.model import names, overview
from ktpy.model.liveness import Holder, Life, lost_holder
from ktpy.model.names import SessionId
from ktpy.model.overview import Line, RouterSeen, held, in_order, routed, status_without, with_others
from ktpy.model.routes import Ports, Routes
from ktpy.model.traffic import Carried, Traffic
from ktpy_router.match import Condition
from ktpy_router.table import Port, Row, Table

NOW = 1000.0
ANA = Holder(SessionId("ana-1"), "ana", "mbp", "mesh", "service/shop", NOW - 60, 3.0, Life.ALIVE)
BOB = dataclasses.replace(ANA, session=SessionId("bob-1"), owner="bob", mode="exchange", life=Life.SILENT, age=50.0)
HOLDERS = {holder.session: holder for holder in (ANA, BOB)}
VERSION = Condition("header", "version", "exact", "ana")
MARKED = Row("ana-1", "ana", "ana-1", 1, (VERSION,), {8080: "10.0.0.1:8080"})
ALL = Row("bob-1", "everything", "bob-1", 0, (), {8080: "10.0.0.2:8080"})
SEEN = RouterSeen("router-1", "0.1", 3, ("r-1", "r-2"), {})


def view(*rows: Row, carried: Carried | None = None) -> Line:
    table = Table(3, (Port(8080, "10.96.0.1:80"),), rows)
    found = Routes(SessionId("router-1"), "0.1", Ports(9901, 9902, 9903, 9904), table)
    return routed("service/shop", found, HOLDERS, NOW, router=SEEN, carried=carried)


def test_a_service_with_marked_rows_is_meshed_and_with_a_catch_all_row_exchanged() -> None:
    assert view(MARKED).status == overview.MESHED
    assert view(MARKED, ALL).status == overview.EXCHANGED
    assert view(dataclasses.replace(ALL, mirror=True)).status == overview.MESHED


def test_a_share_names_its_owner_his_mark_in_words_and_his_age() -> None:
    (share,) = view(MARKED).shares

    assert (share.owner, share.host, share.state, share.route) == ("ana", "mbp", "alive", "row")
    assert (share.mark, share.match, share.ports) == ("ana", "version: ana", (8080,))
    assert (share.for_seconds, share.seen_seconds) == (60.0, 3.0)
    assert (share.health, share.traffic) == ("", None)


def test_a_share_link_is_no_share_of_its_own_and_no_exchange_and_its_traffic_is_its_owners() -> None:
    link = dataclasses.replace(MARKED, id="ana-1-link", conditions=(), to={9905: "10.0.0.1:8080"})
    line = view(MARKED, link, carried=Carried({"ana-1": Traffic(7), "ana-1-link": Traffic(2, 1)}, Traffic()))

    assert line.status == overview.MESHED
    assert [(share.link, share.ports, share.traffic) for share in line.shares] == [
        ("shop-link-ana", (8080,), Traffic(9, 1))
    ]
    assert view(MARKED, link).shares[0].traffic is None


def test_older_rows_come_first() -> None:
    assert [share.owner for share in view(MARKED, ALL).shares] == ["bob", "ana"]


def test_an_upstream_that_a_worker_takes_for_down_is_told() -> None:
    carried = Carried({"ana-1": Traffic(7)}, Traffic(9), frozenset({"10.0.0.1:8080"}))
    line = view(MARKED, ALL, carried=carried)

    assert [(share.health, share.traffic) for share in line.shares] == [("up", Traffic()), ("down", Traffic(7))]
    assert line.rest == Traffic(9)


def test_a_row_without_a_session_has_ended() -> None:
    (share,) = view(dataclasses.replace(MARKED, owner="gone-1")).shares

    assert (share.session, share.state, share.seen_seconds) == ("gone-1", "ended", None)


def test_a_direct_exchange_is_of_all_requests_and_without_a_lease_abandoned() -> None:
    line = held("service/shop", BOB, NOW)

    assert (line.status, line.shares[0].match, line.shares[0].state) == (overview.EXCHANGED, "all requests", "silent")
    assert held("service/shop", lost_holder(SessionId("x-1")), NOW).status == overview.ABANDONED


def test_a_session_that_has_nothing_yet_leaves_the_service_natural_but_taken() -> None:
    line = with_others(Line("service/shop", overview.NATURAL), [ANA], NOW)

    assert (line.status, line.is_taken, line.shares[0].route) == (overview.NATURAL, True, "")
    assert not Line("service/shop", overview.NATURAL).is_taken


def test_a_manual_mesh_is_a_pod_of_the_service() -> None:
    manual = dataclasses.replace(ANA, mode=names.MODE_MANUAL)
    line = with_others(Line("service/shop", overview.NATURAL), [manual], NOW)

    assert (line.status, line.shares[0].route) == (overview.MESHED, "pod")
    assert with_others(view(ALL), [manual], NOW).status == overview.EXCHANGED


def test_a_workload_at_0_is_an_exchange_that_left_no_mark_on_the_service() -> None:
    scaled = dataclasses.replace(ANA, mode=names.MODE_SCALE)
    line = with_others(Line("service/shop", overview.NATURAL), [scaled], NOW)

    assert (line.status, line.shares[0].match) == (overview.EXCHANGED, "all requests")


def test_sessions_without_a_service_have_a_status_of_their_own() -> None:
    assert status_without("service/shop") == overview.GONE
    assert status_without("namespace/team") == overview.CONNECTED
    assert status_without("") == overview.ABANDONED


def test_lines_are_in_order_of_status_then_name_or_of_name() -> None:
    lines = [Line("service/b", "natural"), Line("service/c", "meshed"), Line("service/a", "natural")]

    assert [line.target for line in in_order(lines, by_name=False)] == ["service/c", "service/a", "service/b"]
    assert [line.target for line in in_order(lines, by_name=True)] == ["service/a", "service/b", "service/c"]
