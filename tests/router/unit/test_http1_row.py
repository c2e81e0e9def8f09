"""The row that is found without parsing is the one that would be found with it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ktpy_router.head import request_of
from ktpy_router.http1_row import needles, row_of
from ktpy_router.match import Chooser
from ktpy_router.table import Table


def chooser(*matches: list[dict[str, str]], **more: Any) -> Chooser:
    rows = [
        {"id": f"r{i}", "mark": "m", "owner": "o", "since": i, "match": match, "to": {"80": "a:1"}, **more}
        for i, match in enumerate(matches)
    ]
    table = {"format": 1, "version": 1, "ports": [{"listen": 80, "default": "b:1"}], "rows": rows}
    return Table.from_json(json.dumps(table)).chooser(80)


def header(name: str, value: str) -> list[dict[str, str]]:
    return [{"in": "header", "name": name, "exact": value}]


SIMPLE = chooser(header("version", "ana"), header("Version", "bob"))
TWO = chooser(header("version", "ana"), header("x-user", "bob"))
COOKIE = chooser([{"in": "cookie", "name": "version", "exact": "ana"}], header("version", "ana"))
PATH = chooser([{"in": "path", "prefix": "/ana"}], header("version", "ana"))
ALL = chooser([], header("version", "ana"))

HEADS = [
    "",
    "version: ana\r\n",
    "VERSION:\t ana \r\n",
    "version: Ana\r\n",
    "version: anab\r\n",
    "version:\r\n",
    "version: bob\r\nversion: ana\r\n",
    "xversion: ana\r\n",
    "x: version: ana\r\n",
    "x-user: bob\r\nversion: ana\r\n",
    "cookie: a=b; version=ana\r\n",
]


@pytest.mark.parametrize("lines", HEADS)
@pytest.mark.parametrize("path", ["/", "/ana/x"])
@pytest.mark.parametrize("chooser", [SIMPLE, TWO, COOKIE, PATH, ALL], ids=["simple", "two", "cookie", "path", "all"])
def test_both_ways_find_the_same(chooser: Chooser, path: str, lines: str) -> None:
    head = f"GET {path} HTTP/1.1\r\nHost: a\r\n{lines}\r\n".encode()
    low = head.lower()

    needle = next((needle for needle in needles(chooser) if needle in low), None)
    found = None if needle is None else row_of(chooser, needle, head, low)

    assert found is chooser.choose(request_of(head))


def test_without_rows_nothing_is_looked_for() -> None:
    assert needles(chooser()) == ()
    assert needles(SIMPLE) == (b"\r\nversion:",)
    assert needles(PATH) == (b"",)
