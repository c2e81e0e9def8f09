"""The first connection that brings bytes is looked at until its request and answer are known, and no other one."""

from __future__ import annotations

from ktpy.net.first import First, Seen

ASKED, SAID = b"GET /cart HTTP/1.1\r\n\r\n", memoryview(b"HTTP/1.1 204 No Content\r\n\r\n")


def known(first: First) -> tuple[str, str, int | None, bool]:
    return first.seen.method, first.seen.path, first.seen.status, first.seen.is_over


def test_a_request_and_its_answer() -> None:
    told: list[str] = []
    first = First(lambda: told.append("over"))
    assert first.to_laptop("a", ASKED) is first
    assert (known(first), told) == (("GET", "/cart", None, False), [])
    assert first.to_cluster("a", SAID) is None
    assert (known(first), told) == (("GET", "/cart", 204, True), ["over"])
    assert first.seen.seconds is not None


def test_in_pieces_of_one_byte() -> None:
    first = First()
    for at in range(len(ASKED)):
        assert first.to_laptop("a", ASKED[at : at + 1]) is first
    for at in range(len(b"HTTP/1.1 204")):
        assert first.to_cluster("a", SAID[at : at + 1]) is first
    assert first.to_cluster("a", SAID[12:]) is None
    assert known(first) == ("GET", "/cart", 204, True)


def test_other_connections_let_go_of_it() -> None:
    first = First()
    first.to_laptop("a", ASKED)
    assert first.to_cluster("b", SAID) is first, "it may still have the first bytes"
    assert first.to_laptop("b", ASKED) is None
    first.ended("b")
    assert known(first) == ("GET", "/cart", None, False)


def test_what_is_no_http_is_over_at_once() -> None:
    first = First()
    assert first.to_laptop("a", b"\x16\x03\x01") is None
    assert first.seen == Seen(is_over=True)


def test_a_server_that_speaks_first_or_otherwise_is_not_understood() -> None:
    first = First()
    first.to_laptop("a", b"GE")
    assert first.to_cluster("a", SAID) is None
    assert first.seen == Seen(is_over=True)
    other = First()
    other.to_laptop("a", ASKED)
    assert other.to_cluster("a", memoryview(b"+PONG\r\n")) is None
    assert known(other) == ("GET", "/cart", None, True)


def test_an_end_without_an_answer() -> None:
    first = First()
    first.to_laptop("a", ASKED)
    first.ended("a")
    assert known(first) == ("GET", "/cart", None, True)
    assert first.to_laptop("b", ASKED) is None
    assert first.to_cluster("b", SAID) is None
