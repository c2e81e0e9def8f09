"""What users type to say which requests are theirs."""

from __future__ import annotations

import pytest

from ktpy.errors import Usage
from ktpy.model import marks
from ktpy.model.marks import Match
from ktpy_router.match import PLACES, WAYS, Condition


def header(name: str, value: str, way: str = "exact") -> Condition:
    return Condition("header", name, way, value)


def no_default() -> str:
    pytest.fail("a value was given")


@pytest.mark.parametrize(("text", "name", "value"), [
    ("", "version", "ana"),
    ("blue", "version", "blue"),
    ("X-Dev:", "x-dev", "ana"),
    ("x-dev:blue", "x-dev", "blue"),
    (" x-dev : blue ", "x-dev", "blue"),
    (":blue", "version", "blue"),
    ("x-dev:a:b", "x-dev", "a:b"),
    (":", "version", "ana"),
])  # fmt: skip
def test_a_mark_is_a_header_as_kt_connect_reads_it(text: str, name: str, value: str) -> None:
    assert marks.mark(text, lambda: "ana") == header(name, value)


@pytest.mark.parametrize("text", ["a b:c", "ü:c", "(x):c"])
def test_a_key_that_is_no_header_name_is_refused(text: str) -> None:
    with pytest.raises(Usage, match="cannot be the name of a header"):
        marks.mark(text, lambda: "ana")


@pytest.mark.parametrize("value", ["a\tb", "a\x00", "x" * (marks.MOST + 1)])
def test_a_value_that_cannot_be_printed_or_is_too_long_is_refused(value: str) -> None:
    with pytest.raises(Usage, match="cannot be printed"):
        marks.mark(f"k:{value}", no_default)


@pytest.mark.parametrize(("name", "text", "condition"), [
    ("header", "X-User=Ana=1", Condition("header", "x-user", "exact", "Ana=1")),
    ("header_regex", "x-user=a.*", Condition("header", "x-user", "regex", "a.*")),
    ("cookie", "Team=blue", Condition("cookie", "Team", "exact", "blue")),
    ("query", "q=1", Condition("query", "q", "exact", "1")),
    ("path", "/api", Condition("path", "", "prefix", "/api")),
    ("path", "/a=b", Condition("path", "", "prefix", "/a=b")),
    ("path_regex", "/a/[0-9]+", Condition("path", "", "regex", "/a/[0-9]+")),
    ("host", "Shop.Example", Condition("host", "", "exact", "shop.example")),
    ("baggage", "user=ana", Condition("baggage", "user", "exact", "ana")),
])  # fmt: skip
def test_each_flag_is_a_condition(name: str, text: str, condition: Condition) -> None:
    assert marks.flag(name, text) == condition


def test_every_kind_of_flag_is_one_that_the_router_knows() -> None:
    assert {kind.place for kind in marks.FLAGS.values()} == set(PLACES)
    assert {kind.way for kind in marks.FLAGS.values()} <= set(WAYS)


@pytest.mark.parametrize(("name", "text"), [
    ("header", "x-user"), ("header", "=ana"), ("header", "x-user="), ("path", ""), ("host", ""), ("cookie", "a"),
])  # fmt: skip
def test_a_flag_without_name_or_value_is_refused_with_its_form(name: str, text: str) -> None:
    with pytest.raises(Usage) as told:
        marks.flag(name, text)

    assert told.value.try_[0].startswith(f"--{name} ")


def test_a_regular_expression_that_is_none_is_refused() -> None:
    with pytest.raises(Usage, match="is not a regular expression"):
        marks.flag("header_regex", "x=(")


def test_a_mark_alone_flags_alone_or_both() -> None:
    blue, path = header("version", "blue"), Condition("path", "", "prefix", "/api")

    assert marks.match("blue", [], no_default) == Match("blue", (blue,))
    assert marks.match(None, [], lambda: "ana") == Match("ana", (header("version", "ana"),))
    assert marks.match("", [], lambda: "ana").conditions == (header("version", "ana"),)
    assert marks.match(None, [("path", "/api")], lambda: "ana").conditions == (path,)
    both = marks.match("blue", [("path", "/api"), ("path", "/api")], no_default)
    assert both == Match("version: blue and path beginning with /api and path beginning with /api", (blue, path))


def test_a_name_for_people_is_never_too_long() -> None:
    many = [("header", f"x-{number}={'v' * 500}") for number in range(5)]

    assert len(marks.match(None, many, no_default).mark) == marks.MOST


def test_a_match_reads_as_words() -> None:
    flags = [
        ("header_regex", "x-user=a.*"), ("cookie", "a=b"), ("query", "q=1"), ("path", "/api"), ("path_regex", "/a+"),
        ("host", "shop"), ("baggage", "u=ana"),
    ]  # fmt: skip

    assert str(marks.match("blue", flags, no_default)) == (
        "version: blue and x-user: matching a.* and cookie a=b and query q=1 and path beginning with /api "
        "and path matching /a+ and host shop and baggage u=ana"
    )
    assert str(marks.EVERYTHING) == "all requests"


def test_a_line_of_curl_sends_such_a_request() -> None:
    flags = [("cookie", "a=b c"), ("query", "q=1"), ("path", "/api"), ("host", "shop"), ("baggage", "u=it's")]

    assert marks.curl(marks.match("blue", flags, no_default), "127.0.0.1:8000") == (
        "curl -H 'version: blue' --cookie 'a=b c' -H 'Host: shop' -H 'baggage: u=it'\\''s' "
        "'http://127.0.0.1:8000/api?q=1'"
    )
    assert marks.curl(marks.EVERYTHING, "x:1") == "curl http://x:1/"
    assert marks.curl(marks.match(None, [("path_regex", "/a+")], no_default), "x:1") == "curl http://x:1/"


@pytest.mark.parametrize(("text", "word"), [("a", "a"), ("a b", "'a b'"), ("", "''"), ("$x", "'$x'"), ("ü", "'ü'")])
def test_a_word_of_a_shell(text: str, word: str) -> None:
    assert marks.quoted(text) == word


@pytest.mark.parametrize(
    ("flags", "added", "left"),
    [
        ([("header", "X-Dev=ana")], (("x-dev", "ana"),), 0),
        ([("header", "a=1"), ("baggage", "u=ana"), ("baggage", "v=2")], (("a", "1"), ("baggage", "u=ana,v=2")), 0),
        ([("header", "a=1"), ("path", "/api"), ("cookie", "c=d"), ("header_regex", "b=.*")], (("a", "1"),), 3),
        ([("header", "host=shop"), ("query", "q=1"), ("host", "shop")], (), 3),
    ],
)
def test_what_a_share_link_can_add(flags: list[tuple[str, str]], added: tuple[tuple[str, str], ...], left: int) -> None:
    match = marks.match(None, flags, str)

    assert marks.added(match) == added
    assert len(marks.cannot_be_added(match)) == left
