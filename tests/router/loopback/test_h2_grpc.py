"""gRPC through the router, with grpcio at both ends: it is the hardest judge of an HTTP/2 relay that is at hand."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest

from tests.router.loopback.h2kit import Router, closed_port, router, row

SECONDS = 20
ANA = (("version", "ana"),)
BIG = 5 << 20
ROOM = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.max_metadata_size", 1 << 16),
]


class Service(grpc.GenericRpcHandler):
    """Messages are bytes; each method is named by its kind."""

    def __init__(self, name: str) -> None:
        self.name = name.encode()
        self.stop = threading.Event()

    def service(self, details: Any) -> Any:
        kind = details.method.rpartition("/")[2]
        makers = {
            "unary": grpc.unary_unary_rpc_method_handler(self.unary),
            "up": grpc.stream_unary_rpc_method_handler(self.up),
            "down": grpc.unary_stream_rpc_method_handler(self.down),
            "both": grpc.stream_stream_rpc_method_handler(self.both),
            "fails": grpc.unary_unary_rpc_method_handler(self.fails),
            "slow": grpc.unary_unary_rpc_method_handler(self.slow),
            "echo": grpc.unary_unary_rpc_method_handler(lambda request, _: request),
            "metadata": grpc.unary_unary_rpc_method_handler(self.metadata),
        }
        return makers[kind]

    def unary(self, request: bytes, context: Any) -> bytes:
        context.set_trailing_metadata((("x-trailer", "end"), ("x-bin", b"\0\1")))
        return self.name + b":" + request

    def up(self, requests: Iterator[bytes], context: Any) -> bytes:
        return self.name + b":" + b",".join(requests)

    def down(self, request: bytes, context: Any) -> Iterator[bytes]:
        for i in range(int(request)):
            yield b"%d" % i

    def both(self, requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        for request in requests:
            yield self.name + b":" + request

    def fails(self, request: bytes, context: Any) -> bytes:
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "because ä")
        raise AssertionError

    def slow(self, request: bytes, context: Any) -> bytes:
        self.stop.wait(SECONDS)
        return b""

    def metadata(self, request: bytes, context: Any) -> bytes:
        found = dict(context.invocation_metadata())
        context.send_initial_metadata((("x-long", found["x-long"]),))
        return str(len(found["x-long"])).encode()


@contextlib.contextmanager
def served(name: str) -> Iterator[int]:
    service = Service(name)
    server = grpc.server(ThreadPoolExecutor(20), handlers=[service], options=ROOM)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield port
    finally:
        service.stop.set()
        server.stop(0).wait(SECONDS)


@contextlib.contextmanager
def calling(port: int) -> Iterator[grpc.Channel]:
    options = [*ROOM, ("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
        yield channel


@pytest.fixture(scope="module")
def running() -> Iterator[Router]:
    with served("original") as original, served("mine") as mine, router(original, [row(mine)]) as found:
        yield found


@pytest.fixture(params=[(), ANA], ids=["unmarked", "marked"])
def marks(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def name(marks: Any) -> bytes:
    return b"mine" if marks else b"original"


def test_unary_with_trailers(running: Router, marks: Any, name: bytes) -> None:
    with calling(running.port) as channel:
        for i in range(20):
            answer, call = channel.unary_unary("/s/unary").with_call(b"%d" % i, metadata=marks, timeout=SECONDS)
            assert answer == name + b":%d" % i
            trailers = {t.key: t.value for t in call.trailing_metadata()}
            assert (trailers["x-trailer"], trailers["x-bin"]) == ("end", b"\0\1")


def test_the_three_kinds_of_streams(running: Router, marks: Any, name: bytes) -> None:
    with calling(running.port) as channel:
        up = channel.stream_unary("/s/up")((b"%d" % i for i in range(100)), metadata=marks, timeout=SECONDS)
        assert up == name + b":" + b",".join(b"%d" % i for i in range(100))

        down = channel.unary_stream("/s/down")(b"1000", metadata=marks, timeout=SECONDS)
        assert list(down) == [b"%d" % i for i in range(1000)]

        go = [threading.Event() for _ in range(20)]

        def in_turn() -> Iterator[bytes]:
            for i, event in enumerate(go):
                assert event.wait(SECONDS)
                yield b"%d" % i

        go[0].set()
        for i, answer in enumerate(channel.stream_stream("/s/both")(in_turn(), metadata=marks, timeout=SECONDS)):
            assert answer == name + b":%d" % i
            if i + 1 < len(go):
                go[i + 1].set()


def test_a_status_of_the_server_arrives(running: Router, marks: Any) -> None:
    with calling(running.port) as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/s/fails")(b"", metadata=marks, timeout=SECONDS)

    assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.FAILED_PRECONDITION, "because ä")


def test_five_megabytes_both_ways(running: Router, marks: Any) -> None:
    with calling(running.port) as channel:
        message = bytes(range(256)) * (BIG // 256)
        assert channel.unary_unary("/s/echo")(message, metadata=marks, timeout=SECONDS) == message


def test_a_deadline_cancels_at_the_server(running: Router, marks: Any) -> None:
    with calling(running.port) as channel:
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary("/s/slow")(b"", metadata=marks, timeout=0.2)
        assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        assert channel.unary_unary("/s/echo")(b"still here", metadata=marks, timeout=SECONDS) == b"still here"


def test_seven_kilobytes_of_metadata(running: Router, marks: Any) -> None:
    with calling(running.port) as channel:
        long = (*marks, ("x-long", "~" * 7000))
        answer, call = channel.unary_unary("/s/metadata").with_call(b"", metadata=long, timeout=SECONDS)

    assert answer == b"7000"
    assert {m.key: m.value for m in call.initial_metadata()}["x-long"] == "~" * 7000


def test_sixteen_threads_that_alternate(running: Router) -> None:
    with calling(running.port) as channel, ThreadPoolExecutor(16) as threads:
        call = channel.unary_unary("/s/unary")

        def one(i: int) -> bool:
            marked = i % 2 == 0
            answer = call(b"%d" % i, metadata=ANA if marked else (), timeout=SECONDS)
            return bool(answer == (b"mine" if marked else b"original") + b":%d" % i)

        assert all(threads.map(one, range(800)))


def test_a_server_that_restarts_gives_way_to_the_original_and_comes_back() -> None:
    with served("original") as original, contextlib.ExitStack() as mine, calling_row(original, mine) as (channel, port):
        call = channel.unary_unary("/s/unary")
        assert call(b"1", metadata=ANA, timeout=SECONDS) == b"mine:1"
        mine.close()
        answer, found = call.with_call(b"2", metadata=ANA, timeout=SECONDS)
        assert answer == b"original:2"
        assert ("ktpy-fallback", "ana") in [(m.key, m.value) for m in found.initial_metadata()]


@contextlib.contextmanager
def calling_row(original: int, mine: contextlib.ExitStack) -> Iterator[tuple[grpc.Channel, int]]:
    port = mine.enter_context(served("mine"))
    with router(original, [row(port)]) as running, calling(running.port) as channel:
        yield channel, port


def test_a_strict_row_without_its_server_is_unavailable() -> None:
    with served("original") as original, router(original, [row(closed_port(), strict=True)]) as running:
        with calling(running.port) as channel, pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary("/s/unary")(b"", metadata=ANA, timeout=SECONDS)

        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
        assert "refused the connection" in caught.value.details()
