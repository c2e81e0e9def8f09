"""Streams whose upstream fails: the original answers, or another connection, or an error that says why."""

from __future__ import annotations

from typing import Any

import pytest

from ktpy_router.config import Config
from ktpy_router.h2 import frames
from ktpy_router.h2.frames import DATA, GOAWAY, HEADERS, INITIAL_WINDOW_SIZE, RST_STREAM, WINDOW_UPDATE, Code
from tests.router.unit.h2kit import ANA, GET, GRPC, OK, POST, Bench, Frame, ready, row

MARKED = ("version", "ana")


def said(bench: Bench, frame: Frame) -> dict[str, str]:
    return dict(bench.client.fields(frame))


def test_a_row_whose_upstream_refuses_is_answered_by_the_original() -> None:
    bench, default = ready([row()])
    bench.open(3, (*POST, MARKED), end=False)
    bench.send(frames.data(3, b"body", end=True))
    bench.relay.dial_failed(bench.dialled[-1], "refused the connection")

    again = bench.at(default)
    assert [(f.kind, f.stream, f.payload) for f in again][1:] == [(DATA, 3, b"body")]
    (head,) = bench.answer(default, bench.peers[default].head(3, OK))
    assert said(bench, head) == {":status": "200", "ktpy-fallback": "ana"}
    stats = bench.port.row_stats(bench.port.table.rows[0])
    assert (stats.requests, stats.fallbacks, stats.errors, stats.open) == (1, 1, 0, 0)


def test_the_mark_is_on_the_answer_and_not_on_what_comes_before_or_after_it() -> None:
    bench, default = ready([row("ä b")])
    bench.open(3, (*GET, ("version", "ä b")))
    bench.relay.dial_failed(bench.dialled[-1], "refused the connection")
    peer = bench.peers[default]

    answer = peer.head(3, ((":status", "103"),), end=False) + peer.head(3, OK, end=False) + peer.head(3, (("t", "1"),))
    found = [said(bench, frame) for frame in bench.answer(default, answer)]
    assert [frame.get("ktpy-fallback") for frame in found] == [None, "%C3%A4 b", None]


def test_the_original_gets_what_the_row_adds_too() -> None:
    bench, default = ready([row(add={"x-ktpy": "1"})])
    bench.open(3, ANA)
    bench.relay.dial_failed(bench.dialled[-1], "refused the connection")
    (head,) = bench.at(default)

    assert bench.peers[default].fields(head) == [*ANA, ("x-ktpy", "1")]


def test_an_open_breaker_is_not_tried() -> None:
    bench, default = ready([row()])
    bench.port.upstream(bench.port.table.rows[0]).breaker.failed_connect()
    bench.open(3, ANA)

    assert [f.stream for f in bench.at(default)] == [3]
    assert len(bench.dialled) == 1


@pytest.mark.parametrize("fields", [GET, POST])
def test_a_fresh_connection_that_closes_before_the_answer_falls_back(fields: Any) -> None:
    bench, default = ready([row()])
    bench.open(3, (*fields, MARKED), end=False)
    mine = bench.connect()
    bench.send(frames.data(3, b"one", end=False))
    bench.relay.lost(mine, "closed the connection")
    bench.send(frames.data(3, b"two", end=True))

    assert b"".join(f.payload for f in bench.at(default) if f.kind == DATA) == b"onetwo"
    assert bench.port.upstream(bench.port.table.rows[0]).breaker._closes == 1


def test_a_stream_that_comes_late_to_the_original_needs_another_connection() -> None:
    """Ids must grow on a connection: RFC 9113, section 5.1.1."""
    bench, default = ready([row()])
    bench.open(3, ANA)
    bench.open(5, ANA)
    bench.open(7)
    bench.relay.dial_failed(bench.dialled[-1], "refused the connection")
    assert [f.stream for f in bench.at(default)] == [7]

    other = bench.connect()
    assert other.upstream is bench.port.default
    assert [f.stream for f in bench.requests(other)] == [3, 5]
    bench.answer(default, bench.peers[default].head(7, OK))
    assert bench.hung_up[-1] is default, "the older one is closed with its last stream"
    bench.open(9)
    assert [f.stream for f in bench.requests(other)] == [9]


def test_more_than_what_is_kept_cannot_be_sent_again() -> None:
    bench, default = ready([row()], config=Config(replay_bytes=10))
    bench.open(3, (*POST, MARKED), end=False)
    mine = bench.connect()
    bench.send(frames.data(3, b"12345678901", end=False))
    bench.relay.lost(mine, "closed the connection")

    head, text, reset = bench.got()
    assert said(bench, head)[":status"] == "502"
    assert said(bench, head)["ktpy-router"] == "upstream failed"
    assert b"closed the connection" in text.payload
    assert (reset.kind, reset.payload) == (RST_STREAM, b"\0\0\0\0")


def test_before_the_connection_is_there_everything_is_kept() -> None:
    bench, default = ready([row()], config=Config(replay_bytes=10))
    bench.open(3, (*POST, MARKED), end=False)
    bench.send(frames.data(3, b"12345678901", end=True))
    bench.relay.dial_failed(bench.dialled[-1], "refused the connection")

    assert b"".join(f.payload for f in bench.at(default) if f.kind == DATA) == b"12345678901"


def test_credit_that_the_client_gave_before_the_answer_is_given_to_the_original_too() -> None:
    bench, default = ready([row()])
    bench.open(3, ANA)
    bench.send(frames.window_update(3, 1000))
    mine = bench.connect()
    assert frames.window_update(3, 1000) in mine.out
    bench.relay.lost(mine, "closed the connection")

    assert [(f.kind, f.payload) for f in bench.at(default)][1] == (WINDOW_UPDATE, b"\0\0\x03\xe8")


def test_what_was_replayed_counts_in_the_windows_of_the_original() -> None:
    bench, default = ready([row()], (INITIAL_WINDOW_SIZE, 6))
    bench.open(3, (*POST, MARKED), end=False)
    mine = bench.connect()
    bench.send(frames.data(3, b"12345678", end=True))
    bench.relay.lost(mine, "closed the connection")

    assert b"".join(f.payload for f in bench.at(default) if f.kind == DATA) == b"123456"
    bench.answer(default, frames.window_update(3, 6))
    assert b"".join(f.payload for f in bench.at(default) if f.kind == DATA) == b"78"


def used(bench: Bench, fields: Any = ANA) -> Any:
    """The row's link, after it has answered once."""
    bench.open(3, fields)
    mine = bench.connect()
    bench.answer(mine, bench.peers[mine].head(3, OK))
    bench.at(mine)
    return mine


def test_a_kept_connection_that_closes_is_replaced_for_idempotent_requests() -> None:
    bench, default = ready([row()])
    mine = used(bench)
    bench.open(5, ANA)
    bench.relay.lost(mine, "closed the connection")
    again = bench.connect()

    assert again.upstream is mine.upstream
    assert [f.stream for f in bench.requests(again)] == [5]


def test_others_are_not_sent_twice() -> None:
    bench, default = ready([row()])
    mine = used(bench)
    bench.open(5, (*POST, MARKED))
    bench.relay.lost(mine, "closed the connection")

    assert said(bench, bench.got()[0])[":status"] == "502"


def test_an_answer_that_breaks_off_is_reset() -> None:
    bench, link = ready()
    bench.open(3)
    bench.answer(link, bench.peers[link].head(3, OK, end=False) + frames.data(3, b"half", end=False))
    bench.relay.lost(link, "closed the connection")

    assert bench.got() == [(RST_STREAM, 0, 3, b"\0\0\0\x02")]
    assert not bench.relay.streams


def test_an_answer_that_is_complete_is_not_reset_for_the_upload() -> None:
    bench, link = ready()
    bench.open(3, POST, end=False)
    bench.answer(link, bench.peers[link].head(3, OK))
    bench.relay.lost(link, "closed the connection")

    assert bench.got() == [(RST_STREAM, 0, 3, b"\0\0\0\0")]


def test_an_answer_that_waits_for_the_client_survives_its_connection() -> None:
    bench, link = ready()
    bench.open(3)
    bench.send(frames.window_update(3, 1000))
    bench.answer(link, bench.peers[link].head(3, OK, end=False) + frames.data(3, bytes(65000), end=False))
    bench.answer(link, frames.data(3, bytes(1000), end=True))
    bench.relay.lost(link, "closed the connection")
    assert [f.kind for f in bench.got()] == []

    (last,) = bench.send(frames.window_update(0, 1000))
    assert last.flags == frames.END_STREAM


@pytest.mark.parametrize(("is_open", "status"), [(False, "502"), (True, "503")])
def test_a_strict_row_never_falls_back(is_open: bool, status: str) -> None:
    bench, default = ready([row(strict=True)])
    if is_open:
        bench.port.upstream(bench.port.table.rows[0]).breaker.failed_connect()
        bench.open(3, ANA)
    else:
        bench.open(3, ANA)
        bench.relay.dial_failed(bench.dialled[-1], "refused the connection")
    head, text = bench.client.seen[-2:] if is_open else bench.got()

    assert said(bench, head)[":status"] == status
    assert b"(ana)" in text.payload


def test_grpc_clients_get_a_status_of_theirs() -> None:
    bench, default = ready([row(strict=True)])
    bench.open(3, (*GRPC, MARKED), end=False)
    bench.relay.dial_failed(bench.dialled[-1], "refused the connection")
    head, reset = bench.got()

    found = said(bench, head)
    assert (found[":status"], found["grpc-status"], found["content-type"]) == ("200", "14", "application/grpc")
    assert "refused the connection" in found["grpc-message"]
    assert head.flags & frames.END_STREAM
    assert reset.kind == RST_STREAM


def test_a_client_without_a_window_gets_the_reason_without_a_body() -> None:
    bench = Bench([row(strict=True)])
    bench.greet((INITIAL_WINDOW_SIZE, 3))
    bench.open(1, ANA)
    bench.relay.dial_failed(bench.dialled[-1], "refused the connection")

    (head,) = bench.got()
    assert head.flags & frames.END_STREAM
    assert said(bench, head)["ktpy-router"]


def test_a_row_that_holds_waits_for_its_upstream() -> None:
    bench, default = ready([row(hold=5)])
    bench.port.upstream(bench.port.table.rows[0]).breaker.failed_connect()
    bench.open(3, (*POST, MARKED), end=False)
    bench.send(frames.data(3, b"body", end=True))
    ((stream, upstream, seconds),) = bench.held
    assert seconds == 5

    upstream.breaker.recovered()
    bench.relay.released(stream, is_back=True)
    mine = bench.connect()
    assert [f.kind for f in bench.requests(mine)] == [HEADERS, DATA]


def test_a_row_that_holds_falls_back_in_the_end() -> None:
    bench, default = ready([row(hold=5)])
    bench.open(3, ANA)
    bench.relay.now = 1.0
    bench.relay.dial_failed(bench.dialled[-1], "did not accept")
    ((stream, _, seconds),) = bench.held
    assert seconds == 4

    bench.relay.now = 5.0
    bench.relay.released(stream, is_back=False)
    assert [f.stream for f in bench.at(default)] == [3]


def test_a_held_stream_may_be_cancelled() -> None:
    bench, default = ready([row(hold=5)])
    bench.port.upstream(bench.port.table.rows[0]).breaker.failed_connect()
    bench.open(3, ANA)
    bench.send(frames.rst_stream(3, Code.CANCEL))
    bench.relay.released(bench.held[0][0], is_back=True)

    assert len(bench.dialled) == 1


def test_when_the_original_is_down_the_answer_says_so() -> None:
    bench = Bench()
    bench.greet()
    bench.open(1)
    bench.relay.dial_failed(bench.dialled[-1], "refused the connection")

    head, text = bench.got()
    assert said(bench, head)[":status"] == "502"
    assert text.payload == b"The upstream 10.0.0.1:80 refused the connection.\n"


@pytest.mark.parametrize(
    ("words", "reason"),
    [(b"HTTP/1.1 400 Bad Request\r\n", b"speaks HTTP/1"), (b"\x15\x03\x01\0\2\2\x0a\0\0", b"does not speak HTTP/2")],
)
def test_an_upstream_of_another_protocol_is_named(words: bytes, reason: bytes) -> None:
    bench, default = ready([row()])
    bench.open(3, ANA)
    link = bench.dialled[-1]
    bench.relay.connected(link)
    head, text = bench.answer(link, words)

    assert said(bench, head)[":status"] == "502"
    assert reason in text.payload


def test_streams_above_an_upstreams_last_go_to_a_new_connection() -> None:
    bench, link = ready()
    for sid in (3, 5, 7):
        bench.open(sid, POST)
    bench.at(link)
    bench.answer(link, frames.goaway(3, Code.NO_ERROR))
    other = bench.connect()

    assert [f.stream for f in bench.requests(other)] == [5, 7]
    assert bench.answer(link, bench.peers[link].head(3, OK))[0].stream == 3
    assert bench.hung_up == [link]
    assert [f.kind for f in bench.at(link)] == [GOAWAY]


def test_a_graceful_goaway_leaves_what_runs_alone() -> None:
    bench, link = ready()
    bench.open(3)
    bench.answer(link, frames.goaway(2**31 - 1, Code.NO_ERROR))
    bench.open(5)
    other = bench.connect()

    assert other is not link
    assert [f.stream for f in bench.requests(other)] == [5]


def test_a_stream_is_not_sent_for_ever() -> None:
    bench, link = ready()
    bench.open(3)
    for _ in range(3):
        link = bench.relay.links.get(bench.port.default) or link
        if not link.up:
            bench.connect(link)
        bench.answer(link, frames.goaway(1, Code.NO_ERROR))

    assert bench.client.seen[-1] == (RST_STREAM, 0, 3, b"\0\0\0\x07")


def test_a_broken_block_of_a_developers_server_ends_only_its_own_connection() -> None:
    bench, default = ready([row()])
    mine = used(bench)
    bench.open(5, ANA)
    bench.open(7)
    got = bench.answer(mine, frames.headers(5, b"\xbe", end=True))

    assert said(bench, got[0])[":status"] == "502"
    assert not bench.relay.ended
    assert 7 in bench.relay.streams
