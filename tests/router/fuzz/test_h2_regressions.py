"""What the HTTP/2 fuzzing has found, each as small as it gets."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from struct import pack

import pytest

pytest.importorskip("h2")

from ktpy_router.h2.link import Link
from tests.router.fuzz import h2_frames
from tests.router.fuzz.h2_frames import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    Frame,
)
from tests.router.fuzz.h2_light import Bench
from tests.router.fuzz.wires import ANA, ORIGINAL, SteppedLoop

ACK = bytes(Frame(SETTINGS, 1, 0, b""))
GET = b"\x82\x86\x84\x01\x04shop"
MARK = b"\x00\x07version\x03ana"
BROKEN = b"\x88\x00\x01a\x82\xff\xff"
"""A value that is no Huffman string: EOS in it (RFC 7541 section 5.2)."""


class Quiet(Bench):
    """Upstreams that connect, and say what the test says."""

    def _answer(self) -> bool:
        for link in list(self.got):
            self._collect(link)
        return False

    def link(self, name: str) -> Link:
        return next(link for link in self.got if link.upstream.name == name)

    def said(self, link: Link) -> list[Frame]:
        self._collect(link)
        return h2_frames.split(self.got[link])[1]

    def heard(self) -> list[Frame]:
        return h2_frames.split(self.take())[1]


@pytest.fixture
def bench() -> Iterator[Quiet]:
    with SteppedLoop() as loop:
        yield Quiet(Random(0), loop, wild="")


def head(stream: int, block: bytes = GET, *, end: bool = True) -> bytes:
    return bytes(Frame(HEADERS, END_HEADERS | (END_STREAM if end else 0), stream, block))


def window(size: int) -> bytes:
    return bytes(Frame(SETTINGS, 0, 0, pack(">HI", 4, size)))


def begin(bench: Quiet, *requests: bytes) -> None:
    bench.client_says(h2_frames.PREFACE + bytes(Frame(SETTINGS, 0, 0, b"")) + ACK + b"".join(requests))
    bench.heard()


def test_a_larger_window_is_acknowledged_before_anybody_uses_it(bench: Quiet) -> None:
    """A client counts with the old window until the acknowledgement (RFC 9113 section 6.5.3). That waited for all
    upstreams, while the first of them sent more: the client had to end the connection."""
    begin(bench, head(1), head(3, GET + MARK))
    bench.client_says(window(200_000))

    ours = bench.heard()

    assert Frame(SETTINGS, 1, 0, b"") in ours


def test_a_smaller_window_is_acknowledged_when_all_upstreams_know(bench: Quiet) -> None:
    begin(bench, head(1), head(3, GET + MARK))
    bench.client_says(window(100))

    bench.relay.link_received(bench.link(ANA), ACK)
    assert Frame(SETTINGS, 1, 0, b"") not in bench.heard()

    bench.relay.link_received(bench.link(ORIGINAL), ACK)
    assert Frame(SETTINGS, 1, 0, b"") in bench.heard()


def test_the_acknowledgement_of_a_smaller_window_does_not_overtake_what_was_sent_before(bench: Quiet) -> None:
    """DATA that waited for the connection's window came after it, on a stream that had no window left by then."""
    bench.client_says(h2_frames.PREFACE + window(200_000) + ACK + head(1))
    link = bench.link(ORIGINAL)
    data = bytes(Frame(DATA, 0, 1, bytes(16384)))
    bench.relay.link_received(link, head(1, b"\x88", end=False) + 5 * data)
    bench.heard()

    bench.client_says(window(100))
    bench.relay.link_received(link, ACK)
    bench.client_says(bytes(Frame(WINDOW_UPDATE, 0, 0, pack(">I", 100_000))))

    kinds = [(frame.kind, frame.flags) for frame in bench.heard()]
    assert kinds.count((SETTINGS, 1)) == 1
    assert all(kind != DATA for kind, _ in kinds[kinds.index((SETTINGS, 1)) :])
    assert (DATA, 0) in kinds


@pytest.mark.parametrize("first", [True, False], ids=["first answer", "later answer"])
def test_a_block_that_cannot_be_decoded_ends_the_upstream_alone(bench: Quiet, first: bool) -> None:
    """Names were decoded and values were not: the client would have to end the connection with all its streams."""
    begin(bench, head(1, GET + MARK), head(3, GET + MARK))
    link = bench.link(ANA)
    if not first:
        bench.relay.link_received(link, head(1, b"\x88"))
        bench.heard()

    bench.relay.link_received(link, head(3, BROKEN))

    assert not any(BROKEN in frame.payload for frame in bench.heard())
    assert link.gone


def test_a_request_whose_rest_nobody_wants_is_reset_at_its_upstream(bench: Quiet) -> None:
    """The answer was complete, and the rest of the request held for want of window. It was dropped without a word: the
    upstream had the stream open for ever, and was sent more streams than it takes."""
    bench.client_says(h2_frames.PREFACE + bytes(Frame(SETTINGS, 0, 0, b"")) + ACK + head(1, end=False))
    link = bench.link(ORIGINAL)
    bench.relay.link_received(link, window(0))
    bench.relay.link_received(link, head(1, b"\x88"))
    bench.client_says(bytes(Frame(DATA, END_STREAM, 1, b"held")))

    assert 1 not in bench.relay.streams
    assert any(frame.kind == RST_STREAM and frame.stream == 1 for frame in bench.said(link))


def test_a_reset_is_not_answered_with_a_reset(bench: Quiet) -> None:
    """RFC 9113 section 5.4.2; of a stream that held a part of its request."""
    bench.client_says(h2_frames.PREFACE + bytes(Frame(SETTINGS, 0, 0, b"")) + ACK + head(1, end=False))
    link = bench.link(ORIGINAL)
    bench.relay.link_received(link, window(0))
    bench.client_says(bytes(Frame(DATA, END_STREAM, 1, b"held")))

    bench.relay.link_received(link, bytes(Frame(RST_STREAM, 0, 1, b"\0\0\0\x08")))

    assert not any(frame.kind == RST_STREAM for frame in bench.said(link))
    assert [frame.stream for frame in bench.heard() if frame.kind == RST_STREAM] == [1]


def test_the_original_is_tried_though_its_breaker_is_open(bench: Quiet) -> None:
    """There is nobody else to ask. Three clients whose blocks cannot be decoded, so that the original hangs up on
    them, would take it from all others."""
    bench.relay.port.default.breaker.failed_connect()

    begin(bench, head(1))

    assert [link.upstream.name for link in bench.got] == [ORIGINAL]
