"""Header blocks are put together within bounds, and come out without any need of a table."""

from __future__ import annotations

import pytest
from hpack import Encoder

from ktpy_router.h2 import hpack
from ktpy_router.h2.blocks import HeaderBlock, Rewriter, without_updates
from ktpy_router.h2.frames import Code, ConnectionFault
from ktpy_router.h2.limits import MOST_CONTINUATIONS


def test_a_block_comes_in_parts() -> None:
    block = HeaderBlock(5, 7, b"ab")
    block.add(b"", 10)
    block.add(b"cd", 10)

    assert (block.whole(), block.flags, block.stream) == (b"abcd", 5, 7)


@pytest.mark.parametrize("part", [b"", b"x" * 100])
def test_parts_have_an_end(part: bytes) -> None:
    block = HeaderBlock(5, 7, b"")

    def add_all() -> None:
        for _ in range(MOST_CONTINUATIONS + 1):
            block.add(part, 1000)

    with pytest.raises(ConnectionFault) as caught:
        add_all()

    assert caught.value.code == Code.ENHANCE_YOUR_CALM


def test_references_to_earlier_blocks_are_resolved() -> None:
    encoder, rewriter = Encoder(), Rewriter(1000)
    sent = [(b":path", b"/"), (b"version", b"ana")]
    blocks = [encoder.encode(sent) for _ in range(3)]
    assert len(blocks[2]) < len(blocks[0])

    assert [hpack.fields(rewriter.rewrite(block)) for block in blocks] == [sent] * 3


def test_a_list_that_grows_by_references_has_an_end() -> None:
    rewriter = Rewriter(1000)
    rewriter.rewrite(Encoder().encode([(b"x", b"y" * 500)]))

    with pytest.raises(ConnectionFault) as caught:
        rewriter.rewrite(b"\xbe" * 10)

    assert caught.value.code == Code.ENHANCE_YOUR_CALM


def test_what_cannot_be_decoded_is_the_connections_fault() -> None:
    with pytest.raises(ConnectionFault) as caught:
        Rewriter(1000).rewrite(b"\xbe")

    assert caught.value.code == Code.COMPRESSION_ERROR


def test_an_emptied_table_need_not_be_emptied_again() -> None:
    assert without_updates(b"\x20\x20\x82") == b"\x82"
    with pytest.raises(ConnectionFault):
        without_updates(b"\x3f\xe1\x1f\x82")
