"""The relay's state alone, without loop and transports: one flight of frames from a side that is wrong."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.exceptions import InvalidBodyLengthError, ProtocolError

from ktpy_router.h2.link import Link
from ktpy_router.h2.state import Relay
from tests.router.fuzz import h2_frames, http1_grammar
from tests.router.fuzz.h2_frames import DATA, END_HEADERS, END_STREAM, HEADERS, Frame
from tests.router.fuzz.h2_peers import BLOCK, SEMANTIC
from tests.router.fuzz.h2_sides import ClientPeer
from tests.router.fuzz.h2_world import CONFIG, TABLE
from tests.router.fuzz.http1_framing import Finding
from tests.router.fuzz.wires import ANA, LISTEN, MemoryCore, SteppedLoop, Wire

MOST_ROUNDS = 40
GREETING = bytes(Frame(h2_frames.SETTINGS, 0, 0, b"")) + bytes(Frame(h2_frames.SETTINGS, 1, 0, b""))
OK = b"\x88\x0f\x10\x0atext/plain"
BODIES = (b"", b"x", b"y" * 1000, b"z" * 16384)


class Bench:
    """A relay, and upstreams that answer each request when it is complete; WILD is the address of one that errs."""

    def __init__(self, rng: Random, loop: SteppedLoop, *, wild: str) -> None:
        self.rng, self.wild = rng, wild
        port = MemoryCore(CONFIG, TABLE, lambda name, wire: False).ports[LISTEN]
        self.relay = Relay(CONFIG, port, self, now=loop.time())
        self.dialled: list[Link] = []
        self.got: dict[Link, bytes] = {}
        self.read: dict[Link, int] = {}

    # What the relay wishes

    def dial(self, link: Link) -> None:
        self.dialled.append(link)

    def hold(self, *_: Any) -> None:
        raise AssertionError("no row holds")

    def copy(self, *_: Any) -> None:
        raise AssertionError("no row mirrors")

    def hang_up(self, link: Link) -> None:
        self._collect(link)

    # What happens

    def client_says(self, data: bytes) -> None:
        self.relay.client_received(data)
        for _ in range(MOST_ROUNDS):
            if not (self._connect() or self._answer()):
                return
        raise Finding("it never comes to rest")

    def take(self) -> bytes:
        """For the client."""
        out = b"".join(self.relay.to_client)
        self.relay.to_client.clear()
        return out

    def end(self) -> None:
        self.relay.client_lost()
        for link in tuple(self.got):
            self._collect(link)
        if self.relay.streams or self.relay.all_links or self.relay.port.default_stats.open:
            raise Finding(f"something is left: {self.relay.streams} {self.relay.all_links}")

    def _connect(self) -> bool:
        fresh, self.dialled = self.dialled, []
        for link in fresh:
            self.got[link], self.read[link] = b"", 0
            self.relay.connected(link)
            self._say(link, GREETING)
        return bool(fresh)

    def _answer(self) -> bool:
        busy = False
        for link in list(self.got):
            self._collect(link)
            new = self.got[link][self.read[link] :]
            start, frames = h2_frames.split(new)
            self.read[link] += len(start) + sum(9 + len(frame.payload) for frame in frames)
            done = [frame.stream for frame in frames if frame.kind in (DATA, HEADERS) and frame.flags & END_STREAM]
            if done and not link.gone:
                busy = True
                body = self.rng.choice(BODIES)
                for stream in done:
                    answer = [Frame(HEADERS, END_HEADERS, stream, OK), Frame(DATA, END_STREAM, stream, body)]
                    self._say(link, b"".join(map(bytes, answer)))
        return busy

    def _say(self, link: Link, data: bytes) -> None:
        if link.upstream.name == self.wild:
            _, frames = h2_frames.split(data)
            data = h2_frames.mutated(
                self.rng, [made for frame in frames for made in h2_frames.dressed(self.rng, frame)]
            )
        self.relay.link_received(link, data)
        self._collect(link)

    def _collect(self, link: Link) -> None:
        self.got[link] = self.got.get(link, b"") + b"".join(link.out)
        link.out.clear()


def client_case(rng: Random, tally: Counter[str]) -> None:
    """A client whose frames are mutated. Errors: Finding, when an upstream gets what it must take for a fault."""
    with SteppedLoop() as loop:
        bench = Bench(rng, loop, wild="")
        frames = _flight(rng)
        for piece in http1_grammar.pieces(rng, h2_frames.PREFACE + h2_frames.mutated(rng, frames)):
            bench.client_says(piece)
        bench.take()
        bench.end()
        tally["sequences"] += 1
        for link, data in bench.got.items():
            _upstream_judges(link, data, tally)


def _upstream_judges(link: Link, data: bytes, tally: Counter[str]) -> None:
    judge = _judge()
    try:
        events = judge.receive_data(data)
    except ProtocolError as error:
        if (
            BLOCK in str(error)
            or isinstance(error, InvalidBodyLengthError)
            or any(text in str(error) for text in SEMANTIC)
        ):
            tally[f"an origin judges: {str(error)[:40]}"] += 1
            return
        raise Finding(f"an origin hears what is wrong: {type(error).__name__} {error}") from error
    for event in events:
        headers = getattr(event, "headers", None)
        if headers and type(event).__name__ == "RequestReceived" and link.upstream.name == ANA:
            marks = [value.strip() for name, value in headers if name == b"version"]
            if b"ana" not in marks:
                raise Finding(f"an unmarked request reaches ana: {headers}")


def upstream_case(rng: Random, tally: Counter[str]) -> None:
    """An upstream whose frames are mutated. Errors: Finding, when the client gets what it must take for a fault."""
    with SteppedLoop() as loop:
        bench = Bench(rng, loop, wild=ANA)
        wire = Wire(loop, None)
        client = ClientPeer(rng, wire, is_client=True, wild=False, plain=True)
        client.others_wild = client.calm = True
        for number in range(rng.choice((1, 2, 4))):
            client.open(number)
            client.speak()
            while wire.inbox:
                data = wire.inbox.popleft()
                bench.client_says(data or b"")
            client.hear(bench.take())
            client.speak()
        while wire.inbox:
            bench.client_says(wire.inbox.popleft() or b"")
        client.hear(bench.take())
        bench.end()
        tally["sequences"] += any(link.upstream.name == ANA for link in bench.got)


def _judge() -> H2Connection:
    judge = H2Connection(
        H2Configuration(
            client_side=False,
            header_encoding=None,
            validate_inbound_headers=False,
            normalize_inbound_headers=False,
        )
    )
    judge.initiate_connection()
    return judge


_FIELDS = (b"\x83\x86\x84\x01\x04shop", b"\x82\x87\x85\x41\x04shop", b"\x83\x86\x44\x02/a\x01\x04shop")
_MARKS = (
    b"",
    b"",
    b"\x00\x07version\x03ana",
    b"\x00\x85\xee\x5a\x39\x8d\x47\x03ana",
    b"\x40\x07version\x03ana",
    b"\x00\x07version\x03bob",
)


def _flight(rng: Random) -> list[Frame]:
    """What a client may send at once; with its acknowledgement, blocks use no dynamic table."""
    plain = rng.random() < 0.7
    frames = [
        Frame(
            h2_frames.SETTINGS,
            0,
            0,
            b"" if rng.random() < 0.7 else b"\x00\x04" + rng.choice((b"\0\0\0\0", b"\0\1\0\0")),
        )
    ]
    if plain:
        frames.append(Frame(h2_frames.SETTINGS, 1, 0, b""))
    for stream in range(1, 2 * rng.choice((1, 2, 4)), 2):
        mark = rng.choice(_MARKS)
        block = rng.choice(_FIELDS) + (b"\x00" + mark[1:] if plain and mark else mark)
        body = rng.choice((b"", b"", b"abc", b"d" * 9000))
        made = [Frame(HEADERS, END_HEADERS | (0 if body else END_STREAM), stream, block)]
        if body:
            trailers = rng.random() < 0.2
            made.append(Frame(DATA, 0 if trailers else END_STREAM, stream, body))
            if trailers:
                made.append(Frame(HEADERS, END_HEADERS | END_STREAM, stream, b"\x00\x01t\x01x"))
        frames += [one for frame in made for one in h2_frames.dressed(rng, frame)]
        if rng.random() < 0.1:
            frames.append(Frame(h2_frames.RST_STREAM, 0, stream, b"\0\0\0\x08"))
    return frames
