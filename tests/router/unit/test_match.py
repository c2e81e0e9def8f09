"""Which row a request goes to."""

from __future__ import annotations

import time
from typing import Any

import pytest

from ktpy_router.match import Chooser
from ktpy_router.request import Request
from ktpy_router.table import Table
from tests.router.unit.test_table import raw, read, row


def table(*rows: dict[str, Any]) -> Table:
    return read(raw(rows=[row(id=f"r{i}", **one) for i, one in enumerate(rows)]))


def chooser(*matches: list[dict[str, str]], **more: Any) -> Chooser:
    return table(*({"match": match, **more} for match in matches)).chooser(8080)


def request(path: str = "/", host: str = "shop", **headers: str) -> Request:
    lines = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request(b"GET", path.encode(), host.encode(), lines)


def chosen(chooser: Chooser, request: Request) -> str | None:
    row = chooser.choose(request)
    return row.id if row else None


MARK = {"in": "header", "name": "version", "exact": "ana"}

CASES: list[tuple[dict[str, str], Request, bool]] = [
    (MARK, request(version="ana"), True),
    (MARK, request(version="ANA"), False),
    (MARK, request(), False),
    ({**MARK, "name": "VERSION"}, request(version="ana"), True),
    ({"in": "header", "name": "version", "prefix": "an"}, request(version="ana"), True),
    ({"in": "header", "name": "version", "regex": "a.a"}, request(version="ana"), True),
    ({"in": "header", "name": "version", "regex": "a"}, request(version="ana"), False),
    ({"in": "cookie", "name": "v", "exact": "ana"}, request(cookie="a=b; v=ana; c=d"), True),
    ({"in": "cookie", "name": "v", "exact": "ana"}, request(cookie='v="ana"'), True),
    ({"in": "cookie", "name": "v", "exact": "ana"}, request(cookie="xv=ana"), False),
    ({"in": "query", "name": "v", "exact": "a b"}, request("/x?q=1&v=a+b"), True),
    ({"in": "query", "name": "v", "exact": "a b"}, request("/x?v=a%20b#f"), True),
    ({"in": "query", "name": "v", "exact": ""}, request("/x?v"), True),
    ({"in": "query", "name": "v", "exact": "a"}, request("/v=a"), False),
    ({"in": "path", "prefix": "/cart"}, request("/cart/7?x"), True),
    ({"in": "path", "exact": "/cart"}, request("/cart?x"), True),
    ({"in": "path", "exact": "/cart"}, request("http://shop/cart?x"), True),
    ({"in": "path", "exact": "/"}, request("http://shop"), True),
    ({"in": "path", "regex": "/cart/[0-9]+"}, request("/cart/7"), True),
    ({"in": "host", "exact": "Shop.Dev"}, request(host="SHOP.dev:8080"), True),
    ({"in": "host", "exact": "[fd00::1]"}, request(host="[fd00::1]:80"), True),
    ({"in": "baggage", "name": "v", "exact": "a b"}, request(baggage="x=1, v=a%20b;p=1 ,y=2"), True),
    ({"in": "baggage", "name": "v", "exact": "ana"}, request(baggage="p;v=ana"), False),
]


@pytest.mark.parametrize(("condition", "request_", "matches"), CASES, ids=[f"{c}-{m}" for c, _, m in CASES])
def test_one_condition(condition: dict[str, str], request_: Request, *, matches: bool) -> None:
    assert (chosen(chooser([condition]), request_) == "r0") == matches


def test_any_of_several_values_is_enough() -> None:
    twice = Request(b"GET", b"/", b"shop", [(b"version", b"bob"), (b"version", b"ana")])

    assert chosen(chooser([MARK]), twice) == "r0"


def test_several_conditions_are_anded() -> None:
    both = chooser([MARK, {"in": "path", "prefix": "/cart"}])

    assert chosen(both, request("/cart", version="ana")) == "r0"
    assert chosen(both, request("/", version="ana")) is None


def test_the_more_specific_goes_first_then_the_older() -> None:
    catch_all: list[dict[str, str]] = []
    prefix = [{"in": "path", "prefix": "/c"}]
    longer = [{"in": "path", "prefix": "/cart"}]
    exact = [{"in": "path", "exact": "/cart"}]
    two = [MARK, {"in": "path", "prefix": "/"}]
    order = [row.id for row in chooser(catch_all, prefix, longer, exact, two).rows]
    same = table({"match": [MARK], "since": 9}, {"match": [MARK], "since": 3}).chooser(8080)

    assert order == ["r4", "r3", "r2", "r1", "r0"]
    assert chosen(same, request(version="ana")) == "r1"


def test_rows_that_ask_one_header_are_looked_up() -> None:
    bob = [{**MARK, "exact": "bob"}]
    simple = chooser([MARK], bob)

    assert simple.simple is not None
    assert simple.simple[0] == b"version"
    assert {value: row.id for value, row in simple.simple[1].items()} == {b"ana": "r0", b"bob": "r1"}
    assert chooser([MARK], []).simple is None
    assert chooser([MARK], [{**MARK, "name": "other"}]).simple is None
    assert chooser().simple is None


def test_heads_need_not_be_parsed_where_no_row_can_match_without_a_header() -> None:
    cookie = [{"in": "cookie", "name": "v", "exact": "a"}, {"in": "path", "prefix": "/"}]

    assert set(chooser([MARK], cookie).names) == {b"version", b"cookie"}
    assert chooser([MARK], cookie).by_name
    assert not chooser([MARK], [{"in": "path", "prefix": "/"}]).by_name
    assert chooser().by_name


def test_mirrors_are_apart() -> None:
    both = table({"match": [MARK], "mirror": True}, {"match": []}).chooser(8080)

    assert chosen(both, request(version="ana")) == "r1"
    assert [row.id for row in both.mirrors(request(version="ana"))] == ["r0"]
    assert both.mirrors(request()) == ()
    assert both.has_mirrors
    assert both.simple is None


def test_only_one_upstream_is_possible_without_conditions() -> None:
    assert chooser().only_one
    assert chooser([]).only_one
    assert not chooser([], [MARK]).only_one


def test_an_expression_takes_linear_time() -> None:
    """Python's own `re` would take longer than the universe lasts."""
    evil = chooser([{"in": "header", "name": "version", "regex": "(a|a)*b"}])
    started = time.process_time()

    assert chosen(evil, request(version="a" * 5000)) is None
    assert time.process_time() - started < 10
