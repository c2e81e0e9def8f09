"""grpcio at both ends: the four kinds of call, metadata, trailers, deadlines, large messages, alternating marks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from harness import router, row, table

OPTIONS = [
    ("grpc.max_receive_message_length", 16 << 20),
    ("grpc.max_metadata_size", 64 << 10),
    ("grpc.absolute_max_metadata_size", 64 << 10),
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),
]


class Shop(grpc.GenericRpcHandler):
    """Bytes in, bytes out; NAME is the first word of every unary answer."""

    def __init__(self, name: bytes) -> None:
        self.name = name

    def service(self, details: Any) -> Any:
        way = details.method.rsplit("/", 1)[1]
        kinds: dict[str, Any] = {
            "unary": grpc.unary_unary_rpc_method_handler(self.unary),
            "fail": grpc.unary_unary_rpc_method_handler(self.fail),
            "slow": grpc.unary_unary_rpc_method_handler(self.slow),
            "down": grpc.unary_stream_rpc_method_handler(self.down),
            "up": grpc.stream_unary_rpc_method_handler(self.up),
            "both": grpc.stream_stream_rpc_method_handler(self.both),
        }
        return kinds.get(way)

    def unary(self, request: bytes, context: Any) -> bytes:
        metadata = dict(context.invocation_metadata())
        context.send_initial_metadata((("x-seen", str(len(metadata.get("x-long", "")))),))
        context.set_trailing_metadata((("x-sum", "42"), ("x-data-bin", b"\x00\xff")))
        return self.name + b" " + request

    def fail(self, request: bytes, context: Any) -> bytes:
        context.set_trailing_metadata((("x-why", "no stock"),))
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "sold out: ☃")
        return b""

    def slow(self, request: bytes, context: Any) -> bytes:
        ended = threading.Event()
        context.add_callback(ended.set)
        ended.wait(20)
        return b""

    def down(self, request: bytes, context: Any) -> Iterator[bytes]:
        for number in range(int(request)):
            yield b"%d" % number

    def up(self, requests: Iterator[bytes], context: Any) -> bytes:
        return b"%d" % sum(map(len, requests))

    def both(self, requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        yield from requests


@pytest.fixture(scope="module")
def serve() -> Iterator[Callable[[bytes], str]]:
    servers = []

    def started(name: bytes) -> str:
        server = grpc.server(ThreadPoolExecutor(20), options=OPTIONS, handlers=(Shop(name),))
        servers.append(server)
        return f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"

    def start(name: bytes) -> str:
        address = started(name)
        servers[-1].start()
        return address

    yield start
    for server in servers:
        server.stop(None).wait(5)


@pytest.fixture(scope="module")
def call(serve, through) -> Iterator[Any]:
    """`call("unary_unary", "unary")(b"x")`, with the metadata that leads to the server."""
    with (
        through(serve(b"shop")) as routed,
        grpc.insecure_channel(f"127.0.0.1:{routed.port}", options=OPTIONS) as channel,
    ):

        def made(kind: str, name: str) -> Callable[..., Any]:
            stub = getattr(channel, kind)(f"/shop.Shop/{name}")

            def ask(request: Any, timeout: float = 20) -> Any:
                return stub(request, metadata=tuple(routed.headers.items()), timeout=timeout)

            ask.stub = stub  # type: ignore[attr-defined]
            ask.metadata = tuple(routed.headers.items())  # type: ignore[attr-defined]
            return ask

        yield made


def test_one_message_each_way_with_metadata_and_trailers(call) -> None:
    ask = call("unary_unary", "unary")
    answer, done = ask.stub.with_call(b"hello", metadata=ask.metadata, timeout=20)

    assert answer == b"shop hello"
    assert dict(done.initial_metadata())["x-seen"] == "0"
    assert dict(done.trailing_metadata()) == {"x-sum": "42", "x-data-bin": b"\x00\xff"}


def test_a_stream_down(call) -> None:
    assert list(call("unary_stream", "down")(b"1000")) == [b"%d" % number for number in range(1000)]


def test_a_stream_up(call) -> None:
    assert call("stream_unary", "up")(iter([b"x" * 10_000] * 300)) == b"3000000"


def test_streams_both_ways_message_by_message(call) -> None:
    turn = threading.Semaphore(1)

    def requests() -> Iterator[bytes]:
        for number in range(100):
            assert turn.acquire(timeout=10)
            yield b"%d" % number

    for number, answer in enumerate(call("stream_stream", "both")(requests())):
        assert answer == b"%d" % number
        turn.release()


def test_an_error_has_its_status_its_text_and_its_trailers(call) -> None:
    with pytest.raises(grpc.RpcError) as failed:
        call("unary_unary", "fail")(b"")

    error: Any = failed.value
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert error.details() == "sold out: ☃"
    assert dict(error.trailing_metadata())["x-why"] == "no stock"


def test_a_method_that_is_not_there(call) -> None:
    with pytest.raises(grpc.RpcError) as failed:
        call("unary_unary", "nothing")(b"")

    error: Any = failed.value
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED


def test_a_deadline_ends_the_call_and_not_the_connection(call) -> None:
    started = time.monotonic()
    with pytest.raises(grpc.RpcError) as failed:
        call("unary_unary", "slow")(b"", timeout=0.3)

    error: Any = failed.value
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert time.monotonic() - started < 5
    assert call("unary_unary", "unary")(b"still") == b"shop still"


def test_five_megabytes_each_way(call) -> None:
    big = bytes(range(256)) * 20_000
    assert call("unary_unary", "unary")(big) == b"shop " + big


def test_seven_kilobytes_of_metadata(call) -> None:
    ask = call("unary_unary", "unary")
    metadata = (*ask.metadata, ("x-long", "a" * 7000))
    _, done = ask.stub.with_call(b"", metadata=metadata, timeout=20)

    assert dict(done.initial_metadata())["x-seen"] == "7000"


def test_sixteen_threads_that_alternate_marks_get_their_own_answers(serve) -> None:
    original, mine = serve(b"original"), serve(b"mine")
    with (
        router(table(original, [row("ana", mine)])) as running,
        grpc.insecure_channel(f"127.0.0.1:{running.port}", options=OPTIONS) as channel,
    ):
        stub = channel.unary_unary("/shop.Shop/unary")

        def hundred(thread: int) -> int:
            wrong = 0
            for number in range(100):
                marked = (thread + number) % 2 == 0
                metadata = (("version", "ana"),) if marked else ()
                text = b"%d %d" % (thread, number)
                wrong += stub(text, metadata=metadata, timeout=20) != (b"mine " if marked else b"original ") + text
            return wrong

        with ThreadPoolExecutor(16) as pool:
            assert sum(pool.map(hundred, range(16))) == 0
        stats = running.control("GET", "/stats").json()
        assert stats["rows"]["ana"]["requests"] == 800
