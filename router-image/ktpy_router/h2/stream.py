"""One stream, on both sides at once: where it goes, what is over, and what is kept of it."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, TypeAlias

from ktpy_router.h2.frames import DEFAULT_WINDOW

if TYPE_CHECKING:
    from ktpy_router.h2.link import Link
    from ktpy_router.h2.mirror import Copy
    from ktpy_router.stats import RowStats
    from ktpy_router.table import Row
    from ktpy_router.upstream import Upstream


Part: TypeAlias = tuple[bool, bytes, bool]
"""Whether it is a header block (trailers) or DATA, its payload, and whether it ends the stream."""


class Stream:
    """RFC 9113 section 5.1's states are `client_ended` and `upstream_ended`; out of Connection.streams is closed."""

    __slots__ = (
        "answered",
        "began",
        "block",
        "body",
        "client_ended",
        "headed",
        "held",
        "id",
        "kept",
        "link",
        "mark",
        "copy",
        "owed",
        "receive_window",
        "room",
        "row",
        "send_window",
        "stats",
        "tries",
        "uncredited",
        "upstream",
        "upstream_done",
        "upstream_ended",
    )

    def __init__(
        self, id: int, block: bytes, *, end: bool, row: Row | None, stats: RowStats, now: float, room: int
    ) -> None:
        self.id = id
        self.row = row
        self.stats = stats
        self.began = now
        self.link: Link | None = None
        self.upstream: Upstream | None = None
        self.client_ended = end
        self.upstream_done = False
        """The upstream has ended the stream; that may wait for the client's window."""
        self.upstream_ended = False
        """That has gone to the client."""
        self.answered = False
        """The first HEADERS of the answer came: from here on nothing is sent again."""
        self.headed = False
        """Those of the final answer came: DATA and trailers may follow."""
        self.block = block
        """The request's, as the client sent it, until it is answered."""
        self.kept: list[Part] | None = [] if not end else None
        """What followed, until it is answered or more than config.replay_bytes; None: nothing, or not all of it."""
        self.body = 0
        """Bytes of DATA that the client has sent, as flow control counts them, until the answer."""
        self.held: deque[Part] | None = None
        """What the upstream did not take yet; None when there is nothing."""
        self.receive_window = DEFAULT_WINDOW
        """What the client may still send: we announce no other initial window."""
        self.send_window = 0
        """What the upstream takes now."""
        self.room = room
        """What the client takes now, as it counts itself. An upstream that sends more must not end its connection."""
        self.owed = 0
        """How much more the upstream has granted than we have granted the client."""
        self.uncredited = 0
        """Bytes that wait in `held`, or for an upstream that does not read: the connection's window lacks them."""
        self.mark = b""
        """Of the row that failed, when the original answers in its place."""
        self.tries = 0
        self.copy: Copy | None = None
        """For mirror rows."""

    @property
    def repeatable(self) -> bool:
        """Whether everything that the client has sent is still at hand, and the client has got nothing."""
        return not self.answered and (self.kept is not None or not self.body)
