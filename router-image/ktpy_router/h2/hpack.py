"""Header blocks that use no dynamic table (RFC 7541): finding and decoding fields, and writing them."""

from __future__ import annotations

from collections.abc import Container, Iterable
from functools import lru_cache

from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hpack.huffman_table import HUFFMAN_COMPLETE, HUFFMAN_EMIT_SYMBOL, HUFFMAN_FAIL, HUFFMAN_TABLE
from hpack.table import HeaderTable

from ktpy_router.h2.frames import Code, ConnectionFault

Fields = list[tuple[bytes, bytes]]

STATIC: tuple[tuple[bytes, bytes], ...] = ((b"", b""), *HeaderTable.STATIC_TABLE)
"""RFC 7541 appendix A; index 0 is not used."""
STATIC_LENGTH = len(STATIC)
NAME_INDICES: dict[bytes, tuple[int, ...]] = {
    name: tuple(i for i, (other, _) in enumerate(STATIC) if i and other == name) for name, _ in STATIC[1:]
}
EMPTY_TABLE = b"\x20"
"""A dynamic table size update to 0 (section 6.3): from here on the block's reader keeps nothing."""

_ENCODER = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH)
_DEAD = (-1, b"", False)


def broken(reason: str) -> ConnectionFault:
    """A block that cannot be decoded ends the connection (RFC 9113, section 4.3)."""
    return ConnectionFault(Code.COMPRESSION_ERROR, reason)


class _Steps(dict[int, tuple[int, bytes, bool]]):
    """state << 8 | byte → (next state, what is decoded, whether the string may end here), filled in as it is met.

    The library's table goes by half bytes. Two of its steps make one of ours; there are at most 65,536.
    """

    def __missing__(self, key: int) -> tuple[int, bytes, bool]:
        state, byte = key >> 8, key & 255
        out, flags = b"", 0
        for half in (byte >> 4, byte & 15):
            state, flags, symbol = HUFFMAN_TABLE[state * 16 + half]
            if flags & HUFFMAN_FAIL:
                break
            if flags & HUFFMAN_EMIT_SYMBOL:
                out += bytes((symbol,))
        self[key] = step = _DEAD if flags & HUFFMAN_FAIL else (state, out, bool(flags & HUFFMAN_COMPLETE))
        return step


_STEPS = _Steps()


def unhuffman(text: bytes) -> bytes:
    """Errors: ConnectionFault for the symbol EOS and for padding that is too long or not all ones (section 5.2)."""
    state, may_end, steps, out = 0, True, _STEPS, []
    for byte in text:
        state, part, may_end = steps[state << 8 | byte]
        if state < 0:
            raise broken("a Huffman string has the symbol EOS")
        out.append(part)
    if not may_end:
        raise broken("a Huffman string has wrong padding")
    return b"".join(out)


# Names, methods and marks come again and again, and are short. Longer strings are not worth their memory.
_remembered = lru_cache(maxsize=2048)(unhuffman)


def huffman(text: bytes) -> bytes:
    return _ENCODER.encode(text)


def integer(block: bytes, at: int, mask: int) -> tuple[int, int]:
    """The number whose prefix MASK cuts out of the byte at AT, and where it ends (section 5.1). At most 2^28 or so."""
    number = block[at] & mask
    at += 1
    if number < mask:
        return number, at
    for shift in (0, 7, 14, 21):
        byte = block[at]
        at += 1
        number += (byte & 127) << shift
        if byte < 128:
            return number, at
    raise broken("an integer is too long")


def string(block: bytes, at: int) -> tuple[bytes, int]:
    """The string that starts at AT, decoded, and where it ends (section 5.2)."""
    start = at + 1
    length = block[at] & 127
    if length == 127:
        length, start = integer(block, at, 127)
    end = start + length
    if end > len(block):
        raise broken("a string is longer than its block")
    text = block[start:end]
    if block[at] & 128:
        text = _remembered(text) if length <= 48 else unhuffman(text)
    return text, end


def fields(block: bytes, wanted: Container[bytes] | None = None, *, most: int = 1 << 20) -> Fields:
    """The fields with a name in WANTED, or all, of a block that uses no dynamic table.

    MOST bounds names and values together, 32 more for each as RFC 9113 section 6.5.2 counts them.
    Errors: ConnectionFault where the block is broken, names an entry of a dynamic table, or is over the bound.
    """
    found: Fields = []
    at, size, total = 0, len(block), 0
    try:
        while at < size:
            first = block[at]
            if first >= 128:  # section 6.1: indexed field
                index, at = (first & 127, at + 1) if first < 255 else integer(block, at, 127)
                if not 0 < index < STATIC_LENGTH:
                    raise broken("an index is not in the static table")
                total += 48
                if total > most:
                    break
                if wanted is None or STATIC[index][0] in wanted:
                    found.append(STATIC[index])
                continue
            if first & 0xE0 == 0x20:  # section 6.3
                to, at = integer(block, at, 31)
                if to or total:
                    raise broken("the dynamic table is resized after its limit became 0, or within a block")
                continue
            index, at = integer(block, at, 63 if first >= 64 else 15)  # section 6.2
            if index >= STATIC_LENGTH:
                raise broken("an index is not in the static table")
            if index:
                name = STATIC[index][0]
            else:
                name, at = string(block, at)
            if wanted is None or name in wanted:
                value, at = string(block, at)
                found.append((name, value))
                total += len(name) + len(value) + 32
            else:
                length = block[at] & 127
                if length < 127:
                    at += 1 + length
                else:
                    length, at = integer(block, at, 127)
                    at += length
                total += 32
            if total > most:
                break
    except IndexError:
        raise broken("a block ends within a field") from None
    if total > most:
        raise ConnectionFault(Code.ENHANCE_YOUR_CALM, "a header list is too long")
    if at != size:
        raise broken("a string is longer than its block")
    return found


def literal(name: bytes, value: bytes) -> bytes:
    """A field that no table keeps (section 6.2.2), not compressed: what is added must cost little."""
    return b"\x00" + _length(len(name)) + name + _length(len(value)) + value


def block(fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    return b"".join(literal(name, value) for name, value in fields)


def _length(number: int) -> bytes:
    if number < 127:
        return bytes((number,))
    out, number = bytearray((127,)), number - 127
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)
