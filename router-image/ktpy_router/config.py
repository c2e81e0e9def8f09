"""Every limit and timeout of the router, in one place."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Config:
    """Times are in seconds, sizes in bytes.

    What is not here is on purpose: there is no limit between a complete request and its answer, since a debugger may
    stop a program for an hour, and none on open streams.
    """

    head_bytes: int = 65536
    """The longest head of a request or an answer; for HTTP/2 the longest header block."""
    head_seconds: float = 10.0
    """From the first byte of a request's head to its last."""
    idle_seconds: float = 620.0
    """A kept connection without a request. Cloud load balancers keep theirs for up to 600 s and must end first."""
    sniff_seconds: float = 0.1
    """How long a new client may be silent before it is taken for one that waits for the server to speak."""
    eager_seconds: float = 0.005
    """The same where only one upstream is possible: a client that speaks first has done so by then."""
    connect_seconds: float = 1.0
    """For an upstream to accept a connection."""
    original_seconds: float = 10.0
    """For the original, in several tries of that length: without a router its clients would have been as patient."""
    replay_bytes: int = 65536
    """How much of a request is kept so that another upstream can be given it."""
    buffer_bytes: int = 262144
    """What may wait to be written, for a stream and a direction, before its source is paused."""
    pool_size: int = 256
    """Idle HTTP/1 connections that are kept to one upstream."""
    pool_seconds: float = 50.0
    """How long an idle connection to an upstream is kept: many servers end theirs after 60 s."""
    probe_seconds: float = 0.5
    """Between two tries to find an upstream alive again."""
    stays_seconds: float = 0.05
    """A connection that lives this long shows that the upstream is back, and is no tunnel with a closed far end."""
    pulse_seconds: float = 0.25
    """Between two questions to a laptop whether it is awake."""
    silent_seconds: float = 0.9
    """A laptop that does not answer that for so long sleeps, or has lost its network."""
    closes_to_open: int = 3
    """So many connections in a row that end without a byte of an answer open the breaker."""
    linger_seconds: float = 5.0
    """How long the router still accepts after SIGTERM, or after it was asked to drain before: nodes learn late."""
    drain_seconds: float = 590.0
    """How long connections may live after SIGTERM."""
    expired_seconds: float = 600.0
    """How long a session may be silent after the time that it said it would live; then rows of it go that lead nowhere.
    """
    forwarded: bool = False
    """Whether X-Forwarded-For and Forwarded are appended to requests."""
