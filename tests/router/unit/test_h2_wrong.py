"""What a wrong upstream sends ends its own stream or connection: the client sees nothing that it must not be sent."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from ktpy_router.h2 import frames
from ktpy_router.h2.frames import (
    CONTINUATION,
    DATA,
    GOAWAY,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    Code,
    data,
    frame,
    headers,
    settings,
    window_update,
    word,
)
from ktpy_router.h2.link import Link
from tests.router.unit.h2kit import ANA, GET, POST, Bench, Frame, ready, row

OK = b"\x88"
HINTS = b"\x08\x03103"
CREATED = b"\x08\x03201"
TRAILERS = b"\x00\x01a\x01b"
STATUS_SPELT = b"\x00\x07:status\x03200"
PATH = b"\x84"
FLOW = Code.FLOW_CONTROL_ERROR
WRONG = Code.PROTOCOL_ERROR


@pytest.fixture(params=["original", "row"])
def going(request: pytest.FixtureRequest) -> tuple[Bench, Link]:
    """Stream 3 and 5 run at the same upstream, stream 1 is done."""
    bench, link = ready([row()])
    if request.param == "row":
        bench.open(3, ANA)
        link = bench.connect()
        bench.answer(link, headers(3, OK, end=True))
        bench.at(link)
    fields = ANA if request.param == "row" else GET
    bench.open(5, fields)
    bench.open(7, fields)
    bench.at(link)
    bench.client.seen.clear()
    return bench, link


def resets(found: Sequence[Frame]) -> list[tuple[int, int]]:
    return [(f.stream, word(f.payload)) for f in found if f.kind == RST_STREAM]


def goes_on(bench: Bench, link: Link) -> None:
    """The other stream of the connection is answered, and a new one."""
    (head,) = bench.answer(link, headers(7, OK, end=True))
    assert (head.kind, head.stream) == (HEADERS, 7)
    bench.open(9, ANA if link.upstream is not bench.port.default else GET)
    (head,) = bench.answer(link, headers(9, OK, end=True))
    assert (head.kind, head.stream) == (HEADERS, 9)
    assert not bench.relay.streams
    assert not link.open
    assert not bench.relay.ended


BEFORE_THE_HEAD = {
    "DATA first": data(5, b"x", end=False),
    "DATA that ends first": data(5, b"", end=True),
    "trailers first": headers(5, TRAILERS, end=True),
    "no status": headers(5, TRAILERS, end=False),
    "no field": headers(5, b"", end=False),
    "two statuses": frame(HEADERS, 4, 5, STATUS_SPELT + STATUS_SPELT),
    "an interim answer that ends": headers(5, HINTS, end=True),
    "a request": headers(5, b"\x82\x86\x84\x41\x04shop", end=True),
}
AFTER_HINTS = {"DATA": data(5, b"x", end=False), "trailers": headers(5, TRAILERS, end=True)}
AFTER_THE_HEAD = {
    "a second head": headers(5, OK, end=False),
    "a second head that ends": headers(5, OK, end=True),
    "a second head, literally": headers(5, CREATED, end=True),
    "a second head behind a resized table": headers(5, b"\x20" + OK, end=True),
    "an interim answer": headers(5, HINTS, end=False),
    "an interim answer that ends": headers(5, HINTS, end=True),
    "trailers that end nothing": headers(5, TRAILERS, end=False),
    "no field and no end": headers(5, b"", end=False),
    "a path in trailers": headers(5, PATH, end=True),
}


@pytest.mark.parametrize("sent", BEFORE_THE_HEAD.values(), ids=BEFORE_THE_HEAD)
def test_what_may_not_come_before_a_head_becomes_a_502(going: tuple[Bench, Link], sent: bytes) -> None:
    bench, link = going
    head, *_ = bench.answer(link, sent)

    assert (":status", "502") in bench.client.fields(head)
    assert resets(bench.at(link)) == [(5, WRONG)]
    goes_on(bench, link)


@pytest.mark.parametrize("sent", AFTER_HINTS.values(), ids=AFTER_HINTS)
def test_an_interim_answer_is_no_head(going: tuple[Bench, Link], sent: bytes) -> None:
    bench, link = going
    (hints,) = bench.answer(link, headers(5, HINTS, end=False))
    assert hints.stream == 5

    assert resets(bench.answer(link, sent)) == [(5, Code.INTERNAL_ERROR)]
    assert resets(bench.at(link)) == [(5, WRONG)]
    goes_on(bench, link)


@pytest.mark.parametrize("sent", AFTER_THE_HEAD.values(), ids=AFTER_THE_HEAD)
def test_what_may_not_come_after_a_head_resets_its_stream(going: tuple[Bench, Link], sent: bytes) -> None:
    bench, link = going
    bench.answer(link, headers(5, OK, end=False))

    (reset,) = bench.answer(link, sent)
    assert resets([reset]) == [(5, Code.INTERNAL_ERROR)]
    assert resets(bench.at(link)) == [(5, WRONG)]
    assert bench.answer(link, data(5, b"more", end=True)) == []
    goes_on(bench, link)


@pytest.mark.parametrize("head", [OK, CREATED, b"\x20" + OK, STATUS_SPELT], ids=["200", "201", "resized", "spelt"])
def test_what_is_right_passes(going: tuple[Bench, Link], head: bytes) -> None:
    bench, link = going
    sent = headers(5, HINTS, end=False) * 2 + headers(5, head, end=False)
    sent += data(5, b"body", end=False) + headers(5, TRAILERS, end=True)
    assert [(f.kind, f.stream) for f in bench.answer(link, sent)] == [(HEADERS, 5)] * 3 + [(DATA, 5), (HEADERS, 5)]
    assert bench.at(link) == []
    goes_on(bench, link)


@pytest.mark.parametrize("sent", [headers(5, OK, end=True), data(5, b"x", end=True), data(5, b"x", end=False)])
def test_what_comes_after_the_end_is_dropped(going: tuple[Bench, Link], sent: bytes) -> None:
    bench, link = going
    assert len(bench.answer(link, headers(5, OK, end=True))) == 1
    assert bench.answer(link, sent * 2) == []
    goes_on(bench, link)


def test_what_comes_after_the_end_of_a_stream_that_the_client_has_not_ended_is_dropped() -> None:
    bench, link = ready()
    bench.open(3, POST, end=False)
    bench.answer(link, headers(3, OK, end=True))
    assert bench.answer(link, headers(3, OK, end=True) + data(3, b"x", end=False)) == []

    bench.send(data(3, b"", end=True))
    assert not bench.relay.streams


@pytest.mark.parametrize(
    "sent",
    [
        headers(11, OK, end=True),
        headers(4, OK, end=True),
        data(11, b"x", end=True),
        data(0, b"x", end=True),
        frames.rst_stream(11, 8),
        window_update(11, 1),
        frame(PUSH_PROMISE, 4, 5, b"\0\0\0\2" + OK),
        frame(CONTINUATION, 4, 5, OK),
        frame(HEADERS, 0, 5, OK) + data(5, b"x", end=True),
        frame(SETTINGS, 0, 5, b""),
        settings((INITIAL_WINDOW_SIZE, 2**31)),
        frame(DATA, 0, 5, bytes(16385)),
        frames.SETTINGS_ACK,
    ],
)
def test_what_ends_a_connection_ends_the_upstreams_and_its_streams(going: tuple[Bench, Link], sent: bytes) -> None:
    bench, link = going
    bench.answer(link, headers(7, OK, end=False))
    found = bench.answer(link, sent)

    assert [f.kind for f in bench.at(link)] == [GOAWAY]
    assert bench.hung_up == [link]
    assert resets(found) == [(7, Code.INTERNAL_ERROR)]
    assert (":status", "502") in bench.client.fields(next(f for f in found if f.stream == 5))
    assert {f.stream for f in found} == {5, 7}
    assert not bench.relay.ended


def test_a_stream_that_waits_for_its_turn_cannot_be_answered() -> None:
    bench, link = ready([], (frames.MAX_CONCURRENT_STREAMS, 1))
    bench.open(3)
    bench.open(5)
    found = bench.answer(link, headers(5, OK, end=True))

    assert [f.kind for f in bench.at(link)][-1] == GOAWAY
    assert bench.hung_up == [link]
    assert (":status", "200") not in [field for f in found if f.kind == HEADERS for field in bench.client.fields(f)]


def test_more_than_the_clients_window_resets_its_stream(going: tuple[Bench, Link]) -> None:
    bench, link = going
    bench.send(window_update(0, 1 << 20))
    bench.answer(link, headers(5, OK, end=False))
    bench.send(window_update(5, 1))
    bench.at(link)
    found = bench.answer(link, data(5, bytes(65536), end=False))
    assert sum(len(f.payload) for f in found) == 65536

    (reset,) = bench.answer(link, data(5, b"x", end=True))
    assert resets([reset]) == [(5, Code.INTERNAL_ERROR)]
    assert resets(bench.at(link)) == [(5, FLOW)]
    goes_on(bench, link)


def test_credit_from_before_the_answer_counts(going: tuple[Bench, Link]) -> None:
    bench, link = going
    bench.send(window_update(5, 10) + window_update(0, 10))
    found = bench.answer(link, headers(5, OK, end=False) + data(5, bytes(65545), end=True))

    assert sum(len(f.payload) for f in found if f.kind == DATA) == 65545
    goes_on(bench, link)


def test_the_end_needs_no_window() -> None:
    bench = Bench()
    bench.greet((INITIAL_WINDOW_SIZE, 3))
    bench.open(1)
    link = bench.connect()
    bench.answer(link, headers(1, OK, end=False) + data(1, b"abc", end=False))
    bench.send(settings((INITIAL_WINDOW_SIZE, 0)))
    bench.answer(link, frames.SETTINGS_ACK)

    (end,) = bench.answer(link, data(1, b"", end=True))
    assert (end.kind, end.flags) == (DATA, frames.END_STREAM)


@pytest.mark.parametrize("acknowledged", [True, False])
def test_a_smaller_window_holds_from_its_acknowledgement_on(acknowledged: bool) -> None:
    """Or from the end of our patience: an upstream that goes on with the old one is at fault then."""
    bench, link = ready()
    bench.open(3)
    bench.answer(link, headers(3, OK, end=False))
    bench.send(settings((INITIAL_WINDOW_SIZE, 100)))
    assert len(bench.answer(link, data(3, bytes(101), end=False))) == 1, "on its way"
    bench.send(window_update(3, 101))
    if acknowledged:
        bench.answer(link, frames.SETTINGS_ACK)
    else:
        bench.relay.now = 6.0
        bench.relay.tick()
    assert bench.got() or acknowledged
    assert len(bench.answer(link, data(3, bytes(100), end=False))) == 1

    assert resets(bench.answer(link, data(3, b"x", end=False))) == [(3, Code.INTERNAL_ERROR)]
    assert resets(bench.at(link)) == [(3, FLOW)]


def test_a_window_that_shrinks_and_grows_is_not_used_before_its_acknowledgement() -> None:
    """Two upstreams: the quick one must not hear of the larger window while the slow one delays our acknowledgement."""
    bench, quick = ready([row()])
    bench.open(3, ANA)
    slow = bench.connect()
    bench.at(quick)
    bench.at(slow)
    bench.send(settings((INITIAL_WINDOW_SIZE, 10)) + settings((INITIAL_WINDOW_SIZE, 200_000)))
    assert bench.got() == []
    assert told(bench.at(quick)) == [10]

    assert bench.answer(quick, frames.SETTINGS_ACK) == []
    assert bench.at(quick) == []
    assert bench.answer(slow, frames.SETTINGS_ACK) == [(SETTINGS, frames.ACK, 0, b"")] * 2
    assert told(bench.at(quick)) == [200_000]
    assert told(bench.at(slow)) == [10, 200_000]
    bench.send(window_update(0, 1 << 20))
    found = bench.answer(slow, headers(3, OK, end=False) + data(3, bytes(200_000), end=True))
    assert sum(len(f.payload) for f in found if f.kind == DATA) == 200_000


def test_a_connection_that_is_made_meanwhile_hears_each_size_in_its_turn() -> None:
    bench, first = ready([row()])
    bench.at(first)
    bench.send(settings((INITIAL_WINDOW_SIZE, 10)) + settings((INITIAL_WINDOW_SIZE, 200_000)))
    bench.open(3, ANA)
    late = bench.connect(acknowledge=False)
    assert told(bench.at(late)) == [10]

    bench.answer(first, frames.SETTINGS_ACK)
    assert told(bench.at(late)) == [200_000]


def test_a_window_of_an_upstream_that_shrinks_and_grows_is_kept_to() -> None:
    bench, link = ready()
    bench.open(3, POST, end=False)
    bench.at(link)
    bench.send(data(3, bytes(1000), end=False))
    bench.at(link)
    bench.answer(link, settings((INITIAL_WINDOW_SIZE, 500)))
    bench.send(data(3, bytes(1000), end=False))
    assert [f.kind for f in bench.at(link)] == [SETTINGS]

    bench.answer(link, settings((INITIAL_WINDOW_SIZE, 1500)))
    assert sum(len(f.payload) for f in bench.at(link) if f.kind == DATA) == 500


@pytest.mark.parametrize("answered", [True, False])
def test_a_client_that_lets_a_window_overflow_loses_the_stream_only(answered: bool) -> None:
    bench, link = ready()
    bench.open(3)
    if answered:
        bench.answer(link, headers(3, OK, end=False))
    bench.at(link)

    assert resets(bench.send(window_update(3, 2**31 - 1))) == [(3, FLOW)]
    assert resets(bench.at(link)) == [(3, FLOW)]


def told(found: Sequence[Frame]) -> list[int]:
    """The initial windows in SETTINGS."""
    said = [frames.settings_of(f.payload) for f in found if f.kind == SETTINGS and not f.flags & frames.ACK]
    return [one[INITIAL_WINDOW_SIZE] for one in said if INITIAL_WINDOW_SIZE in one]
