"""A block's row is the one that the decoded request has, however the block was written."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hpack import Encoder

from ktpy_router.h2 import hpack
from ktpy_router.h2.find import finder, forms, request_of
from tests.router.unit.h2kit import FakePort, row


def blocks(fields: list[tuple[str, str]]) -> list[bytes]:
    """With and without Huffman, and with and without the static table."""
    encoder = Encoder()
    encoder.header_table_size = 0
    plain = b"".join(hpack.literal(name.encode(), value.encode()) for name, value in fields)
    return [plain, *(bytes(encoder.encode(fields, huffman=huffman)) for huffman in (True, False))]


def where(place: str, value: str, name: str = "", way: str = "exact") -> dict[str, Any]:
    return {"in": place, way: value} | ({"name": name} if name else {})


ROWS: list[list[dict[str, Any]]] = [
    [row("ana")],
    [row("ana"), row("bob")],
    [row("ana"), row("bob", match=[where("cookie", "bob", "who")])],
    [row("ana", match=[where("header", "a", "x-one"), where("header", "b", "accept-language")])],
    [row("ana", match=[where("path", "/cart", way="prefix")]), row("bob")],
    [row("ana", match=[where("host", "shop.test")])],
    [row("ana", match=[where("query", "1", "ana")])],
    [row("ana", match=[where("baggage", "ana", "dev")])],
    [row("ana", match=[])],
    [row("ana", match=[where("header", "a.*", "user-agent", "regex")])],
    [],
]
VALUES = {
    ":path": ("/", "/cart/7", "/?ana=1"),
    ":authority": ("shop", "shop.test:80"),
    "version": ("ana", "bob", "anna", ""),
    "cookie": ("who=bob", "who=eve; x=y", "a=b"),
    "x-one": ("a", "z"),
    "accept-language": ("b", "de"),
    "user-agent": ("curl", "abc"),
    "baggage": ("dev=ana", "dev=bob,x=y"),
    "x-other": ("version", "\x07version\x03ana"),
}


@pytest.mark.parametrize("rows", ROWS, ids=range(len(ROWS)))
def test_a_row_is_found_as_in_the_decoded_request(rows: list[dict[str, Any]]) -> None:
    chooser = FakePort(rows).chooser
    chance = random.Random(5)
    for _ in range(300):
        fields = [(":method", "GET"), (":scheme", "http")]
        for name, values in VALUES.items():
            if name[0] == ":" or chance.random() < 0.4:
                fields.append((name, chance.choice(values)))
        if chance.random() < 0.1:
            fields.append(("version", "bob"))
        expected = chooser.choose(request_of([(name.encode(), value.encode()) for name, value in fields]))

        for block in blocks(fields):
            assert finder(chooser).row(block) is expected, fields


def test_every_form_of_a_static_name_is_searched() -> None:
    assert {b"\xa0", b"\x60", b"\x0f\x11", b"\x1f\x11"} < forms(b"cookie")
    assert {b"\x04", b"\x14", b"\x44", b"\x84", b"\x85"} < forms(b":path")


def test_a_value_that_looks_like_the_header_is_no_header() -> None:
    chooser = FakePort([row("ana")]).chooser

    assert finder(chooser).row(hpack.block([(b"x", b"\x07version\x03ana")])) is None


def test_host_stands_for_a_missing_authority() -> None:
    assert request_of([(b":method", b"GET"), (b"host", b"shop")]).host == b"shop"
    assert request_of([(b"host", b"a"), (b":authority", b"b")]).host == b"b"


def test_mirrors_get_what_they_ask_for() -> None:
    chooser = FakePort([row("ana", mirror=True)]).chooser
    found = finder(chooser)

    assert [r.id for r in found.copies(hpack.block([(b"version", b"ana")]))] == ["ana"]
    assert found.copies(hpack.block([(b"version", b"bob")])) == ()
    assert found.row(hpack.block([(b"version", b"ana")])) is None
