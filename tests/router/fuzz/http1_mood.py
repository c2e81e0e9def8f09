"""How an HTTP/1 world behaves, and what its origins note."""

from __future__ import annotations

from dataclasses import dataclass

from tests.router.fuzz import second


@dataclass
class Served:
    """A request as an origin understood it, and what it said to it."""

    upstream: str
    message: second.Message
    said: bytes = b""
    ended: bool = False
    silent: bool = False


@dataclass
class Mood:
    """How the world behaves in a case. KIND: nothing but what HTTP/1.1 allows, so that everything must work."""

    kind: bool = True
    answers: float = 0.0
    """Share of the answers to the wild client that are mutated."""
    early: float = 0.0
    silent: float = 0.0
    drops: float = 0.0
    ana: str = "up"  # or: refuses, closes
    switching: bool = True
    slow: bool = False
    leaves: bool = False
    """The wild client goes before the tame one comes."""
    drain: bool = False
    """The router is told to end in the middle."""
    end: str = "later"  # or: eof, reset
