import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from ktpy.errors import TunnelLost
from ktpy.net import messages as m
from ktpy.net.rekey import kexinit
from ktpy.net.sending import FLUSH_SIZE, Limits, Sending
from tests.unit.net.fakes import FakeTransport, FarEnd, session


def run(scene: Callable[[Sending, FakeTransport, FarEnd], Coroutine[Any, Any, None]], **limits: int) -> None:
    async def main() -> None:
        transport = FakeTransport()
        await scene(Sending(transport, session(), Limits(**limits)), transport, FarEnd(transport))

    asyncio.run(main())


def test_all_messages_of_a_turn_are_one_write() -> None:
    async def scene(sending: Sending, transport: FakeTransport, far: FarEnd) -> None:
        sending.send(b"\x50one")
        sending.send_data(m.data_head(1, 3), memoryview(b"two"))
        assert transport.written == b""
        await asyncio.sleep(0)
        assert far.heard() == [b"\x50one", m.data_head(1, 3) + b"two"]

    run(scene)


def test_a_lot_is_written_without_waiting_for_the_turn() -> None:
    async def scene(sending: Sending, transport: FakeTransport, far: FarEnd) -> None:
        sending.send_data(m.data_head(1, FLUSH_SIZE), memoryview(bytes(FLUSH_SIZE)))
        assert len(transport.written) > FLUSH_SIZE

    run(scene)


def test_it_is_clear_unless_the_wire_is_full_or_keys_change_or_all_is_over() -> None:
    async def scene(sending: Sending, transport: FakeTransport, far: FarEnd) -> None:
        assert sending.is_clear
        sending.pause_writing()
        assert not sending.is_clear
        sending.resume_writing()
        assert sending.is_clear
        sending.begin_rekey()
        assert not sending.is_clear
        await asyncio.sleep(0)

    run(scene)


def test_messages_wait_while_keys_change() -> None:
    async def scene(sending: Sending, transport: FakeTransport, far: FarEnd) -> None:
        sending.exchange(kexinit("aes128-gcm@openssh.com"))
        sending.send(b"\x50waits")
        await asyncio.sleep(0)
        assert [each[0] for each in far.heard()] == [m.KEXINIT, m.KEX_ECDH_INIT]

    run(scene)


def test_new_keys_are_asked_for_once_after_so_many_bytes() -> None:
    async def scene(sending: Sending, transport: FakeTransport, far: FarEnd) -> None:
        sending.send(bytes([m.IGNORE]) * 2000)
        for _ in range(4):
            await asyncio.sleep(0)
        assert [each[0] for each in far.heard()] == [m.IGNORE, m.KEXINIT]

    run(scene, rekey_bytes=1000)


def test_the_last_word_comes_behind_what_was_written() -> None:
    async def scene(sending: Sending, transport: FakeTransport, far: FarEnd) -> None:
        sending.send(b"\x50first")
        sending.say_last("bye")
        assert far.heard() == [b"\x50first", m.disconnect("bye")]
        assert transport.calls == ["close"]
        sending.why = TunnelLost("over")
        sending.send(b"\x50never")
        await asyncio.sleep(0)
        assert far.heard() == []

    run(scene)


def test_while_keys_change_there_is_no_last_word() -> None:
    async def scene(sending: Sending, transport: FakeTransport, far: FarEnd) -> None:
        sending.begin_rekey()
        sending.say_last("bye")
        assert transport.calls == ["abort"]
        await asyncio.sleep(0)

    run(scene)
