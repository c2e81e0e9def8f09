"""Who is overdue, what a heartbeat looks like, and which rows lead nowhere."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from ktpy_router.leases import BadHeartbeat, Heartbeat, Leases, heartbeat, is_gone
from tests.router.unit.test_table import raw, read, row


def test_a_session_is_overdue_a_while_after_its_time() -> None:
    leases = Leases(600.0)
    leases.renew(Heartbeat("ana", 30.0), 1000.0)
    assert not leases.is_overdue("ana", 1630.0)
    assert leases.is_overdue("ana", 1630.1)
    assert not leases.is_overdue("bob", 9999.0), "he never said how long"

    leases.renew(Heartbeat("ana", 30.0), 2000.0)
    assert not leases.is_overdue("ana", 2600.0)
    leases.keep({"bob"})
    assert "ana" not in leases


@pytest.mark.parametrize(
    "text",
    [b"", b"\xff", b"[]", b"[1]", b"{}", b'{"session": "a"}', b'{"session": 1, "seconds": 1}', b"[" * 100_000]
    + [b'{"session": "a", "seconds": %b}' % value for value in (b'"1"', b"-1", b"true", b"NaN", b"1e9", b"null")],
)
def test_nonsense_is_no_heartbeat(text: bytes) -> None:
    with pytest.raises(BadHeartbeat, match="A heartbeat "):
        heartbeat(text)


def test_a_heartbeat() -> None:
    assert heartbeat(b'{"session": "ana-1", "seconds": 32}') == Heartbeat("ana-1", 32.0)


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


async def closing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def speaking(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"220 ready")
    writer.close()


@pytest.mark.parametrize(("server", "gone"), [(silent, False), (speaking, False), (closing, True), (None, True)])
def test_a_row_that_leads_nowhere(server: Callable[..., Awaitable[None]] | None, gone: bool) -> None:
    async def check() -> bool:
        made: Any = await asyncio.start_server(server or silent, "127.0.0.1", 0)
        port = made.sockets[0].getsockname()[1]
        if server is None:
            made.close()
        (one,) = read(raw(rows=[row(to={"8080": f"127.0.0.1:{port}", "9090": "127.0.0.1:1"})])).rows
        found = await is_gone(one)
        made.close()
        return found

    assert asyncio.run(check()) is gone
