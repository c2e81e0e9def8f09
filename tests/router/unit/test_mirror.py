"""What counts as an answer to a copy."""

from __future__ import annotations

import asyncio

import pytest

from ktpy_router.mirror import Drain


async def outcome(*reads: bytes, error: Exception | None = None, ends: bool = True) -> bool | None:
    drain = Drain()
    for read in reads:
        drain.data_received(read)
    if ends:
        drain.connection_lost(error)
    return drain.ended.result() if drain.ended.done() else None


@pytest.mark.parametrize(
    ("reads", "ends", "answered"),
    [
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", b"ok"], False, True),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", b"o"], False, None),
        ([b"HTTP/1.1 100 Continue\r\n\r\n"], False, None),
        ([b"HTTP/1.1 200 OK\r\n\r\n", b"until the end"], True, True),
        ([b"no HTTP"], True, True),
        ([], True, False),
    ],
)
def test_any_complete_answer_will_do(reads: list[bytes], ends: bool, answered: bool | None) -> None:
    assert asyncio.run(outcome(*reads, ends=ends)) is answered


def test_a_reset_is_none() -> None:
    assert asyncio.run(outcome(b"HTTP/1.1 200 OK\r\n", error=ConnectionResetError())) is False
