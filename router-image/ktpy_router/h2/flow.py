"""Flow control between two connections that have windows of their own (RFC 9113, sections 5.2 and 6.9).

A stream's window is the receiver's, passed on. The client starts with 65,535 bytes, an upstream may start with more or
less: `Stream.owed` is the difference. What the client may send and the upstream does not take yet is held, at most as
much as we granted. Towards the client there is no difference: upstreams are told the client's own initial window, and a
change of it is acknowledged only when they have acknowledged it (`settings.py`).
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from ktpy_router.h2 import frames
from ktpy_router.h2.frames import LARGEST_FRAME
from ktpy_router.h2.stream import Part, Stream

if TYPE_CHECKING:
    from ktpy_router.h2.connection import Connection
    from ktpy_router.h2.link import Link

CLIENT_WINDOW = 16 << 20
"""Of a client's connection. Streams to one upstream that does not read must not stop those to others: it is large.
What it lets in is bounded by the windows of streams, config.buffer_bytes each."""
LINK_WINDOW = 1 << 20
"""Of an upstream's connection: what may wait when the client does not take DATA."""
SMALL = 8192
"""A grant below it waits, unless the client has less than that left."""


class Down(NamedTuple):
    """What waits for the window of the client's connection: WHOLE frames, or the PAYLOAD of one DATA frame."""

    link: Link | None
    stream: Stream | None
    whole: bytes
    payload: bytes
    end: bool


def grant(relay: Connection, stream: Stream) -> None:
    """Pass on what the upstream granted, as far as config.buffer_bytes allows."""
    credit = min(stream.owed, relay.config.buffer_bytes - stream.receive_window)
    if stream.client_ended or credit <= 0 or (stream.link and stream.link.congested):
        return
    if credit >= SMALL or stream.receive_window < SMALL:
        stream.owed -= credit
        stream.receive_window += credit
        relay.to_client.append(frames.window_update(stream.id, credit))


def credit_client(relay: Connection, stream: Stream, length: int) -> None:
    """Bytes of the client have left: its connection may send as many more, once the upstream reads what it has."""
    credit = min(length, stream.uncredited)
    stream.uncredited -= credit
    if stream.link and stream.link.congested:
        stream.link.parked += credit
    else:
        relay.credit += credit


def drain_up(relay: Connection, stream: Stream) -> None:
    """Send what the stream holds, as far as both windows of its upstream go."""
    held, link = stream.held, stream.link
    if held is None or link is None:
        return
    while held:
        is_block, payload, end = held[0]
        if is_block:
            link.out.append(frames.headers(stream.id, payload, end=end))
        else:
            room = max(0, min(stream.send_window, link.send_window, LARGEST_FRAME))
            now, later = payload[:room], payload[room:]
            if now or not later:
                link.out.append(frames.data(stream.id, now, end=end and not later))
                stream.send_window -= len(now)
                link.send_window -= len(now)
                credit_client(relay, stream, len(now))
            if later:
                held[0] = (False, later, end)
                if not now:
                    if stream.send_window > 0:
                        link.starved[stream.id] = stream
                    return
                continue
        held.popleft()
    stream.held = None


def hold_up(stream: Stream, part: Part, length: int) -> None:
    """LENGTH is what flow control counts of it."""
    if stream.held is None:
        stream.held = deque()
    stream.held.append(part)
    stream.uncredited += length


def drop_held(relay: Connection, stream: Stream) -> None:
    """Nobody wants what the stream holds."""
    relay.credit += stream.uncredited
    stream.uncredited, stream.held = 0, None
    if stream.link is not None:
        stream.link.starved.pop(stream.id, None)


def in_turn(relay: Connection, frame: bytes) -> None:
    """A frame of the connection, behind what waits: acknowledging a smaller window must not overtake DATA."""
    if relay.waiting:
        relay.waiting.append(Down(None, None, frame, b"", False))
    else:
        relay.to_client.append(frame)


def drain_down(relay: Connection) -> None:
    """Send the client what waits for its connection's window: in order of arrival, whatever the stream."""
    waiting, out = relay.waiting, relay.to_client
    while waiting:
        link, stream, whole, payload, end = waiting[0]
        if link is None or stream is None:
            out.append(whole)  # the connection's own
        elif relay.streams.get(stream.id) is not stream:
            link.credit += len(payload)
        elif whole:
            out.append(whole)
        else:
            room = min(relay.send_window, LARGEST_FRAME)
            now, later = payload[:room], payload[room:]
            if later and not now:
                return
            out.append(frames.data(stream.id, now, end=end and not later))
            relay.send_window -= len(now)
            link.credit += len(now)
            if later:
                waiting[0] = Down(link, stream, b"", later, end)
                continue
        waiting.popleft()
        if end and stream is not None and relay.streams.get(stream.id) is stream:
            relay.upstream_ended(stream)
