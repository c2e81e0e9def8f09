"""The connection protocol message by message, against a far end that seals and opens for itself."""

import asyncio
from collections.abc import Callable, Coroutine
from struct import pack
from typing import Any

import pytest

from ktpy.errors import TunnelLost
from ktpy.net import messages as m
from ktpy.net.pump import ASKED_LOGGED, Opening, OpenRefused, Pump
from ktpy.net.rekey import kexinit
from ktpy.net.sending import Limits
from tests.unit.net.fakes import FakeTransport, FarEnd, Remembering, session


class Case:
    def __init__(self, limits: Limits) -> None:
        self.transport = FakeTransport()
        self.far = FarEnd(self.transport)
        self.openings: list[Opening] = []
        self.lost: list[TunnelLost] = []
        self.pump = Pump(
            self.transport,
            session(),
            on_opening=lambda _, opening: self.openings.append(opening),
            on_lost=self.lost.append,
            limits=limits,
        )

    def says(self, *payloads: bytes) -> None:
        self.pump.data_received(b"".join(self.far.sealer.seal(payload) for payload in payloads))

    async def heard(self) -> list[bytes]:
        await asyncio.sleep(0)  # the pump writes once per turn of the loop
        return self.far.heard()

    async def arrival(self, *, window: int = 1 << 20) -> Remembering:
        self.says(forwarded(window=window))
        protocol = Remembering()
        self.pump.accept(self.openings.pop(), protocol)
        await self.heard()
        return protocol


def forwarded(theirs: int = 4, window: int = 1 << 20, biggest: int = 32768) -> bytes:
    """RFC 4254 §7.2."""
    return (
        bytes([m.CHANNEL_OPEN])
        + m.text("forwarded-tcpip")
        + pack(">III", theirs, window, biggest)
        + m.text("0.0.0.0")
        + pack(">I", 8080)
        + m.text("10.0.0.7")
        + pack(">I", 51234)
    )


def run(scene: Callable[[Case], Coroutine[Any, Any, None]], limits: Limits | None = None) -> Case:
    async def main() -> Case:
        case = Case(limits or Limits())
        await scene(case)
        case.pump.stop(TunnelLost("the test is over"))
        return case

    return asyncio.run(main())


def test_answers_come_in_the_order_of_the_questions() -> None:
    async def scene(case: Case) -> None:
        asked = [asyncio.ensure_future(case.pump.listen("", port)) for port in (80, 81)]
        await asyncio.sleep(0)
        assert await case.heard() == [m.tcpip_forward("", 80), m.tcpip_forward("", 81)]
        case.says(bytes([m.REQUEST_SUCCESS]), bytes([m.REQUEST_FAILURE]))
        assert await asyncio.gather(*asked) == [True, False]

    run(scene)


def test_an_arrival_is_told_and_confirmed_and_carries_bytes_both_ways() -> None:
    async def scene(case: Case) -> None:
        case.says(forwarded())
        assert case.openings == [Opening(4, 1 << 20, 32768, 8080, "10.0.0.7", 51234)]
        protocol = Remembering()
        channel = case.pump.accept(case.openings[0], protocol)
        case.says(m.data_head(0, 5) + b"hello")
        assert protocol.got == b"hello"
        channel.write(b"x" * 40_000)  # the far side takes 32 KiB at once
        confirmed, one, two = await case.heard()
        assert confirmed[:9] == b"\x5b\0\0\0\4\0\0\0\0"
        assert one == m.data_head(4, 32768) + b"x" * 32768
        assert two == m.data_head(4, 7232) + b"x" * 7232

    run(scene)


def test_fin_and_close_from_the_far_side() -> None:
    async def scene(case: Case) -> None:
        protocol = await case.arrival()
        case.says(m.channel_only(m.CHANNEL_EOF, 0), m.channel_only(m.CHANNEL_CLOSE, 0))
        assert protocol.told == ["made", "eof", "lost"]
        assert await case.heard() == [m.channel_only(m.CHANNEL_CLOSE, 4)]
        case.says(m.data_head(0, 1) + b"x")
        assert "does not exist" in str(case.lost[0])

    run(scene)


def test_a_stream_into_the_cluster_opens_or_says_why_not() -> None:
    async def scene(case: Case) -> None:
        opening = [asyncio.ensure_future(case.pump.open("shop", 80, Remembering())) for _ in range(2)]
        await asyncio.sleep(0)
        assert [each[:1] for each in await case.heard()] == [bytes([m.CHANNEL_OPEN])] * 2
        case.says(m.confirm(0, 7, 1000, 1000), m.refuse(1, m.CONNECT_FAILED, "Connection refused"))
        assert (await opening[0]).theirs == 7
        with pytest.raises(OpenRefused, match="connect failed: Connection refused") as refused:
            await opening[1]
        assert refused.value.reason == 2

    run(scene)


def test_a_stream_that_nobody_waits_for_any_more_is_closed() -> None:
    async def scene(case: Case) -> None:
        opening = asyncio.ensure_future(case.pump.open("shop", 80, Remembering()))
        await asyncio.sleep(0)
        opening.cancel()
        await case.heard()
        case.says(m.confirm(0, 7, 1000, 1000))
        assert await case.heard() == [m.channel_only(m.CHANNEL_CLOSE, 7)]

    run(scene)


def test_what_we_do_not_know_is_refused_politely() -> None:
    async def scene(case: Case) -> None:
        await case.arrival()
        case.says(
            bytes([m.GLOBAL_REQUEST]) + m.text("hostkeys-00@openssh.com") + b"\0" + m.text(b"key"),
            bytes([m.GLOBAL_REQUEST]) + m.text("keepalive@openssh.com") + b"\1",
            pack(">BI", m.CHANNEL_REQUEST, 0) + m.text("keepalive@openssh.com") + b"\1",
            bytes([m.CHANNEL_OPEN]) + m.text("x11") + pack(">III", 5, 1, 1),
            bytes([m.IGNORE]) + m.text("padding"),
            bytes([m.DEBUG]) + b"\1" + m.text("hi") + m.text(""),
            bytes([m.EXT_INFO]) + pack(">I", 0),
            bytes([199]),
        )
        assert await case.heard() == [
            bytes([m.REQUEST_FAILURE]),
            m.channel_only(m.CHANNEL_FAILURE, 4),
            m.refuse(5, m.UNKNOWN_TYPE, "only forwarded-tcpip"),
            m.unimplemented(8),  # the ninth packet, counted from nought
        ]
        assert case.lost == []

    run(scene)


def test_a_far_socket_that_takes_no_more_ends_the_stream() -> None:
    async def scene(case: Case) -> None:
        await case.arrival()
        case.says(pack(">BI", m.CHANNEL_REQUEST, 0) + m.text("eow@openssh.com") + b"\0")
        assert await case.heard() == [m.channel_only(m.CHANNEL_CLOSE, 4)]

    run(scene)


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        (pack(">BI", m.DISCONNECT, 2) + m.text("Timeout") + m.text(""), "hung up: Timeout"),
        (bytes([m.REQUEST_SUCCESS]), "not asked"),
        (m.channel_only(m.CHANNEL_EOF, 77), "does not exist"),
        (m.data_head(0, 9) + b"short", "wrong size"),
        (bytes([m.CHANNEL_OPEN]) + m.text("forwarded-tcpip"), "shorter"),
        (forwarded(biggest=0), "takes no bytes"),
        (m.confirm(0, 1, 1, 1), "twice"),
        (m.refuse(0, 1, "no"), "refused a stream that is open"),
        (pack(">BII", m.CHANNEL_EXTENDED_DATA, 0, 1) + m.text("x"), "extended data"),
        (bytes([m.NEWKEYS]), "out of turn"),
        (bytes([m.CHANNEL_EOF]), "shorter"),
    ],
)
def test_nonsense_ends_the_session_with_a_reason(payload: bytes, why: str) -> None:
    async def scene(case: Case) -> None:
        protocol = await case.arrival()
        case.says(payload)
        assert why in str(case.lost[0])
        assert case.transport.is_closing()
        assert protocol.told[-1].startswith("lost ")

    run(scene)


def test_random_messages_never_raise_anything_else() -> None:
    import random

    seed = random.randrange(1 << 32)
    print("seed", seed)
    dice = random.Random(seed)

    async def scene(case: Case) -> None:
        for _ in range(20):
            case.says(bytes([dice.randrange(256)]) + dice.randbytes(dice.randrange(40)))

    for _ in range(300):
        run(scene)


def test_a_full_wire_holds_data_back_and_serves_all_in_turn() -> None:
    async def scene(case: Case) -> None:
        one, two = await case.arrival(), Remembering()
        case.says(forwarded(theirs=5))
        case.pump.accept(case.openings.pop(), two)
        await case.heard()
        assert one.stream is not None
        assert two.stream is not None
        case.pump.pause_writing()
        one.stream.write(b"1")
        two.stream.write(b"2")
        assert await case.heard() == []
        case.pump.resume_writing()
        assert await case.heard() == [m.data_head(4, 1) + b"1", m.data_head(5, 1) + b"2"]

    run(scene)


def test_nothing_but_the_exchange_is_sent_while_keys_are_changed() -> None:
    async def scene(case: Case) -> None:
        protocol = await case.arrival()
        case.says(kexinit("aes128-gcm@openssh.com"))
        assert protocol.stream is not None
        protocol.stream.write(b"data")
        protocol.stream.write_eof()
        case.says(bytes([m.GLOBAL_REQUEST]) + m.text("keepalive@openssh.com") + b"\1")
        assert [each[0] for each in await case.heard()] == [m.KEXINIT, m.KEX_ECDH_INIT]

    run(scene)


def test_new_keys_are_asked_for_after_so_many_bytes() -> None:
    async def scene(case: Case) -> None:
        protocol = await case.arrival()
        assert protocol.stream is not None
        protocol.stream.write(bytes(3000))
        await case.heard()
        await asyncio.sleep(0)
        assert [each[0] for each in await case.heard()] == [m.KEXINIT]

    run(scene, Limits(rekey_bytes=2000))


def test_a_polite_end_says_why() -> None:
    async def scene(case: Case) -> None:
        case.pump.stop(TunnelLost("closed"), says="bye")
        assert await case.heard() == [m.disconnect("bye")]
        assert case.transport.calls == ["close"]
        with pytest.raises(TunnelLost, match="closed"):
            await case.pump.listen("", 80)
        with pytest.raises(TunnelLost, match="closed"):
            await case.pump.open("shop", 80, Remembering())

    run(scene)


def test_whoever_waits_hears_of_the_end() -> None:
    async def scene(case: Case) -> None:
        waiting = [
            asyncio.ensure_future(case.pump.listen("", 80)),
            asyncio.ensure_future(case.pump.open("shop", 80, Remembering())),
        ]
        await asyncio.sleep(0)
        case.pump.stop(TunnelLost("cut"))
        for each in await asyncio.gather(*waiting, return_exceptions=True):
            assert str(each) == "cut"

    run(scene)


def test_silence_is_asked_and_then_the_end() -> None:
    async def scene(case: Case) -> None:
        for _ in range(3):
            case.pump._tick()
        assert await case.heard() == [m.global_request("keepalive@openssh.com")] * 3
        case.pump._tick()
        assert "not been heard of for 15 s" in str(case.lost[0])

    run(scene)


def test_what_the_pod_says_last_cannot_play_with_the_terminal() -> None:
    async def scene(case: Case) -> None:
        said = m.text("\x1b[2J" + "x" * 100_000)
        case.says(pack(">BI", m.DISCONNECT, 2) + said + m.text(""))
        assert case.lost[0].what.startswith("the shadow pod's sshd hung up: ?[2Jxxx")
        assert len(case.lost[0].what) < 300

    run(scene)


def test_why_a_stream_was_refused_cannot_play_with_the_terminal() -> None:
    async def scene(case: Case) -> None:
        opening = asyncio.ensure_future(case.pump.open("shop", 80, Remembering()))
        await case.heard()
        case.says(m.refuse(0, m.CONNECT_FAILED, "\x1b[2J"))
        with pytest.raises(OpenRefused, match=r"connect failed: \?\[2J$"):
            await opening

    run(scene)


def test_of_what_the_pod_asks_for_little_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def scene(case: Case) -> None:
        case.says(*[bytes([m.GLOBAL_REQUEST]) + m.text("\n" + "x" * 1000) + b"\0"] * 100)

    with caplog.at_level("DEBUG", logger="ktpy.net.pump"):
        run(scene)
    assert len(caplog.messages) == ASKED_LOGGED
    assert all(len(line) < 100 and "\n" not in line for line in caplog.messages)


KEEPALIVE = bytes([m.GLOBAL_REQUEST]) + m.text("keepalive@openssh.com") + b"\1"


def test_a_pod_that_asks_without_end_and_reads_no_answers_ends_the_tunnel() -> None:
    async def scene(case: Case) -> None:
        case.pump.pause_writing()
        case.says(*[KEEPALIVE] * 100)
        assert case.lost == []
        case.pump.resume_writing()
        case.pump.pause_writing()
        case.says(*[KEEPALIVE] * 100)
        assert case.lost == [], "the answers so far were taken"
        case.says(*[KEEPALIVE] * 100)
        assert "asks without end" in case.lost[0].what

    run(scene, Limits(backlog=10_000))


def test_a_pod_that_asks_without_end_while_keys_are_changed_ends_the_tunnel() -> None:
    async def scene(case: Case) -> None:
        case.says(kexinit("aes128-gcm@openssh.com"), *[KEEPALIVE] * 100)
        assert case.lost == []
        case.says(*[KEEPALIVE] * 100)
        assert "asks without end" in case.lost[0].what

    run(scene, Limits(backlog=10_000))


def test_a_change_of_keys_that_does_not_end_ends_the_tunnel() -> None:
    async def scene(case: Case) -> None:
        case.pump.begin_rekey()
        case.pump._tick()
        assert case.lost == []
        assert case.pump._exchange_since is not None
        case.pump._exchange_since -= 61
        case.pump._tick()
        assert "did not finish a change of keys within 60 s" in case.lost[0].what

    run(scene)
