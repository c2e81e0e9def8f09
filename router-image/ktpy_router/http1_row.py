"""Which row an HTTP/1 request goes to, without parsing its head where that can be avoided."""

from __future__ import annotations

from functools import lru_cache

from ktpy_router.head import request_of
from ktpy_router.match import Chooser
from ktpy_router.table import Row


@lru_cache(maxsize=64)
def needles(chooser: Chooser) -> tuple[bytes, ...]:
    """When none of these is in a head in lower case, no row takes it, and no mirror."""
    return tuple(b"\r\n%b:" % name for name in chooser.names) if chooser.by_name else (b"",)


def row_of(chooser: Chooser, needle: bytes, head: bytes, low: bytes) -> Row | None:
    """The row of a head that has NEEDLE. LOW is the head in lower case.

    Where all rows ask for one value of the same header, that is looked up. But of a header that is there more than
    once any value may match, so then the head is parsed.
    """
    if chooser.simple is not None:
        start = low.find(needle) + len(needle)
        if low.find(needle, start) < 0:
            return chooser.simple[1].get(head[start : head.find(b"\r\n", start)].strip(b" \t"))
    return chooser.choose(request_of(head))
