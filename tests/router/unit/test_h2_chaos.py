"""Whatever both sides send, the machine stays whole: no exception, nothing left over, no stream that nobody has."""

from __future__ import annotations

import random

import pytest

from ktpy_router.h2 import frames
from ktpy_router.h2.flow import CLIENT_WINDOW
from tests.router.unit.h2kit import ANA, GET, GRPC, OK, POST, Bench, row

SEEDS = 400
HEADS = (GET, POST, GRPC, ANA, (*POST, ("version", "ana")), OK, (("x", "y"),))


def likely_frame(chance: random.Random, bench: Bench) -> bytes:
    """One that an implementation without faults might send."""
    last = bench.relay.client.last
    if not last:
        return frames.frame(frames.PING, 0, 0, bytes(8))
    sid = chance.choice([*bench.relay.streams, *bench.relay.streams, chance.randrange(1, last + 1, 2)])
    return chance.choice(
        (
            frames.data(sid, chance.randbytes(chance.choice((0, 1, 100, 16384))), end=chance.random() < 0.3),
            frames.data(sid, chance.randbytes(chance.choice((0, 1, 100, 16384))), end=chance.random() < 0.3),
            frames.frame(frames.DATA, frames.PADDED, sid, b"\x02abcd\0\0"),
            frames.window_update(chance.choice((0, sid)), chance.choice((1, 1000, 100_000))),
            frames.rst_stream(sid, chance.choice((0, 2, 7, 8))),
            frames.settings((frames.INITIAL_WINDOW_SIZE, chance.choice((0, 5, 65535, 1 << 20)))),
            frames.frame(frames.PING, 0, 0, bytes(8)),
        )
    )


def some_frame(chance: random.Random, peer: object, most: int) -> bytes:
    sid = chance.choice((1, 3, 5, 7, 9, 11, 0, 2, most))
    kind = chance.choice((0, 0, 0, 1, 1, 1, 1, 2, 3, 4, 5, 6, 7, 8, 8, 9, 12))
    flags = chance.choice((0, 1, 4, 5, 5, 5, 8, 0x20, 0x2D))
    payload = chance.randbytes(chance.choice((0, 4, 5, 6, 8, 8, 30)))
    if kind == frames.HEADERS:
        payload = peer.block(chance.choice(HEADS))  # type: ignore[attr-defined]
        flags &= 5
    elif kind == frames.SETTINGS and chance.random() < 0.8:
        sid, flags, payload = 0, flags & 1, b"\0\4" + chance.choice((0, 5, 65535, 1 << 20)).to_bytes(4, "big")
        payload = b"" if flags else payload
    elif kind == frames.WINDOW_UPDATE and chance.random() < 0.9:
        payload = chance.choice((1, 100, 65535, 1 << 20)).to_bytes(4, "big")
    elif kind == frames.DATA:
        payload = chance.randbytes(chance.choice((0, 1, 100, 16384)))
        flags &= 9
    elif kind == frames.GOAWAY:
        sid, payload = 0, chance.choice((0, 1, 3, 5, 2**31 - 1)).to_bytes(4, "big") + bytes(4)
    return frames.frame(kind, flags, sid, payload)


@pytest.mark.parametrize("seed", range(8))
def test_nothing_breaks_and_nothing_stays(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(SEEDS // 8):
        bench = Bench([row(hold=chance.choice((0, 1)), strict=chance.random() < 0.3)])
        bench.greet(acknowledge=chance.random() < 0.7)
        sid = 1
        for _ in range(chance.randrange(5, 80)):
            turn(bench, chance, sid)
            if chance.random() < 0.4:
                sid += 2
                if not bench.relay.ended:
                    bench.open(sid, chance.choice(HEADS[:5]), end=chance.random() < 0.5)
            whole(bench)
        bench.relay.client_lost()
        assert not bench.relay.streams
        assert not bench.relay.all_links
        stats = [bench.port.default_stats, *(bench.port.row_stats(r) for r in bench.port.table.rows)]
        assert [s.open for s in stats] == [0, 0]
        assert sum(sum(s.histogram) for s in stats) == sum(s.requests for s in stats)


def turn(bench: Bench, chance: random.Random, sid: int) -> None:
    relay = bench.relay
    relay.now += chance.choice((0.0, 0.001, 0.1))
    links = [link for link in bench.dialled if not link.gone]
    match chance.randrange(9):
        case 0 if links:
            link = chance.choice(links)
            if not link.up:
                relay.dial_failed(link, "refused the connection")
            else:
                relay.lost(link, "closed the connection")
        case 1 if bench.held:
            relay.released(bench.held.pop(0)[0], is_back=chance.random() < 0.5)
        case 2 if links:
            relay.congested(chance.choice(links), now=chance.random() < 0.5)
        case 3:
            relay.tick()
        case 4 | 5 | 6 if links:
            link = chance.choice(links)
            if not link.up:
                bench.connect(link, acknowledge=chance.random() < 0.7)
            wild = chance.random() < 0.02
            bench.answer(link, some_frame(chance, bench.peers[link], sid) if wild else likely_frame(chance, bench))
            if not link.gone and chance.random() < 0.7:
                bench.answer(
                    link, bench.peers[link].head(chance.randrange(1, sid + 2, 2), OK, end=chance.random() < 0.5)
                )
        case _:
            wild = chance.random() < 0.02
            bench.send(some_frame(chance, bench.client, sid) if wild else likely_frame(chance, bench))
    for link in bench.dialled:
        bench.at(link)


def whole(bench: Bench) -> None:
    """What must hold between any two turns."""
    relay = bench.relay
    for link in relay.all_links:
        launched = [s for s in relay.streams.values() if s.link is link and s not in link.queue]
        assert link.open == len(launched)
        assert sorted(s.id for s in link.queue) == [s.id for s in link.queue]
        assert all(relay.streams.get(s.id) is s for s in link.queue)
        assert all(s.id <= link.last for s in launched)
    for stream in relay.streams.values():
        assert not (stream.client_ended and stream.upstream_ended)
        assert stream.link is None or not stream.link.gone or stream.upstream_done
        assert stream.receive_window <= 262144
        assert stream.link is not None or any(held is stream for held, _, _ in bench.held) or relay.ended
    held = sum(s.uncredited for s in relay.streams.values()) + sum(link.parked for link in relay.all_links)
    if not relay.ended:
        assert relay.receive_window + relay.credit + held == CLIENT_WINDOW
