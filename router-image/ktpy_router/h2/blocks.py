"""Header blocks as they come in: put together from their frames, and made independent of the blocks before them."""

from __future__ import annotations

from hpack import Decoder
from hpack.exceptions import HPACKError, OversizedHeaderListError

from ktpy_router.h2 import hpack
from ktpy_router.h2.frames import Code, ConnectionFault
from ktpy_router.h2.limits import MOST_CONTINUATIONS


class HeaderBlock:
    """HEADERS whose block is not complete (RFC 9113, section 4.3): FLAGS and STREAM are those of the first frame."""

    __slots__ = ("_parts", "_size", "flags", "stream")

    def __init__(self, flags: int, stream: int, first: bytes) -> None:
        self.flags = flags
        self.stream = stream
        self._parts = [first]
        self._size = len(first)

    def add(self, more: bytes, most: int) -> None:
        """Errors: ConnectionFault above MOST bytes, or with too many frames, be they empty."""
        self._parts.append(more)
        self._size += len(more)
        if len(self._parts) > MOST_CONTINUATIONS or self._size > most:
            raise ConnectionFault(Code.ENHANCE_YOUR_CALM, "a header block is too long")

    def whole(self) -> bytes:
        return b"".join(self._parts)


class Rewriter:
    """Blocks of a peer that may use a dynamic table, since it has not acknowledged that we want none."""

    def __init__(self, most: int) -> None:
        self._decoder = Decoder(max_header_list_size=most)

    def rewrite(self, block: bytes) -> bytes:
        """The same fields, in a block that needs no table. Each block must pass: it may change the table."""
        try:
            return hpack.block((bytes(name), bytes(value)) for name, value in self._decoder.decode(block, raw=True))
        except OversizedHeaderListError:
            raise ConnectionFault(Code.ENHANCE_YOUR_CALM, "a header list is too long") from None
        except HPACKError as error:
            raise hpack.broken(f"a header block cannot be decoded: {error}") from None


def without_updates(block: bytes) -> bytes:
    """BLOCK of a peer whose table's limit is 0, without what says that it is 0 (RFC 7541, section 6.3)."""
    while block and 0x20 <= block[0] < 0x40:
        if block[0] != 0x20:
            raise hpack.broken("the dynamic table is larger than its limit")
        block = block[1:]
    return block
