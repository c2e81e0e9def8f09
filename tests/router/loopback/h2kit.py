"""The router on real sockets, in a thread of its own or in the image; origins that speak HTTP/2 by the `h2` library;
a raw client."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple, TypeVar, cast

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import uvloop
from hpack import Decoder, Encoder

from ktpy_router.config import Config
from ktpy_router.core import Core
from ktpy_router.door import Entrance
from ktpy_router.h2 import frames
from tests.router.loopback.image import IN_IMAGE, NEEDS_OBJECTS, Container, container
from tests.router.loopback.rawkit import LISTEN, InProcess, table

SECONDS = 15.0
T = TypeVar("T")


class Origin(asyncio.Protocol):
    """Answers by path: /silent not at all, /echo with the body and trailers, /early before the body, /big?N with N
    bytes, else with its name."""

    def __init__(self, name: str, settings: dict[int, int] | None = None) -> None:
        self.name = name.encode()
        config = h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
        self.h2 = h2.connection.H2Connection(config)
        self.h2.local_settings.update(settings or {})  # type: ignore[arg-type]
        self.requests: dict[int, dict[str, str]] = {}
        self.left: dict[int, tuple[bytes, bool]] = {}
        self.echo: dict[int, bytearray] = {}
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.h2.initiate_connection()
        self.flush()

    def flush(self) -> None:
        if not self.transport.is_closing():
            self.transport.write(self.h2.data_to_send())

    def data_received(self, data: bytes) -> None:
        try:
            events = self.h2.receive_data(data)
        except h2.exceptions.ProtocolError:
            self.flush()
            self.transport.close()
            return
        for event in events:
            self.event(event)
        for stream in tuple(self.left):
            self.pump(stream)
        self.flush()

    def event(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.RequestReceived):
            stream = cast(int, event.stream_id)
            self.requests[stream] = request = {str(k): str(v) for k, v in cast(Any, event.headers)}
            self.echo[stream] = bytearray()
            if request[":path"] == "/early":
                self.head(stream)
                self.say(stream, b"early", end=True)
        elif isinstance(event, h2.events.DataReceived):
            self.echo[cast(int, event.stream_id)] += event.data or b""
            if event.flow_controlled_length:
                self.h2.acknowledge_received_data(event.flow_controlled_length, cast(int, event.stream_id))
        elif isinstance(event, h2.events.StreamEnded):
            self.answer(cast(int, event.stream_id))
        elif isinstance(event, h2.events.StreamReset):
            self.left.pop(cast(int, event.stream_id), None)

    def head(self, stream: int, *more: tuple[str, str]) -> None:
        self.h2.send_headers(stream, [(":status", "200"), ("x-origin", self.name.decode()), *more])

    def answer(self, stream: int) -> None:
        path = self.requests[stream][":path"]
        if path.startswith("/big?"):
            self.head(stream)
            self.say(stream, bytes(int(path[5:])), end=True)
        elif path == "/echo":
            self.head(stream)
            self.say(stream, bytes(self.echo[stream]), end=False)
        elif path not in ("/silent", "/early"):
            self.head(stream)
            self.say(stream, self.name, end=True)

    def say(self, stream: int, body: bytes, *, end: bool) -> None:
        self.left[stream] = (body, end)
        self.pump(stream)

    def pump(self, stream: int) -> None:
        body, end = self.left[stream]
        try:
            while body and (room := min(self.h2.local_flow_control_window(stream), 16384)) > 0:
                self.h2.send_data(stream, body[:room], end_stream=end and len(body) <= room)
                body = body[room:]
            self.left[stream] = (body, end)
            if not body:
                del self.left[stream]
                if not end:
                    self.h2.send_headers(stream, [("x-trailer", "1")], end_stream=True)
        except h2.exceptions.ProtocolError:
            self.left.pop(stream, None)


class Loop:
    """An event loop in a thread, for the length of a `with` block."""

    def __enter__(self) -> Loop:
        self.loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self._servers: list[asyncio.Server] = []
        self._made: list[asyncio.Protocol] = []
        return self

    def __exit__(self, *_: object) -> None:
        async def cancel() -> None:
            for server in self._servers:
                server.close()
            others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            for made in self._made:
                if (transport := getattr(made, "transport", None)) is not None:
                    transport.abort()
            for _ in range(20):  # turns of the loop in which handles close
                await asyncio.sleep(0)

        try:
            self.run(cancel())
        finally:
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join(SECONDS)
            self.loop.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        future: Future[T] = asyncio.run_coroutine_threadsafe(work, self.loop)
        return future.result(SECONDS)

    def call(self, function: Callable[[], T]) -> T:
        async def work() -> T:
            return function()

        return self.run(work())

    def listen(self, factory: Callable[[], asyncio.Protocol], port: int = 0) -> int:
        """The port where it listens."""

        def noted() -> asyncio.Protocol:
            self._made.append(factory())
            return self._made[-1]

        server = self.run(self._server(noted, port))
        self._servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    async def _server(self, factory: Callable[[], asyncio.Protocol], port: int) -> asyncio.Server:
        return cast(asyncio.Server, await self.loop.create_server(factory, "127.0.0.1", port))


class Router(NamedTuple):
    loop: Loop
    """Where origins are; the router too when it is in this process."""
    box: InProcess | Container
    port: int

    @property
    def core(self) -> Core:
        assert isinstance(self.box, InProcess), NEEDS_OBJECTS
        return self.box.core

    def fallbacks(self, mark: str = "ana") -> int:
        """Of that row; a container's go on from test to test."""
        report = self.loop.call(self.box.report)
        return int(report["rows"][mark]["fallbacks"])

    def tick(self) -> None:
        """What a worker does once a second."""

        def all_clients() -> None:
            self.core.now = self.core.loop.time()
            for client in tuple(self.core.clients):
                client.tick(self.core.now)

        self.loop.call(all_clients)

    def drain(self) -> None:
        self.loop.call(self.core.drain)


def row(to: int, mark: str = "ana", **more: Any) -> dict[str, Any]:
    match = [{"in": "header", "name": "version", "exact": mark}]
    base = {"id": mark, "mark": mark, "owner": "o", "since": 1, "match": match, "to": {str(LISTEN): f"127.0.0.1:{to}"}}
    return base | more


@contextlib.contextmanager
def router(
    default: int, rows: Sequence[dict[str, Any]] = (), config: Config | None = None, loop: Loop | None = None
) -> Iterator[Router]:
    """Origins and router are on a loop of their own, unless LOOP is given."""
    with contextlib.ExitStack() as stack:
        on = loop or stack.enter_context(Loop())
        if IN_IMAGE:
            box = container(config or Config())
            box.put(f"127.0.0.1:{default}", rows)
            yield Router(on, box, box.port)
        else:
            yield stack.enter_context(_in_process(on, default, rows, config or Config()))


@contextlib.contextmanager
def _in_process(on: Loop, default: int, rows: Sequence[dict[str, Any]], config: Config) -> Iterator[Router]:
    core = on.call(lambda: Core(config, table(f"127.0.0.1:{default}", rows)))
    listening = socket.create_server(("127.0.0.1", 0))
    port = int(listening.getsockname()[1])
    entrance = on.call(lambda: Entrance(core, core.ports[LISTEN], listening))

    def end() -> None:
        entrance.close()
        for client in tuple(core.clients):
            client.abort()
        core.set_table(table(f"127.0.0.1:{default}", ()))

    try:
        yield Router(on, InProcess(core), port)
    finally:
        on.call(end)


def closed_port() -> int:
    """One where nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


class Frame(NamedTuple):
    kind: int
    flags: int
    stream: int
    payload: bytes


class Wire:
    """A client that sends whatever it is told."""

    def __init__(self, port: int, first: bytes | None = None) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.seen: list[Frame] = []
        self.closed = False
        self.encoder = Encoder()
        self.encoder.header_table_size = 0
        self.decoder = Decoder()
        self._left = b""
        self.send(frames.PREFACE + frames.settings() + frames.SETTINGS_ACK if first is None else first)

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        with contextlib.suppress(OSError):
            self.socket.sendall(data)

    def head(self, stream: int, *more: tuple[str, str], method: str = "GET", path: str = "/", end: bool = True) -> None:
        fields = [(":method", method), (":scheme", "http"), (":path", path), (":authority", "shop"), *more]
        self.send(frames.headers(stream, bytes(self.encoder.encode(fields)), end=end))

    def until(self, condition: Callable[[list[Frame]], T], seconds: float = SECONDS) -> T:
        """The first true value of CONDITION about what was seen, or its value when the connection has ended.

        Errors: AssertionError after SECONDS."""
        deadline = time.monotonic() + seconds
        while not (value := condition(self.seen)) and not self.closed:
            self.socket.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                data = self.socket.recv(65536)
            except ConnectionError:
                data = b""
            except TimeoutError:
                raise AssertionError(f"not within {seconds} s; seen: {self.seen}") from None
            self.closed = not data
            self._left += data
            new = [Frame(*found) for found in frames.read(self._left)]
            self._left = self._left[sum(frames.FRAME_HEAD + len(frame.payload) for frame in new) :]
            self.seen += new
        return value if value else condition(self.seen)

    def answer(self, stream: int) -> tuple[dict[str, str], bytes]:
        """The whole answer of STREAM: its head, trailers too, and its body. Errors: AssertionError when it is reset."""
        self.until(lambda seen: any(f.stream == stream and (f.kind == frames.RST_STREAM or ends(f)) for f in seen))
        mine = [frame for frame in self.seen if frame.stream == stream]
        assert frames.RST_STREAM not in [frame.kind for frame in mine[:1]], mine
        heads: dict[str, str] = {}
        for frame in mine:
            if frame.kind == frames.HEADERS:
                heads |= {str(name): str(value) for name, value in self.decoder.decode(frame.payload)}
        return heads, b"".join(frame.payload for frame in mine if frame.kind == frames.DATA)

    def sync(self) -> None:
        """Everything that was sent before has been read by the router, and what it says to it at once is here."""
        mark = frames.HEAD.pack(0, 0, 0)[:8]
        self.send(frames.frame(frames.PING, 0, 0, mark))
        self.until(lambda seen: Frame(frames.PING, frames.ACK, 0, mark) in seen)


def ends(frame: Frame) -> bool:
    return frame.kind in (frames.DATA, frames.HEADERS) and bool(frame.flags & frames.END_STREAM)
