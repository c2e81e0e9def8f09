"""Idle HTTP/1 connections to an upstream, for whichever client comes next: newest first, bounded in number and age.

Without them each client connection would need one of its own, and a client that makes a new connection for each
request would make the router do so too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from ktpy_router.upstream import Upstream

if TYPE_CHECKING:
    from ktpy_router.http1_upstream import UpstreamConnection

SURE_SECONDS = 1.0
"""A connection that served less than this ago is not about to be closed for being idle: servers' limits are longer."""


def take(upstream: Upstream, *, used_after: float = 0.0) -> UpstreamConnection | None:
    """The one that was used last, unless that was too long ago; None: connect."""
    idle = upstream.idle
    while idle:
        connection = cast("UpstreamConnection", idle[-1])
        if connection.used < used_after:
            return None
        idle.pop()
        if not connection.transport.is_closing():
            return connection
    return None


def give(connection: UpstreamConnection, size: int) -> None:
    """Keep it among at most SIZE, or close it: when it has more to say, or its upstream is no longer in the table."""
    connection.client = None
    upstream = connection.upstream
    if not connection.is_idle or len(upstream.idle) >= size or upstream.forgotten:
        connection.close()
    else:
        upstream.idle.append(connection)


def discard(connection: UpstreamConnection) -> None:
    """It was lost."""
    if connection in connection.upstream.idle:
        connection.upstream.idle.remove(connection)
