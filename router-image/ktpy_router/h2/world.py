"""What the machine in state.py wishes from whoever holds the sockets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from ktpy_router.h2.link import Link
    from ktpy_router.h2.mirror import Copy
    from ktpy_router.h2.stream import Stream
    from ktpy_router.table import Row
    from ktpy_router.upstream import Upstream


class World(Protocol):
    """None of these calls back before it has returned."""

    def dial(self, link: Link) -> None:
        """Connect; then `connected` and `link_received`, or `dial_failed`."""

    def hold(self, stream: Stream, upstream: Upstream, seconds: float) -> None:
        """Call `released` when the upstream is back, or after SECONDS."""

    def copy(self, copy: Copy, row: Row) -> None:
        """Send a mirror row its copy."""

    def hang_up(self, link: Link) -> None:
        """Close the link's connection once what is in `out` is written."""
