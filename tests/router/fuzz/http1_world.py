"""Clients, the real Http1Client, and two origins that parse for themselves: all in memory, one step after the other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from time import monotonic
from typing import Any

from ktpy_router import http1_answer, http1_request, http1_upstream, pipe
from ktpy_router.config import Config
from ktpy_router.http1 import Http1Client
from tests.router.fuzz import http1_grammar as grammar
from tests.router.fuzz import http1_mutations as mutations
from tests.router.fuzz import second, wires
from tests.router.fuzz.http1_framing import Finding
from tests.router.fuzz.http1_mood import Mood, Served
from tests.router.fuzz.wires import ANA, EOF, LISTEN, ORIGINAL, MemoryCore, SteppedLoop, Wire

CONFIG = Config(head_bytes=4096, replay_bytes=2048, buffer_bytes=8192, pool_size=4, linger_seconds=1)
MOST_STEPS = 6000
LARGEST = 16384
"""Of one read here, with some room."""
TUNNEL = b"\0raw\r\n\r\nGET /tunnel HTTP/1.1\r\nx-id: 666\r\n\r\n"
_ID = re.compile(rb"\r\nx-id: ([0-9b-]+)\r\n")
TABLE = wires.table()
STRICT = wires.table(strict=True)
HOLD = wires.table(hold=2.0)


class Origin:
    """One upstream connection, seen from its other end."""

    def __init__(self, world: World, name: str, wire: Wire) -> None:
        self.world, self.name, self.wire = world, name, wire
        self.data = self.tunnel = b""
        self.switched = self.over = self.early = False
        self.begun = Served(name, second.NOTHING)
        self.tainted = False
        """Wrong bytes may still come when the next request is there."""

    def work(self) -> bool:
        rng, wire = self.world.rng, self.wire
        data = wire.take(rng.choice((1, 50, 1 << 20)) if self.world.mood.slow else 1 << 30)
        if self.switched:
            self.tunnel += data
        else:
            self.data += data
        if self.over:
            return bool(data)
        if data and not self.switched:
            if self.name == ANA and self.world.mood.ana == "closes":
                self._end()
                return True
            while self.data and not self.over and not self.switched and self._next():
                pass
        if ((wire.ended and not wire.out) or wire.lost) and not self.over:
            self._end()
            return True
        return bool(data)

    def _next(self) -> bool:
        world, rng = self.world, self.world.rng
        message, rest, error = second.request(self.data)
        if error:
            world.refused.append((self.name, self.data, error))
            self._say(b"HTTP/1.1 400 No\r\nx-id: refused\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", whole=True)
            self._end()
            return False
        if message is None:
            found = _ID.search(self.data)
            if found and not self.early and rng.random() < world.mood.early:
                self.early = True
                self.begun = Served(self.name, second.NOTHING)
                world.served.append(self.begun)
                said = grammar.answer(rng, self.data.split(b" ")[0], found[1])
                world.early[found[1]] = said
                self._say(said.raw, whole=False)
                if said.last:
                    self._end()
            return False
        self.data = rest
        if self.early:
            self.early = False
            said = world.early[_ID.search(message.raw)[1]]  # type: ignore[index]
            self.begun.message, self.begun.said, self.begun.ended = message, said.raw, said.last
            return True
        served = Served(self.name, message)
        world.served.append(served)
        self._answer(served)
        return True

    def _answer(self, served: Served) -> None:
        world, rng, message = self.world, self.world.rng, served.message
        wild = not message.id.startswith(b"b")
        if wild and rng.random() < world.mood.silent:
            served.silent = served.ended = True
            self._end()
            return
        switches = message.switched and world.mood.switching
        said = grammar.answer(rng, message.line, message.id, switches=switches)
        raw, whole = said.raw, False
        if wild and rng.random() < world.mood.answers:
            raw, whole = mutations.mutate(rng, raw), rng.random() < 0.7
            if rng.random() < 0.2:
                raw += rng.choice((b"HTTP/1.1 200 OK\r\nx-id: extra\r\nContent-Length: 0\r\n\r\n", b"\r\n", b"x"))
            self.tainted = self.tainted or not whole
            served.ended = True  # it may be cut short
            served.silent = not raw
        served.said = raw
        self._say(raw, whole=whole)
        if said.switches:
            self.switched, self.tunnel, self.data = True, self.data, b""
            self._say(TUNNEL, whole=False)
            return
        if said.last or served.ended or b"close" in b",".join(message.values(b"connection")).lower():
            served.ended = True
            self._end()
        elif wild and rng.random() < world.mood.drops:
            self._end()

    def _say(self, raw: bytes, *, whole: bool) -> None:
        self.wire.inbox.extend([raw] if whole and raw else grammar.pieces(self.world.rng, raw))

    def _end(self) -> None:
        self.over = True
        self.wire.inbox.append(EOF)


@contextmanager
def clock_of(loop: SteppedLoop) -> Iterator[None]:
    """The relay's own clock goes with the loop's."""
    modules: tuple[Any, ...] = (http1_answer, http1_request, http1_upstream)
    for module in modules:
        module.monotonic = loop.time
    try:
        yield
    finally:
        for module in modules:
            module.monotonic = monotonic


class Client:
    """One client connection."""

    def __init__(self, world: World, pieces: list[bytes], *, end: str) -> None:
        self.world, self.end, self.got = world, end, b""
        self.sent = b"".join(pieces)
        self.wire = Wire(world.loop, None)
        self.protocol = Http1Client(world.core, world.port)
        world.port.stats.open_connections += 1
        ready = None
        if world.rng.random() < 0.1:
            wire = Wire(world.loop, None)
            if world.accept(ORIGINAL, wire):
                ready = (wire, world.port.default)
        first, *rest = pieces or [b"G"]
        self.wire.inbox.extend(rest)
        if end == "eof":
            self.wire.inbox.append(EOF)
        self.protocol.take_over(self.wire, first, ready)

    def work(self) -> bool:
        world = self.world
        if world.mood.slow and world.steps < 40:
            return True
        data = self.wire.take(world.rng.choice((1, 100, 5000)) if world.mood.slow else 1 << 30)
        self.got += data
        return bool(data)

    def leave(self) -> None:
        """Before the end, when there is an answer to hear still, it may not."""
        if self.world.rng.random() < 0.5:
            self.wire.break_off()
        elif self.end != "eof":
            self.wire.inbox.append(EOF)
        self.end = "gone"

    @property
    def heard_end(self) -> bool:
        return (self.wire.ended or self.wire.lost) and not self.wire.reset and not self.wire.out


@dataclass
class World:
    """A worker with one port, its two upstreams, and its clients."""

    rng: Random
    mood: Mood
    loop: SteppedLoop
    served: list[Served] = field(default_factory=list)
    refused: list[tuple[str, bytes, str]] = field(default_factory=list)
    early: dict[bytes, grammar.Sent] = field(default_factory=dict)
    origins: list[Origin] = field(default_factory=list)
    clients: list[Client] = field(default_factory=list)
    steps: int = 0

    def __post_init__(self) -> None:
        table = TABLE if self.mood.kind else self.rng.choice((TABLE, STRICT, HOLD))
        self.hold = table is HOLD
        self.core = MemoryCore(CONFIG, table, self.accept)
        self.port = self.core.ports[LISTEN]

    def accept(self, name: str, wire: Wire) -> bool:
        if name == ANA and self.mood.ana == "refuses":
            return False
        self.origins.append(Origin(self, name, wire))
        return True

    def served_to(self, client: Client) -> list[Served]:
        """What arrived of it. Only the tame client's ids begin with a b."""
        tame = client is not self.clients[0]
        return [s for s in self.served if s.message.line and s.message.id.startswith(b"b") == tame]

    def settle(self) -> None:
        """Until nothing happens any more. Errors: Finding when that takes too long, or memory grows."""
        rng = self.rng
        quiet = 0
        while quiet < 3:
            self.steps += 1
            if self.steps > MOST_STEPS:
                raise Finding("it never comes to rest")
            busy = self.loop.step()
            for wire in [client.wire for client in self.clients] + [origin.wire for origin in self.origins]:
                if rng.random() < 0.8:
                    busy |= wire.pump()
                else:
                    busy |= bool(wire.inbox) and wire.reading
            for origin in tuple(self.origins):
                busy |= origin.work()
            for client in self.clients:
                busy |= client.work()
                self._bounded(client)
            if self.loop.escaped:
                raise Finding(f"an exception escapes: {self.loop.escaped[0]}")
            quiet = 0 if busy else quiet + 1

    def _bounded(self, client: Client) -> None:
        protocol = client.protocol
        if (
            len(protocol.held) > CONFIG.head_bytes + LARGEST
            or len(protocol.sent) > CONFIG.replay_bytes + CONFIG.head_bytes + LARGEST
        ):
            raise Finding(f"it holds {len(protocol.held)} and {len(protocol.sent)} bytes")
        up = protocol.up
        if client.wire.most_out > CONFIG.buffer_bytes + LARGEST or (up and len(up.held) > CONFIG.head_bytes + LARGEST):
            raise Finding(f"{client.wire.most_out} bytes wait to be written")

    def later(self, seconds: int) -> None:
        for _ in range(seconds):
            self.loop.clock += 1.0
            self.core.tick()
            self.settle()

    def end(self) -> None:
        """The clients go; nothing may stay. Errors: Finding."""
        for client in self.clients:
            if client.end == "reset":
                client.wire.break_off()
            elif client.end == "later":
                client.wire.inbox.append(EOF)
        self.settle()
        self.later(4 if self.hold else 1)
        if any(not client.wire.lost for client in self.clients):
            self.later(12)
        for client in self.clients:
            if not client.wire.lost:
                raise Finding("a client that has ended is not let go")
        self._nothing_stays()
        for name in (ANA, ORIGINAL):
            self.core.upstream(name, inspect=False).forget()
        self.settle()

    def _nothing_stays(self) -> None:
        self.settle()
        rows = (self.port.default_stats, *self.core.row_stats.values())
        if self.core.clients or self.port.stats.open_connections or any(row.open for row in rows):
            left = self.core.clients, self.port.stats.open_connections, [row.open for row in rows]
            raise Finding(f"something is left: {left}")
        idle = [c.transport for name in (ANA, ORIGINAL) for c in self.core.upstream(name, inspect=False).idle]
        for origin in self.origins:
            probe = not isinstance(origin.wire.protocol, http1_upstream.UpstreamConnection | pipe.UpstreamSide)
            if not (origin.wire.closing or origin.wire in idle or probe):
                raise Finding("an upstream's connection is open and in no pool")
            if origin.wire in idle and not origin.wire.reading:
                raise Finding("an idle upstream's connection is not read")
