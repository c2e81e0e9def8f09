"""A table is read whole or refused with a sentence; what was read comes out again."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from ktpy_router.table import BadTable, Table, split


def raw(**more: Any) -> dict[str, Any]:
    ports = [{"listen": 8080, "default": "10.96.0.7:80"}, {"listen": 9090, "default": "db:5432", "raw": True}]
    return {"format": 1, "version": 7, "ports": ports, "rows": [], **more}


def row(**more: Any) -> dict[str, Any]:
    match = [{"in": "header", "name": "Version", "exact": "ana"}]
    base = {"id": "s1", "mark": "ana", "owner": "session-1", "since": 12, "match": match, "to": {"8080": "10.0.0.9:80"}}
    return {**base, **more}


def read(table: object) -> Table:
    return Table.from_json(json.dumps(table))


def test_what_was_read_comes_out_again() -> None:
    full = row(strict=True, hold=1.5, add={"X-Ktpy": "1"}, mirror=True, inspect=True, pulse="10.0.0.9:2223")
    prefix = row(id="s2", match=[{"in": "path", "prefix": "/a"}, {"in": "query", "name": "v", "regex": "a+"}])
    table = read(raw(rows=[full, prefix]))

    assert Table.from_json(table.to_json()) == table
    assert table.rows[0].add == ((b"x-ktpy", b"1"),)
    assert table.rows[0].conditions[0].name == "version"
    assert table.ports[1].raw


def test_a_port_sees_only_the_rows_that_have_an_upstream_for_it() -> None:
    table = read(raw(rows=[row(), row(id="s2", match=[], to={"9090": "10.0.0.9:5432"})]))

    assert [row.id for row in table.chooser(8080).rows] == ["s1"]
    assert [row.id for row in table.chooser(9090).rows] == ["s2"]
    assert table.chooser(8080) is table.chooser(8080)


def test_without_some_of_its_rows_it_is_the_same_version_of_another_choice() -> None:
    table = read(raw(rows=[row(), row(id="s2")]))
    assert [one.id for one in table.chooser(8080).rows] == ["s1", "s2"]

    other = table.without({"s1", "gone"})
    assert (other.version, other.ports, [one.id for one in other.chooser(8080).rows]) == (7, table.ports, ["s2"])
    assert table.without({"gone"}) is table


BAD: list[tuple[Any, str]] = [
    ([], "The table: an object is needed"),
    ({"format": 1}, "ports, version is missing"),
    (raw(format=2), "format 2; this router reads format 1"),
    (raw(more=1), '"more" is not known'),
    (raw(version=-1), "version: -1 is no whole number"),
    (raw(version=True), "version: true is no whole number"),
    (raw(ports=[]), "ports: there is none"),
    (raw(ports=[{"listen": 0, "default": "a:1"}]), "ports[0].listen: 0"),
    (raw(ports=[{"listen": 1, "default": "a:1"}] * 2), "the same listening port"),
    (raw(rows=[row(), row()]), "the same id"),
    (raw(rows=[row()] * 1001), "1001 of them"),
    (raw(rows=[row(id="")]), "rows[0].id"),
    (raw(rows=[row(mark="a\nb")]), "rows[0].mark"),
    (raw(rows=[row(to={"8081": "a:1"})]), '"8081" is none of the listening ports'),
    (raw(rows=[row(to={"8080": "a"})]), '"a" is no address'),
    (raw(rows=[row(hold=601)]), "rows[0].hold: 601"),
    (raw(rows=[row(hold=float("nan"))]), "no number of seconds"),
    (raw(rows=[row(strict=1)]), "rows[0].strict: true or false"),
    (raw(rows=[row(add={"Host": "x"})]), "no header that may be added"),
    (raw(rows=[row(add={"a b": "x"})]), "no header that may be added"),
    (raw(rows=[row(match=[{"in": "body", "exact": "a"}])]), '"body" is none of'),
    (raw(rows=[row(match=[{"in": "header", "name": "a"}])]), "exactly one of exact, prefix, regex"),
    (raw(rows=[row(match=[{"in": "header", "name": "a", "exact": "a", "prefix": "a"}])]), "exactly one of"),
    (raw(rows=[row(match=[{"in": "header", "exact": "a"}])]), "header needs a name"),
    (raw(rows=[row(match=[{"in": "path", "name": "a", "exact": "a"}])]), "path has no name"),
    (raw(rows=[row(match=[{"in": "cookie", "name": "a b", "exact": "a"}])]), "no name of a cookie"),
    (raw(rows=[row(match=[{"in": "path", "regex": "(a"}])]), "missing )"),
    (raw(rows=[row(match=[{"in": "path", "regex": "(?=a)b"}])]), "rows[0].match[0].regex"),
]


@pytest.mark.parametrize(("table", "says"), BAD, ids=[says for _, says in BAD])
def test_a_bad_table_is_refused_with_the_place_and_the_reason(table: Any, says: str) -> None:
    with pytest.raises(BadTable) as caught:
        read(table)

    assert says in str(caught.value)
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize("address", ["10.0.0.1:80", "[fd00::1]:80", "name:80", "a.b-c.svc:65535", "_x.y:1"])
def test_addresses(address: str) -> None:
    assert split(read(raw(ports=[{"listen": 1, "default": address}])).ports[0].default)[1] > 0


@pytest.mark.parametrize(
    "address", ["10.0.0.1", "10.0.0.300:80", "fd00::1:80", ":80", "a:0", "a:65536", "a b:1", "[a]:1", "a:٣", "a:1e3", 5]
)
def test_what_is_no_address(address: object) -> None:
    with pytest.raises(BadTable):
        read(raw(ports=[{"listen": 1, "default": address}]))


@pytest.mark.parametrize("text", [b"", b"{", b"\xff", b"[" * 100_000])
def test_what_is_no_json(text: bytes) -> None:
    with pytest.raises(BadTable, match="is not JSON"):
        Table.from_json(text)


def test_nonsense_is_refused_and_never_an_accident() -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    dice = random.Random(seed)
    nonsense = [None, 0, -1, 1.5, "", "a", [], {}, [[]], {"a": 1}, True, "x" * 5000, 2**70]
    for _ in range(2000):
        table = raw(rows=[row(strict=True, add={"a": "b"})])
        place: Any = table
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            key = dice.choice(keys)
            if isinstance(place[key], dict | list) and place[key] and dice.random() < 0.8:
                place = place[key]
                continue
            place[key] = dice.choice(nonsense)
            break
        try:
            made = read(table)
        except BadTable:
            continue
        assert Table.from_json(made.to_json()) == made
