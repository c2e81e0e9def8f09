"""Windows of two connections that differ: nothing is lost, nothing is sent too early, and nothing waits for ever."""

from __future__ import annotations

import random

import pytest

from ktpy_router.config import Config
from ktpy_router.h2 import frames
from ktpy_router.h2.flow import CLIENT_WINDOW, LINK_WINDOW
from ktpy_router.h2.frames import DATA, INITIAL_WINDOW_SIZE, RST_STREAM, SETTINGS, WINDOW_UPDATE
from ktpy_router.h2.link import Link
from tests.router.unit.h2kit import OK, POST, Bench, Frame, ready


def credits(found: list[Frame], stream: int) -> int:
    return sum(frames.word(f.payload) for f in found if f.kind == WINDOW_UPDATE and f.stream == stream)


def bodies(found: list[Frame], stream: int) -> bytes:
    return b"".join(f.payload for f in found if f.kind == DATA and f.stream == stream)


def test_a_smaller_window_of_the_upstream_is_kept_to() -> None:
    bench, link = ready([], (INITIAL_WINDOW_SIZE, 10))
    bench.open(3, POST, end=False)
    bench.send(frames.data(3, b"0123456789abcdef", end=True))
    assert bodies(bench.requests(link), 3) == b"0123456789"

    bench.answer(link, frames.window_update(3, 4))
    assert bodies(bench.requests(link), 3) == b"abcd"
    bench.answer(link, frames.window_update(3, 100))
    (last,) = bench.requests(link)
    assert last == (DATA, frames.END_STREAM, 3, b"ef")


def test_trailers_wait_for_the_data_before_them() -> None:
    bench, link = ready([], (INITIAL_WINDOW_SIZE, 0))
    bench.open(3, POST, end=False)
    bench.send(frames.data(3, b"0123", end=False) + bench.client.head(3, (("a", "b"),)))
    assert [f.kind for f in bench.requests(link)] == [frames.HEADERS]

    bench.answer(link, frames.window_update(3, 4))
    assert [f.kind for f in bench.requests(link)] == [DATA, frames.HEADERS]


def test_a_larger_window_of_the_upstream_is_passed_on_up_to_the_bound() -> None:
    bench, link = ready([], (INITIAL_WINDOW_SIZE, 1 << 24))
    bench.open(3, POST, end=False)
    bench.send(frames.frame(DATA, 0, 3, bytes(16384)))
    assert credits(bench.client.seen, 3) == 262144 - 65535 + 16384

    # An upstream may wait for half of its window before it gives credit: the rest of it must come, too.
    for _ in range(1000):
        bench.send(frames.frame(DATA, 0, 3, bytes(16384)))
    assert credits(bench.client.seen, 3) + 65535 - 1001 * 16384 > 128 << 10
    assert not bench.relay.ended


def test_settings_of_an_upstream_that_come_late_move_its_windows() -> None:
    bench = Bench()
    bench.greet()
    bench.open(1, POST, end=False)
    (link,) = bench.dialled
    bench.relay.connected(link)
    bench.send(frames.data(1, b"0123456789", end=False))
    bench.answer(link, frames.settings((INITIAL_WINDOW_SIZE, 12)))
    bench.send(frames.data(1, b"abcdef", end=True))

    assert bodies(bench.at(link), 1) == b"0123456789ab"
    bench.answer(link, frames.settings((INITIAL_WINDOW_SIZE, 100)))
    assert bodies(bench.at(link), 1) == b"cdef"


def test_credit_of_the_upstream_reaches_the_client() -> None:
    bench, link = ready()
    bench.open(3, POST, end=False)
    bench.send(frames.frame(DATA, 0, 3, bytes(16384)) * 3)
    assert bench.answer(link, frames.window_update(3, 49152)) == [(WINDOW_UPDATE, 0, 3, b"\0\0\xc0\0")]


def test_credit_of_the_client_reaches_the_upstream() -> None:
    bench, link = ready()
    bench.open(3)
    bench.at(link)
    bench.send(frames.window_update(3, 1000))

    assert bench.at(link) == [(WINDOW_UPDATE, 0, 3, b"\0\0\x03\xe8")]


def test_the_window_of_the_clients_connection_is_kept_to_and_nobody_overtakes() -> None:
    bench, link = ready()
    peer = bench.peers[link]
    bench.open(3)
    bench.open(5)
    bench.answer(link, peer.head(3, OK, end=False) + peer.head(5, OK, end=False))
    got = bench.answer(link, frames.frame(DATA, 0, 3, bytes(16384)) * 3)
    got = bench.answer(link, frames.frame(DATA, 0, 5, bytes(16384)) * 2 + frames.data(3, b"end", end=True))
    assert len(bodies(got, 5)) == 65535 - 3 * 16384
    got = bench.answer(link, frames.data(5, b"", end=True))
    assert got == []

    got = bench.send(frames.window_update(0, 100000))
    assert len(bodies(got, 5)) == 2 * 16384 - (65535 - 3 * 16384)
    assert bodies(got, 3) == b"end"
    assert not bench.relay.streams


def test_a_stream_that_is_over_does_not_wait_for_others() -> None:
    bench, link = ready()
    peer = bench.peers[link]
    bench.open(3, POST, end=False)
    bench.open(5)
    bench.send(frames.window_update(5, 1 << 20))
    bench.answer(link, peer.head(3, OK) + peer.head(5, OK, end=False))
    bench.answer(link, frames.frame(DATA, 0, 5, bytes(16384)) * 5)
    assert bench.relay.waiting
    bench.send(frames.data(3, b"", end=True))

    assert list(bench.relay.streams) == [5]


def test_upstreams_get_credit_for_what_the_client_took_only() -> None:
    bench, link = ready()
    bench.open(3)
    bench.send(frames.window_update(3, 1 << 20))
    bench.answer(link, bench.peers[link].head(3, OK, end=False))
    bench.at(link)
    for _ in range(40):
        bench.answer(link, frames.frame(DATA, 0, 3, bytes(16384)))
    assert credits(bench.at(link), 0) == 0, "65,535 bytes of 655,360 have left"

    bench.send(frames.window_update(0, 1 << 20))
    assert credits(bench.at(link), 0) == 40 * 16384


def test_an_upstream_that_sends_more_than_its_window_is_left() -> None:
    bench, link = ready()
    bench.open(3)
    bench.send(frames.window_update(3, 2 * LINK_WINDOW))
    bench.answer(link, bench.peers[link].head(3, OK, end=False))
    for _ in range(LINK_WINDOW // 16384):
        bench.answer(link, frames.frame(DATA, 0, 3, bytes(16384)))
    (reset,) = bench.answer(link, frames.frame(DATA, 0, 3, bytes(16384)))

    assert reset.kind == RST_STREAM
    assert bench.hung_up == [link]


def test_a_client_that_sends_more_than_its_stream_may_loses_the_stream() -> None:
    bench, link = ready()
    bench.open(3, POST, end=False)
    got = bench.send(frames.frame(DATA, 0, 3, bytes(16384)) * 4)

    assert got == [(RST_STREAM, 0, 3, b"\0\0\0\x03")]
    assert [f.kind for f in bench.at(link)][-1] == RST_STREAM


def test_a_client_that_sends_more_than_its_connection_may_is_left() -> None:
    bench, link = ready()
    bench.relay.congested(link, now=True)
    bench.relay.receive_window = 100
    bench.relay.streams.clear()
    bench.send(frames.frame(DATA, 0, 1, bytes(101)))

    assert bench.relay.ended


def test_an_upstream_that_does_not_read_stops_its_own_streams_only() -> None:
    bench, link = ready([], (INITIAL_WINDOW_SIZE, 1 << 20))
    bench.open(3, POST, end=False)
    bench.send(frames.frame(DATA, 0, 3, bytes(1000)))
    bench.relay.congested(link, now=True)
    bench.client.seen.clear()
    for _ in range(15):
        bench.send(frames.frame(DATA, 0, 3, bytes(16384)))
    assert credits(bench.client.seen, 3) == 0
    assert bench.relay.credit < CLIENT_WINDOW // 4
    bench.open(5)
    assert 5 not in [f.stream for f in bench.at(link)], "nothing more is written for it"

    bench.relay.congested(link, now=False)
    assert credits(bench.got(), 3) > 0
    assert [f.stream for f in bench.at(link)] == [5]


def test_padding_costs_no_window_for_ever() -> None:
    bench, link = ready()
    bench.open(3, POST, end=False)
    bench.send(frames.frame(DATA, frames.PADDED, 3, b"\x63x" + bytes(99)) * 600)

    assert bodies(bench.requests(link), 3) == b"x" * 600
    assert 65535 - 600 * 101 + credits(bench.client.seen, 3) > 8000


def test_a_new_initial_window_of_the_client_is_acknowledged_when_upstreams_know_it() -> None:
    bench, link = ready()
    bench.at(link)
    assert bench.send(frames.settings((INITIAL_WINDOW_SIZE, 100))) == []
    assert bench.send(frames.settings((frames.MAX_FRAME_SIZE, 65536))) == [], "in their order"
    (settings,) = bench.at(link)
    assert frames.settings_of(settings.payload) == {INITIAL_WINDOW_SIZE: 100}

    assert bench.answer(link, frames.SETTINGS_ACK) == [(SETTINGS, frames.ACK, 0, b"")] * 2


def test_an_upstream_that_does_not_acknowledge_is_not_waited_for() -> None:
    bench, link = ready()
    bench.send(frames.settings((INITIAL_WINDOW_SIZE, 100)))
    bench.relay.now = 6.0
    bench.relay.tick()
    assert bench.got() == [(SETTINGS, frames.ACK, 0, b"")]

    bench.send(frames.settings((INITIAL_WINDOW_SIZE, 50)))
    bench.relay.lost(link, "closed the connection")
    assert bench.got() == [(SETTINGS, frames.ACK, 0, b"")]


@pytest.mark.parametrize("credit", [0, 2**31 - 1])
def test_wrong_credit_of_an_upstream_resets_its_stream(credit: int) -> None:
    bench, link = ready()
    bench.open(3, POST, end=False)
    bench.at(link)
    head, *_ = bench.answer(link, frames.window_update(3, credit))

    assert (":status", "502") in bench.client.fields(head)
    (reset,) = bench.at(link)
    assert (reset.kind, reset.stream) == (RST_STREAM, 3)


class Receiver:
    """An upstream with windows of its own, which it gives back in its own steps; it counts what it gets."""

    def __init__(self, chance: random.Random, initial: int) -> None:
        self.chance = chance
        self.initial = initial
        self.left = {0: 65535}
        self.got: dict[int, bytes] = {}

    def take(self, found: list[Frame]) -> bytes:
        out = b""
        for frame in found:
            if frame.kind != DATA:
                continue
            room = self.left.setdefault(frame.stream, self.initial)
            assert len(frame.payload) <= min(room, self.left[0]), "more than the window"
            self.left[frame.stream] -= len(frame.payload)
            self.left[0] -= len(frame.payload)
            self.got[frame.stream] = self.got.get(frame.stream, b"") + frame.payload
        for stream, room in self.left.items():
            full = 65535 if stream == 0 else self.initial
            if room <= full // 2:
                out += frames.window_update(stream, full - room)
                self.left[stream] = full
        return out


@pytest.mark.parametrize("initial", [1, 1000, 65535, 65536, 300_000, 5_000_000])
@pytest.mark.parametrize("seed", range(3))
def test_uploads_arrive_whole_whatever_the_windows_are(initial: int, seed: int) -> None:
    chance = random.Random(seed)
    size = 3000 if initial < 100 else 700_000
    bench, link = ready([], (INITIAL_WINDOW_SIZE, initial), config=Config())
    receiver = Receiver(chance, initial)
    sent = {sid: chance.randbytes(size) for sid in (3, 5)}
    left = dict(sent)
    window = {0: CLIENT_WINDOW, 3: 65535, 5: 65535}
    for sid in sent:
        bench.open(sid, POST, end=False)
    for _ in range(20000):
        sid = chance.choice((3, 5))
        amount = min(chance.randrange(1, 16385), window[sid], len(left[sid]))
        if amount:
            part, left[sid] = left[sid][:amount], left[sid][amount:]
            window[sid] -= amount
            bench.send(frames.frame(DATA, 0, sid, part))
        if reply := receiver.take(bench.at(link)):
            bench.answer(link, reply)
        for frame in bench.client.seen:
            if frame.kind == WINDOW_UPDATE and frame.stream:
                window[frame.stream] += frames.word(frame.payload)
                assert window[frame.stream] <= 262144
        bench.client.seen.clear()
        if receiver.got == sent:
            break

    assert receiver.got == sent
    stream = bench.relay.streams[3]
    assert stream.held is None
    assert isinstance(stream.link, Link)
