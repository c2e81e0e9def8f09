"""Header blocks are read as the `hpack` library reads them, and broken ones end in a fault, never in anything else."""

from __future__ import annotations

import random

import pytest
from hpack import Decoder, Encoder
from hpack.exceptions import HPACKError

from ktpy_router.h2 import hpack
from ktpy_router.h2.frames import Code, ConnectionFault

NAMES = (b":path", b":method", b"cookie", b"version", b"user-agent", b"x" * 130, b"te", b"content-type")


def some_fields(chance: random.Random) -> list[tuple[bytes, bytes]]:
    letters = b"abcdefghijklmnopqrstuvwxyz0123456789-/=;,. ~\xff\x00"
    value = [
        bytes(chance.choice(letters) for _ in range(chance.randrange(chance.choice((3, 30, 300))))) for _ in range(9)
    ]
    return [(chance.choice(NAMES), chance.choice(value)) for _ in range(chance.randrange(1, 12))]


@pytest.mark.parametrize("huffman", [True, False])
def test_blocks_of_the_library_are_read(huffman: bool) -> None:
    chance = random.Random(7541)
    encoder = Encoder()
    encoder.header_table_size = 0
    for _ in range(150):
        sent = some_fields(chance)
        block = encoder.encode(sent, huffman=huffman)

        assert hpack.fields(block) == sent
        assert hpack.fields(block, (b"cookie", b":path")) == [f for f in sent if f[0] in (b"cookie", b":path")]


def test_written_blocks_are_read_by_the_library() -> None:
    chance = random.Random(2)
    for _ in range(200):
        sent = some_fields(chance)

        assert [tuple(field) for field in Decoder().decode(hpack.block(sent), raw=True)] == sent


def test_huffman_strings_are_read_as_by_the_library() -> None:
    chance = random.Random(3)
    for _ in range(800):
        text = chance.randbytes(chance.randrange(60))
        assert hpack.unhuffman(hpack.huffman(text)) == text

        try:
            expected = hpack_string(text)
        except HPACKError:
            with pytest.raises(ConnectionFault):
                hpack.unhuffman(text)
        else:
            assert hpack.unhuffman(text) == expected


def hpack_string(text: bytes) -> bytes:
    from hpack.huffman_table import decode_huffman

    return decode_huffman(text)


def read(block: bytes) -> list[tuple[bytes, bytes]] | str:
    try:
        return hpack.fields(block)
    except ConnectionFault as fault:
        return str(fault)


def test_mutated_blocks_are_read_alike_or_refused_alike() -> None:
    chance = random.Random(4)
    encoder = Encoder()
    encoder.header_table_size = 0
    encoder.encode([])
    for _ in range(400):
        block = bytearray(encoder.encode(some_fields(chance), huffman=chance.random() < 0.5))
        for _ in range(chance.randrange(1, 4)):
            block[chance.randrange(len(block))] = chance.randrange(256)
        decoder = Decoder()
        decoder.header_table_size = decoder.max_allowed_table_size = 0
        try:
            expected = [tuple(field) for field in decoder.decode(bytes(block), raw=True)]
        except HPACKError:
            with pytest.raises(ConnectionFault):
                hpack.fields(bytes(block))
        else:
            # Integers that no block can need are refused before they are large: here alone the two may differ.
            assert read(bytes(block)) in (expected, "an integer is too long")


def test_truncated_blocks_are_refused_wherever_they_end() -> None:
    whole = Encoder().encode([(b"version", b"ana"), (b"x" * 130, b"y" * 300), (b":path", b"/cart")])
    ends = {end for end in range(len(whole)) if not isinstance(read(whole[:end]), str)}
    assert len(ends) == 3, "only between fields"

    for end in set(range(len(whole))) - ends:
        with pytest.raises(ConnectionFault) as caught:
            hpack.fields(whole[:end], ())
        assert caught.value.code == Code.COMPRESSION_ERROR, "skipping a string checks its length too"


@pytest.mark.parametrize(
    "block",
    [
        b"\x80",
        b"\xbe",
        b"\xff\x80\x80\x80\x80\x80\x01",
        b"\x7f\x00\x01a",
        b"\x3f\xe1\x1f",
        b"\x82\x20",
        b"\x0f\x2f\x00",
    ],
    ids=["index 0", "dynamic", "endless integer", "dynamic name", "resized", "resized within", "beyond the table"],
)
def test_what_needs_a_dynamic_table_is_refused(block: bytes) -> None:
    with pytest.raises(ConnectionFault):
        hpack.fields(block)


def test_the_table_may_be_emptied_at_the_start() -> None:
    assert hpack.fields(b"\x20\x20\x82") == [(b":method", b"GET")]


def test_a_block_cannot_grow_without_bounds() -> None:
    with pytest.raises(ConnectionFault) as caught:
        hpack.fields(b"\x82" * 65536)

    assert caught.value.code == Code.ENHANCE_YOUR_CALM
