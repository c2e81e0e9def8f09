"""The WebSocket frame by frame (RFC 6455 §5.2), against a fake socket."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from ktpy.cluster.portstream import MESSAGE, PortStream
from ktpy.errors import KtError
from tests.unit.net.fakes import FakeTransport, Remembering

V4 = Subprotocol("v4.channel.k8s.io")
DATA_NAMED = b"\x82\x03\x00\xae\x08"  # binary, 3 bytes: channel 0, port 2222 little-endian
ERROR_NAMED = b"\x82\x03\x01\xae\x08"


class Case:
    """A stream whose handshake is done by a real server protocol in memory."""

    def __init__(self, *, subprotocol: bool = True) -> None:
        self.protocol = Remembering()
        client = ClientProtocol(parse_uri("ws://api/x"), subprotocols=[V4], max_size=None)
        client.send_request(client.connect())
        self.stream = PortStream(client, self.protocol, "pod/shadow")
        self.transport = FakeTransport()
        self.stream.wire.connection_made(self.transport)
        self.server = ServerProtocol(subprotocols=[V4] if subprotocol else None)
        self.server.receive_data(self.transport.taken())
        (request,) = self.server.events_received()
        assert isinstance(request, Request)
        self.server.send_response(self.server.accept(request))
        self.says(b"".join(self.server.data_to_send()))

    def says(self, data: bytes) -> None:
        self.stream.wire.data_received(data)

    def heard(self) -> list[bytes]:
        self.server.receive_data(self.transport.taken())
        return [bytes(each.data) for each in self.server.events_received() if isinstance(each, Frame)]

    def up(self) -> None:
        self.says(DATA_NAMED + ERROR_NAMED)


def run(scene: Callable[[Case], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        case = Case()
        await scene(case)
        case.stream.lost(None)

    asyncio.run(main())


def test_it_is_up_when_both_channels_have_named_the_port() -> None:
    async def scene(case: Case) -> None:
        case.says(DATA_NAMED)
        assert not case.stream.is_up
        case.says(ERROR_NAMED[:2])
        case.says(ERROR_NAMED[2:])
        await case.stream.ready
        assert case.protocol.told == ["made"]

    run(scene)


def test_bytes_both_ways() -> None:
    async def scene(case: Case) -> None:
        case.up()
        case.says(b"\x82\x06\x00hello" + b"\x82\x01\x00")
        case.stream.write(b"answer")
        assert case.protocol.got == b"hello"
        assert case.heard() == [b"\x00answer"]

    run(scene)


def test_many_pieces_are_one_message_and_a_big_one_is_many() -> None:
    async def scene(case: Case) -> None:
        case.up()
        case.stream.writelines([b"a" * 1000, b"b" * 1000])
        case.stream.writelines([b"c" * MESSAGE, b"d"])
        case.stream.write(b"e" * (MESSAGE + 1))
        assert [len(each) - 1 for each in case.heard()] == [2000, MESSAGE, 1, MESSAGE, 1]

    run(scene)


def test_a_fragmented_message_stays_on_its_channel() -> None:
    async def scene(case: Case) -> None:
        case.up()
        case.says(b"\x02\x03\x00ab" + b"\x80\x02cd")  # RFC 6455 §5.4: binary without FIN, then continuation with FIN
        assert case.protocol.got == b"abcd"

    run(scene)


def test_a_refused_port_is_told_in_the_servers_words() -> None:
    async def scene(case: Case) -> None:
        case.up()
        case.says(b"\x82\x13\x01connection refused")
        assert case.protocol.told == ["made", "lost port-forward to pod/shadow: connection refused"]
        assert case.transport.is_closing()

    run(scene)


def test_an_error_instead_of_the_start_fails_the_dial() -> None:
    async def scene(case: Case) -> None:
        case.says(ERROR_NAMED + b"\x82\x0e\x01pod is asleep")
        with pytest.raises(KtError, match="pod is asleep"):
            await case.stream.ready
        assert case.protocol.told == []

    run(scene)


def test_a_ping_is_answered() -> None:
    async def scene(case: Case) -> None:
        case.up()
        case.says(b"\x89\x02hi")
        case.server.receive_data(case.transport.taken())
        (pong,) = case.server.events_received()
        assert isinstance(pong, Frame)
        assert (pong.opcode, bytes(pong.data)) == (Opcode.PONG, b"hi")

    run(scene)


def test_three_pings_without_any_answer_are_the_end() -> None:
    async def scene(case: Case) -> None:
        case.up()
        for _ in range(3):
            case.stream._tick()
        case.says(b"\x8a\x00")  # a pong
        for _ in range(3):
            case.stream._tick()
        assert case.protocol.told == ["made"]
        case.stream._tick()
        assert case.protocol.told == ["made", "lost the port-forward to pod/shadow is silent for 45 s"]

    run(scene)


def test_a_paused_reader_is_spared() -> None:
    async def scene(case: Case) -> None:
        case.up()
        case.stream.pause_reading()
        case.says(b"\x82\x06\x00hello")
        assert (case.protocol.got, case.transport.calls) == (b"", ["pause"])
        case.stream.resume_reading()
        assert (case.protocol.got, case.transport.calls) == (b"hello", ["pause", "resume"])

    run(scene)


def test_a_full_socket_is_passed_on() -> None:
    async def scene(case: Case) -> None:
        case.up()
        case.stream.wire.pause_writing()
        case.stream.wire.resume_writing()
        assert case.protocol.told == ["made", "pause", "resume"]

    run(scene)


def test_our_close_is_said_and_is_no_loss() -> None:
    async def scene(case: Case) -> None:
        case.up()
        case.stream.close()
        case.stream.write(b"too late")
        assert case.heard() == [b"\x03\xe8"]  # 1000, RFC 6455 §7.4.1
        case.stream.wire.connection_lost(None)
        assert case.protocol.told == ["made", "lost"]

    run(scene)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\x88\x09\x03\xe9restart", "was closed: restart"),  # 1001
        (b"\x83\x00", "broke"),  # an opcode that does not exist
        (b"\x82\x83\0\0\0\0abc", "broke"),  # a server must not mask
    ],
)
def test_the_servers_end_and_nonsense_have_a_reason(data: bytes, why: str) -> None:
    async def scene(case: Case) -> None:
        case.up()
        case.says(data)
        assert why in case.protocol.told[-1]

    run(scene)


def test_a_socket_that_breaks_is_told() -> None:
    async def scene(case: Case) -> None:
        case.up()
        case.stream.wire.connection_lost(OSError("reset"))
        assert case.protocol.told[-1] == "lost the port-forward to pod/shadow ended: reset"

    run(scene)


def test_a_server_without_our_subprotocol_is_refused() -> None:
    async def main() -> None:
        case = Case(subprotocol=False)
        with pytest.raises(KtError, match="v4.channel"):
            await case.stream.ready

    asyncio.run(main())
