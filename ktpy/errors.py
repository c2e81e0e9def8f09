"""What a user can be told: what happened to which object, and what to type next.

    KtError            1  refused or failed for a stated reason
    ├── Usage          2  the command's words are off
    ├── NotFound       3  an object that was named is not there
    ├── Taken          4  somebody else holds it
    ├── Forbidden      5  rights, Pod Security, quota, policy
    ├── TunnelLost     6  the way between laptop and cluster is gone
    ├── LeftBehind     7  something of ours could not be taken away
    ├── Interrupted  130  stopped by the user before it was ready
    ├── Unreachable    1  the API server does not answer; caught by whoever can wait for it
    └── Conflict       1  an object changed under us; caught where it is read again

Anything else that is raised is a bug and keeps its traceback.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum


class Exit(IntEnum):
    """Exit codes; part of the interface, listed in README."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    TAKEN = 4
    FORBIDDEN = 5
    TUNNEL_LOST = 6
    LEFT_BEHIND = 7
    OURS_BESIDE_CHILD = 125
    INTERRUPTED = 130


class KtError(Exception):
    """WHAT names the thing and the fact; TRY_ holds commands or deeds that help, one per line."""

    code = Exit.FAILED

    def __init__(self, what: str, try_: str | Sequence[str] = ()) -> None:
        super().__init__(what)
        self.what = what
        self.try_: tuple[str, ...] = (try_,) if isinstance(try_, str) else tuple(try_)


class Usage(KtError):
    code = Exit.USAGE


class NotFound(KtError):
    code = Exit.NOT_FOUND


class Taken(KtError):
    code = Exit.TAKEN


class Forbidden(KtError):
    code = Exit.FORBIDDEN


class TunnelLost(KtError):
    code = Exit.TUNNEL_LOST


class LeftBehind(KtError):
    code = Exit.LEFT_BEHIND


class Interrupted(KtError):
    code = Exit.INTERRUPTED


class Conflict(KtError):
    """The API server's 409: read again and decide again."""


class Unreachable(KtError):
    """No answer from the API server, or one that says to come back later."""
