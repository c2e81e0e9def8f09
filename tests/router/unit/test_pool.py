"""Idle connections: the newest first, not too many, and none that may end any moment where that would matter."""

from __future__ import annotations

import asyncio
from typing import cast

from ktpy_router import pool
from ktpy_router.config import Config
from ktpy_router.http1_upstream import UpstreamConnection
from ktpy_router.upstream import Upstream


class Line(asyncio.Transport):
    """A transport that only knows whether it is open."""

    def __init__(self) -> None:
        super().__init__()
        self.closed = False

    def is_closing(self) -> bool:
        return self.closed

    def abort(self) -> None:
        self.closed = True

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass


def upstream() -> Upstream:
    return Upstream("192.0.2.1:80", Config())


def connection(to: Upstream, used: float = 100.0) -> UpstreamConnection:
    made = UpstreamConnection(to, Config())
    made.connection_made(Line())
    made.used = used
    return made


def line(of: UpstreamConnection) -> Line:
    return cast(Line, of.transport)


def test_the_last_used_goes_first() -> None:
    to = upstream()
    one, two = connection(to), connection(to)
    pool.give(one, 10)
    pool.give(two, 10)

    assert [pool.take(to), pool.take(to), pool.take(to)] == [two, one, None]


def test_no_more_are_kept_than_allowed() -> None:
    to = upstream()
    made = [connection(to) for _ in range(3)]
    for one in made:
        pool.give(one, 2)

    assert [line(one).closed for one in made] == [False, False, True]
    assert to.idle == made[:2]


def test_what_cannot_serve_again_is_closed() -> None:
    to = upstream()
    waits, ends, ended = connection(to), connection(to), connection(to)
    waits.waits, ends.keep, line(ended).closed = True, False, True
    for one in (waits, ends, ended):
        pool.give(one, 10)

    assert to.idle == []
    assert all(line(one).closed for one in (waits, ends, ended))


def test_one_that_has_ended_meanwhile_is_passed_over() -> None:
    to = upstream()
    one, two = connection(to), connection(to)
    pool.give(one, 10)
    pool.give(two, 10)
    line(two).closed = True

    assert pool.take(to) is one


def test_a_request_that_must_not_fail_gets_a_recent_one_or_none() -> None:
    to = upstream()
    old = connection(to, used=100.0)
    pool.give(old, 10)

    assert pool.take(to, used_after=100.5) is None
    assert pool.take(to, used_after=99.5) is old


def test_old_ones_end_with_the_tick() -> None:
    to = upstream()
    one = connection(to, used=100.0)
    pool.give(one, 10)
    one.tick(100.0 + Config().pool_seconds)
    assert to.idle == [one]
    one.tick(100.1 + Config().pool_seconds)
    assert to.idle == []
    assert line(one).closed


def test_what_speaks_or_ends_in_the_pool_leaves_it() -> None:
    to = upstream()
    speaks, ends = connection(to), connection(to)
    pool.give(speaks, 10)
    pool.give(ends, 10)
    speaks.data_received(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
    ends.eof_received()

    assert to.idle == []
    assert line(speaks).closed
