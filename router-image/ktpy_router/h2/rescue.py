"""What becomes of streams whose upstream does not answer: another try, the original in its place, or an error."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from ktpy_router.h2 import answer, frames
from ktpy_router.h2.frames import Code
from ktpy_router.h2.stream import Stream

if TYPE_CHECKING:
    from ktpy_router.h2.connection import Connection
    from ktpy_router.h2.link import Link
    from ktpy_router.upstream import Upstream

MOST_TRIES = 3


def dial_failed(relay: Connection, link: Link, reason: str) -> None:
    """No connection. No byte was sent, so any request may go elsewhere."""
    _drop(relay, link)
    for stream in _of(relay, link):
        stream.link = None
        unreachable(relay, stream, reason)


def unreachable(relay: Connection, stream: Stream, reason: str) -> None:
    """The stream's upstream cannot be had now; REASON ends a sentence that begins with its name."""
    row, upstream = stream.row, stream.upstream
    assert upstream is not None
    if row is None or stream.mark or upstream is relay.port.default:
        relay.answer(stream, 502, "upstream down", f"The upstream {upstream.name} {reason}.")
        return
    left = stream.began + row.hold - relay.now
    if left > 0:
        stream.link, stream.held = None, stream.held if stream.held is not None else deque(stream.kept or ())
        relay.world.hold(stream, upstream, left)
    else:
        instead(relay, stream, reason)


def released(relay: Connection, stream: Stream, *, is_back: bool) -> None:
    """The wait of a row that holds is over."""
    if relay.streams.get(stream.id) is not stream or stream.link is not None:
        return
    assert stream.upstream is not None
    if is_back:
        relay.send(stream, stream.upstream)
    else:
        instead(relay, stream, "did not come back in time")


def instead(relay: Connection, stream: Stream, reason: str) -> None:
    """The original answers in the place of the stream's row, unless that is strict."""
    row, upstream = stream.row, stream.upstream
    assert row is not None
    assert upstream is not None
    if row.strict:
        sentence = f"The upstream {upstream.name} of row {row.id} ({row.mark}) {reason}, and the row is strict."
        relay.answer(stream, 503 if upstream.is_open else 502, "upstream of a strict row down", sentence)
    else:
        stream.stats.fallbacks += 1
        stream.mark = answer.fallback_field(row.mark)
        relay.send(stream, relay.port.default)


def lost(relay: Connection, link: Link, reason: str, *, broken: bool = False) -> None:
    """The connection is over. BROKEN: it is there, but speaks in a way that cannot be relayed."""
    if link.gone:
        return
    fresh = not link.answered
    _drop(relay, link)
    relay.world.hang_up(link)
    streams = _of(relay, link)
    if fresh and streams and not broken:
        link.upstream.closed_early()
    for stream in streams:
        if stream.upstream_done:
            # All of the answer is here. It may wait for the client's window; nobody waits for the rest of the request.
            stream.client_ended = True
            if stream.upstream_ended:
                relay.to_client.append(frames.rst_stream(stream.id, Code.NO_ERROR))
                relay.forget(stream.id)
                relay.close(stream)
            continue
        _after_loss(relay, stream, reason, fresh=fresh, broken=broken)


def _after_loss(relay: Connection, stream: Stream, reason: str, *, fresh: bool, broken: bool) -> None:
    upstream = stream.upstream
    assert upstream is not None
    sentence = f"The upstream {upstream.name} {reason}."
    if stream.answered:
        _fail(relay, stream, sentence)
        return
    stream.link = None
    was_sent = stream.held is None or stream.tries > 0
    stream.tries += 1
    can_repeat = stream.repeatable and stream.tries < MOST_TRIES and not broken
    if can_repeat and fresh and stream.row is not None and not stream.mark and upstream is not relay.port.default:
        instead(relay, stream, reason)
    elif can_repeat and not fresh and (not was_sent or answer.is_idempotent(stream.block)):
        # A kept connection may end at any time: that says nothing about the upstream.
        relay.send(stream, upstream)
    else:
        _fail(relay, stream, sentence)


def silent(relay: Connection, upstream: Upstream, since: float) -> None:
    """Streams that were sent after SINCE, and that a sleeping laptop may find when it wakes up, are taken from it.

    Those that have reached it, and those that it has begun to answer, live on: it may be back in a moment.
    """
    reason = "is asleep, or has lost its network"
    if link := relay.links.get(upstream):
        retire(relay, link)
    for stream in tuple(relay.streams.values()):
        link = stream.link
        if link is None or stream.upstream is not upstream or stream.answered or stream.began <= since:
            continue
        can_repeat = stream.repeatable and answer.is_idempotent(stream.block)
        if stream in link.queue:
            link.queue.remove(stream)
            can_repeat = stream.repeatable
        else:
            link.out.append(frames.rst_stream(stream.id, Code.CANCEL))
            link.open -= 1
            link.starved.pop(stream.id, None)
        stream.link = None
        if can_repeat:
            unreachable(relay, stream, reason)
        else:
            _fail(relay, stream, f"The upstream {upstream.name} {reason}.")


def wrong(relay: Connection, stream: Stream, code: Code, reason: str) -> None:
    """The upstream broke a rule on the stream (RFC 9113, section 5.4.2): it ends there with CODE, and at the client
    with an error of ours. Its connection, and all other streams, go on.
    """
    assert stream.link is not None
    assert stream.upstream is not None
    stream.link.out.append(frames.rst_stream(stream.id, code))
    _fail(relay, stream, f"The upstream {stream.upstream.name} {reason}.")


def _fail(relay: Connection, stream: Stream, sentence: str) -> None:
    """502 where the client has got nothing yet."""
    if not stream.answered:
        relay.answer(stream, 502, "upstream failed", sentence)
        return
    stream.stats.errors += 1
    relay.to_client.append(frames.rst_stream(stream.id, Code.INTERNAL_ERROR))
    relay.forget(stream.id)
    relay.close(stream)


def leaving(relay: Connection, link: Link, last: int) -> None:
    """GOAWAY of an upstream (section 6.8): streams above LAST were not looked at, so each may go elsewhere."""
    retire(relay, link)
    for stream in _of(relay, link):
        if stream in link.queue or (stream.id > last and not stream.answered):
            if stream in link.queue:
                link.queue.remove(stream)
            else:
                link.open -= 1
                link.starved.pop(stream.id, None)
            stream.link, stream.tries = None, stream.tries + 1
            if stream.repeatable and stream.tries < MOST_TRIES and stream.upstream is not None:
                relay.send(stream, stream.upstream)
            else:
                stream.stats.errors += 1
                relay.to_client.append(frames.rst_stream(stream.id, Code.REFUSED_STREAM))
                relay.forget(stream.id)
                relay.close(stream)


def retire(relay: Connection, link: Link) -> None:
    """It gets no new streams, and is closed with its last one."""
    link.retired = True
    if relay.links.get(link.upstream) is link:
        del relay.links[link.upstream]


def hang_up(relay: Connection, link: Link) -> None:
    """Close a link that has no streams."""
    if link.up and not link.gone:
        link.out.append(frames.goaway(0, Code.NO_ERROR))
    _drop(relay, link)
    relay.world.hang_up(link)


def _drop(relay: Connection, link: Link) -> None:
    link.gone = True
    retire(relay, link)
    if link in relay.all_links:
        relay.all_links.remove(link)
    link.stop_waiting()
    relay.settings.acknowledge()
    relay.credit += link.parked
    link.parked = 0


def _of(relay: Connection, link: Link) -> list[Stream]:
    return sorted((s for s in relay.streams.values() if s.link is link), key=lambda stream: stream.id)


def again(relay: Connection, stream: Stream) -> bool:
    """REFUSED_STREAM of an upstream: it did nothing for the request (section 8.7), which may be sent once more."""
    stream.tries += 1
    if not stream.repeatable or stream.tries >= MOST_TRIES or stream.upstream is None or stream.link is None:
        return False
    stream.link.open -= 1
    stream.link = None
    relay.send(stream, stream.upstream)
    return True
