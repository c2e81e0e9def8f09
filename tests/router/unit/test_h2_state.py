"""The relay between a client and its upstreams: what passes, what is answered at once, and when things end."""

from __future__ import annotations

import pytest

from ktpy_router.config import Config
from ktpy_router.h2 import frames, hpack
from ktpy_router.h2.frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    LARGEST_WINDOW,
    PING,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    Code,
)
from ktpy_router.h2.limits import MOST_STREAMS
from tests.router.unit.h2kit import ANA, GET, GRPC, OK, POST, Bench, ready, row


def kinds(found: list[frames.Frame]) -> list[int]:  # type: ignore[name-defined]
    return [frame.kind for frame in found]


def test_the_first_words_announce_no_dynamic_table_and_a_large_window() -> None:
    settings, window = Bench().got()

    assert frames.settings_of(settings.payload)[frames.HEADER_TABLE_SIZE] == 0
    assert frames.settings_of(settings.payload)[frames.MAX_CONCURRENT_STREAMS] == MOST_STREAMS
    assert (window.kind, window.stream) == (WINDOW_UPDATE, 0)


def test_a_stream_opens_a_connection_and_has_the_same_id_there() -> None:
    bench = Bench()
    bench.greet()
    bench.open(5)
    (link,) = bench.dialled
    assert link.upstream is bench.port.default

    bench.connect()
    (head,) = bench.requests(link)

    assert (head.kind, head.flags, head.stream) == (HEADERS, END_STREAM | END_HEADERS, 5)
    assert bench.peers[link].fields(head) == list(GET)


def test_the_upstream_is_greeted_first() -> None:
    bench = Bench()
    bench.greet((frames.INITIAL_WINDOW_SIZE, 1000))
    bench.open(1)
    link = bench.connect()

    assert b"".join(link.out).startswith(frames.PREFACE)
    settings, window, _, ack = bench.at(link)
    assert frames.settings_of(settings.payload) == {1: 0, 2: 0, 4: 1000}
    assert (window.kind, window.stream) == (WINDOW_UPDATE, 0)
    assert (ack.kind, ack.flags) == (SETTINGS, frames.ACK)


def test_frames_pass_as_they_are_once_both_sides_keep_no_table() -> None:
    bench, link = ready()
    request = bench.client.head(3, GRPC, end=False) + frames.data(3, b"ping", end=True)
    bench.send(request)
    assert b"".join(link.out) == request
    link.out.clear()

    answer = bench.peers[link].head(3, OK, end=False) + frames.data(3, b"pong", end=False)
    answer += bench.peers[link].head(3, (("grpc-status", "0"),))
    bench.relay.link_received(link, answer)

    assert b"".join(bench.relay.to_client) == answer
    assert not bench.relay.streams


def test_frames_pass_as_they_are_wherever_the_bytes_are_cut() -> None:
    bench, link = ready()
    request = bench.client.head(3, GRPC, end=False) + frames.data(3, b"ping", end=True) + bench.client.head(5, GET)
    for i in range(len(request)):
        bench.relay.client_received(request[i : i + 1])
    assert b"".join(link.out) == request

    answer = bench.peers[link].head(5, OK, end=False) + frames.data(5, b"pong", end=True)
    for i in range(len(answer)):
        bench.relay.link_received(link, answer[i : i + 1])
    assert b"".join(bench.relay.to_client) == answer


def test_blocks_of_a_dynamic_table_are_written_anew() -> None:
    bench = Bench([row()])
    bench.greet(acknowledge=False)
    bench.open(1, ANA)
    bench.open(3, ANA)
    (link,) = bench.dialled
    assert link.upstream.name == "10.0.0.9:3"
    bench.connect(link, acknowledge=False)
    peer = bench.peers[link]

    assert [peer.fields(head) for head in bench.requests(link)] == [list(ANA)] * 2

    answer = (*OK, ("server", "mine"))
    got = bench.answer(link, peer.head(1, answer) + peer.head(3, answer))
    assert [bench.client.fields(head) for head in got] == [list(answer)] * 2


def test_a_block_that_resizes_the_table_after_its_limit_became_none_ends_the_connection() -> None:
    bench, _ = ready()

    (goaway,) = bench.send(frames.headers(3, b"\x3f\xe1\x1f\x82", end=True))

    assert frames.goaway_of(goaway.payload) == (3, Code.COMPRESSION_ERROR)


def test_the_table_is_emptied_once_at_each_decoder() -> None:
    bench, link = ready()
    bench.open(3)
    (head,) = bench.requests(link)

    assert not head.payload.startswith(hpack.EMPTY_TABLE), "the first one had it"


def test_rows_take_their_streams_and_the_rest_goes_to_the_original() -> None:
    bench, default = ready([row()])
    bench.open(3, ANA)
    bench.open(5)
    assert [f.stream for f in bench.requests(default)] == [5]

    mine = bench.connect()
    assert [f.stream for f in bench.requests(mine)] == [3]
    assert bench.port.row_stats(bench.port.table.rows[0]).requests == 1
    assert bench.port.default_stats.requests == 2


def test_a_change_of_routes_counts_from_the_next_stream_on() -> None:
    bench, default = ready()
    bench.open(3, ANA)
    bench.port.set([row()])
    bench.open(5, ANA)

    assert [f.stream for f in bench.requests(default)] == [3]
    assert bench.dialled[-1].upstream.name == "10.0.0.9:3"


def test_headers_that_a_row_adds_go_upstream() -> None:
    bench, _ = ready([row(add={"x-ktpy": "1"})])
    bench.open(3, ANA)
    mine = bench.connect()

    (head,) = bench.requests(mine)
    assert bench.peers[mine].fields(head) == [*ANA, ("x-ktpy", "1")]


def test_the_clients_address_is_appended_when_asked() -> None:
    bench = Bench(forwarded=hpack.literal(b"x-forwarded-for", b"10.1.2.3"))
    bench.greet()
    bench.open(1, (*GET, ("x-forwarded-for", "1.1.1.1")))
    link = bench.connect()
    (head,) = bench.requests(link)

    assert bench.peers[link].fields(head)[-2:] == [("x-forwarded-for", "1.1.1.1"), ("x-forwarded-for", "10.1.2.3")]


def test_trailers_and_interim_answers_pass() -> None:
    bench, link = ready()
    peer = bench.peers[link]
    bench.open(3, POST, end=False)
    bench.send(frames.data(3, b"x", end=False) + bench.client.head(3, (("x-sum", "1"),)))
    head, data, trailers = bench.requests(link)
    assert peer.fields(trailers) == [("x-sum", "1")]
    assert trailers.flags & END_STREAM

    peer.fields(head)
    got = bench.answer(link, peer.head(3, ((":status", "103"),), end=False) + peer.head(3, OK))
    assert [bench.client.fields(frame)[0][1] for frame in got] == ["103", "200"]


def test_long_blocks_are_continued_to_both_sides() -> None:
    bench, link = ready()
    long = (*GET, ("x-long", "~" * 20000))
    bench.open(3, long)
    found = bench.requests(link)
    assert kinds(found) == [HEADERS, CONTINUATION]
    assert bench.peers[link].fields(found[0]._replace(payload=b"".join(f.payload for f in found))) == list(long)

    got = bench.answer(link, bench.peers[link].head(3, (*OK, ("x-long", "~" * 20000))))
    assert kinds(got) == [HEADERS, CONTINUATION]


def test_a_head_that_is_too_long_is_answered_on_its_stream() -> None:
    bench, _ = ready(config=Config(head_bytes=1000))

    got = bench.open(3, (*GET, ("x-long", "~" * 1100)))

    assert bench.client.fields(got[0])[0] == (":status", "431")
    assert not bench.relay.ended


@pytest.mark.parametrize("end", [True, False])
def test_resets_pass_in_both_directions(end: bool) -> None:
    bench, link = ready()
    bench.open(3, POST, end=end)
    bench.open(5, POST, end=end)
    bench.at(link)

    bench.send(frames.rst_stream(3, Code.CANCEL))
    assert bench.at(link) == [(RST_STREAM, 0, 3, b"\0\0\0\x08")]

    assert bench.answer(link, frames.rst_stream(5, Code.INTERNAL_ERROR)) == [(RST_STREAM, 0, 5, b"\0\0\0\x02")]
    assert not bench.relay.streams
    assert bench.port.default_stats.open == 0


def test_what_was_on_its_way_to_a_stream_that_the_upstream_ended_is_dropped() -> None:
    bench, link = ready()
    bench.open(3, POST, end=False)
    bench.answer(link, frames.rst_stream(3, Code.CANCEL))

    got = bench.send(frames.data(3, b"late", end=False) + bench.client.head(3, (("x", "y"),)))

    assert got == []
    assert not bench.relay.ended


def test_an_answer_before_the_end_of_the_request_passes_with_its_reset() -> None:
    bench, link = ready()
    bench.open(3, POST, end=False)
    bench.answer(link, bench.peers[link].head(3, OK))

    assert kinds(bench.answer(link, frames.rst_stream(3, Code.NO_ERROR))) == [RST_STREAM]
    assert not bench.relay.streams
    assert bench.port.default_stats.errors == 0


def test_pings_are_answered_on_each_hop() -> None:
    bench, link = ready()
    bench.at(link)

    assert bench.send(frames.frame(PING, 0, 0, b"12345678")) == [(PING, frames.ACK, 0, b"12345678")]
    bench.answer(link, frames.frame(PING, 0, 0, b"abcdefgh"))
    assert bench.at(link) == [(PING, frames.ACK, 0, b"abcdefgh")]


def test_priorities_and_unknown_frames_do_not_pass() -> None:
    bench, link = ready()

    assert bench.send(frames.frame(PRIORITY, 0, 3, b"\0\0\0\1\x10") + frames.frame(0xBE, 0xFF, 7, b"x")) == []
    assert bench.at(link) == []
    assert bench.answer(link, frames.frame(0xA, 0, 0, b"altsvc")) == []


def test_more_streams_than_announced_are_refused() -> None:
    bench, link = ready()
    for i in range(MOST_STREAMS):
        bench.open(3 + 2 * i)

    assert bench.open(3 + 2 * MOST_STREAMS) == [(RST_STREAM, 0, 3 + 2 * MOST_STREAMS, b"\0\0\0\x07")]


def test_streams_wait_for_the_limit_of_the_upstream() -> None:
    bench, link = ready([], (frames.MAX_CONCURRENT_STREAMS, 2))
    for sid in (3, 5, 7, 9):
        bench.open(sid)
    assert [f.stream for f in bench.requests(link)] == [3, 5]

    bench.answer(link, bench.peers[link].head(5, OK))
    assert [f.stream for f in bench.requests(link)] == [7]

    bench.send(frames.rst_stream(9, Code.CANCEL))
    bench.answer(link, bench.peers[link].head(3, OK) + bench.peers[link].head(7, OK))
    assert bench.requests(link) == []
    assert not bench.relay.streams


def test_a_refused_stream_is_sent_once_more_on_another_connection() -> None:
    bench, link = ready()
    bench.open(3)

    assert bench.answer(link, frames.rst_stream(3, Code.REFUSED_STREAM)) == []
    again = bench.connect()
    assert again is not link
    assert [f.stream for f in bench.requests(again)] == [3]
    assert bench.hung_up == [link]


def test_extended_connect_is_announced_when_the_original_can() -> None:
    bench = Bench()
    bench.greet()
    bench.open(1)
    bench.connect(None, (frames.ENABLE_CONNECT_PROTOCOL, 1))

    assert frames.settings_of(bench.client.seen[-1].payload) == {8: 1}


def test_connect_passes_both_ways() -> None:
    bench, link = ready()
    bench.open(3, ((":method", "CONNECT"), (":authority", "a:1")), end=False)
    bench.answer(link, bench.peers[link].head(3, OK, end=False))
    bench.at(link)

    bench.send(frames.data(3, b"up", end=False))
    assert bench.at(link) == [(DATA, 0, 3, b"up")]
    assert bench.answer(link, frames.data(3, b"down", end=False)) == [(DATA, 0, 3, b"down")]


def test_mirror_rows_get_a_complete_copy() -> None:
    bench, link = ready([row(mirror=True)])
    bench.open(3, (*POST, ("version", "ana")), end=False)
    bench.send(frames.data(3, b"body", end=True))
    bench.open(5)

    ((copy, target),) = bench.copies
    assert target.id == "ana"
    assert copy.parts == [(False, b"body", True)]
    assert [f.stream for f in bench.requests(link)] == [3, 3, 5]


def test_counters_of_a_stream() -> None:
    bench, link = ready()
    bench.relay.now = 10.0
    bench.open(3, POST, end=False)
    bench.send(frames.data(3, b"12345", end=True))
    assert bench.port.default_stats.open == 1
    bench.relay.now = 10.5
    bench.answer(link, bench.peers[link].head(3, OK, end=False) + frames.data(3, b"123", end=True))

    stats = bench.port.default_stats
    assert (stats.requests, stats.open, stats.bytes_in, stats.bytes_out, stats.errors) == (2, 0, 5, 3, 0)
    assert stats.histogram[(500_000).bit_length()] == 1


def test_going_takes_two_steps() -> None:
    bench, link = ready()
    bench.open(3)
    bench.relay.drain()
    (first,) = bench.got()
    assert frames.goaway_of(first.payload) == (LARGEST_WINDOW, Code.NO_ERROR)

    bench.open(5)
    bench.relay.now = 1.1
    bench.relay.tick()
    (second,) = bench.got()
    assert (second.kind, frames.goaway_of(second.payload)[0]) == (GOAWAY, 5)
    assert bench.open(7) == [(RST_STREAM, 0, 7, b"\0\0\0\x07")]
    assert not bench.relay.ended

    bench.answer(link, bench.peers[link].head(3, OK) + bench.peers[link].head(5, OK))
    assert bench.relay.ended


def test_an_idle_connection_ends_and_a_busy_one_does_not() -> None:
    busy, _ = ready()
    busy.open(3)
    idle, link = ready()
    for bench in (busy, idle):
        bench.relay.now = 1e6
        bench.relay.tick()

    assert not busy.relay.ended
    assert idle.relay.ended
    assert frames.goaway_of(idle.got()[-1].payload) == (1, Code.NO_ERROR)


def test_an_idle_upstream_connection_is_closed_before_the_client_is() -> None:
    bench, link = ready()
    bench.relay.now = 60.0
    bench.relay.tick()

    assert bench.hung_up == [link]
    assert [f.kind for f in bench.at(link)] == [GOAWAY]
    bench.open(3)
    assert len(bench.dialled) == 2


def test_half_a_greeting_and_half_a_head_have_a_limit() -> None:
    silent = Bench()
    silent.send(frames.PREFACE)
    slow, _ = ready()
    slow.relay.now = 1.0
    slow.send(frames.frame(HEADERS, 0, 3, b"\x82"))
    for bench in (silent, slow):
        bench.relay.now = 11.5
        bench.relay.tick()
        assert bench.relay.ended


def test_a_client_that_leaves_gets_its_answers_first() -> None:
    bench, link = ready()
    bench.open(3)
    bench.send(frames.goaway(0, Code.NO_ERROR))
    assert not bench.relay.ended

    bench.answer(link, bench.peers[link].head(3, OK))
    assert bench.relay.ended


def test_a_client_that_is_gone_cancels_its_streams() -> None:
    bench, link = ready()
    bench.open(3)
    bench.at(link)
    bench.relay.client_lost()

    assert [f.kind for f in bench.at(link)] == [RST_STREAM, GOAWAY]
    assert bench.hung_up == [link]
    assert bench.port.default_stats.open == 0
