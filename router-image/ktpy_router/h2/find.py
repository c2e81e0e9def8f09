"""Which row a header block goes to, looking before decoding: most blocks hold no mark at all."""

from __future__ import annotations

import re
from functools import lru_cache

from ktpy_router.h2.hpack import NAME_INDICES, fields, huffman
from ktpy_router.match import Chooser
from ktpy_router.request import Request
from ktpy_router.table import Row

_PSEUDO = {"path": (b":path",), "query": (b":path",), "host": (b":authority", b"host")}


class Finder:
    """A chooser, made ready to be asked with header blocks that use no dynamic table.

    A name that rows ask for is in a block either as a string, plain or Huffman-coded, or as an index of the static
    table. One search for all these finds the blocks that are worth decoding; it may hit by chance, never miss.
    """

    __slots__ = ("_chooser", "_search", "_simple", "_wanted", "everything", "fixed", "mirrors")

    def __init__(self, chooser: Chooser) -> None:
        self._chooser = chooser
        self.mirrors = chooser.has_mirrors
        self.everything = chooser.only_one and not chooser.has_mirrors
        """Whether all requests go the same way, to the row `fixed`."""
        self.fixed = chooser.catch_all
        self._search = _pattern(chooser.names).search if chooser.by_name and chooser.names else None
        self._wanted = _wanted(chooser)
        self._simple = chooser.simple[1] if chooser.simple else None

    def row(self, block: bytes) -> Row | None:
        """Errors: ConnectionFault when the block had to be decoded and cannot be."""
        if self.everything:
            return self.fixed
        if self._search is not None and self._search(block) is None:
            return None
        found = fields(block, self._wanted)
        if self._simple is not None:
            if len(found) == 1:
                return self._simple.get(found[0][1].strip())
            if not found:
                return None
        return self._chooser.choose(request_of(found))

    def copies(self, block: bytes) -> tuple[Row, ...]:
        """The rows that get a copy of the request."""
        if self._search is not None and self._search(block) is None:
            return ()
        return self._chooser.mirrors(request_of(fields(block, self._wanted)))


@lru_cache(maxsize=32)
def finder(chooser: Chooser) -> Finder:
    """The same for all connections of a port."""
    return Finder(chooser)


def request_of(found: list[tuple[bytes, bytes]]) -> Request:
    """As the chooser wants it. `:authority` may be missing, `host` then stands for it (RFC 9113, section 8.3.1)."""
    method = path = host = b""
    headers = []
    for name, value in found:
        if name == b":path":
            path = value
        elif name == b":method":
            method = value
        elif name == b":authority":
            host = value
        else:
            headers.append((name, value.strip()))
            if name == b"host" and not host:
                host = value
    return Request(method, path, host, headers)


def _wanted(chooser: Chooser) -> frozenset[bytes] | None:
    if chooser.has_mirrors:
        return None  # the chooser keeps what mirrors ask for to itself
    wanted: set[bytes] = set()
    for row in chooser.rows:
        for condition in row.conditions:
            wanted.update((condition.header,) if condition.header else _PSEUDO[condition.place])
    return frozenset(wanted)


def _pattern(names: tuple[bytes, ...]) -> re.Pattern[bytes]:
    return re.compile(b"|".join(re.escape(form) for name in names for form in forms(name)), re.DOTALL)


def forms(name: bytes) -> set[bytes]:
    """Every way in which a block may hold NAME (RFC 7541, sections 5.2, 6.1 and 6.2)."""
    coded = huffman(name)
    found = {_counted(name, 0), _counted(coded, 128)}
    for index in NAME_INDICES.get(name, ()):
        found |= {bytes((0x80 | index,)), bytes((0x40 | index,))}
        if index < 15:
            found |= {bytes((index,)), bytes((0x10 | index,))}
        else:
            found |= {bytes((0x0F, index - 15)), bytes((0x1F, index - 15))}
    return found


def _counted(text: bytes, huffman_bit: int) -> bytes:
    # From 127 on a length has more bytes, and need not be written in its shortest form.
    return bytes((huffman_bit | len(text),)) + text if len(text) < 127 else text
