"""HTTP/2 worlds in memory: the real H2Client between peers of another making, and whether all is as it should be."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from random import Random

from ktpy_router.config import Config
from ktpy_router.h2.relay import H2Client, UpstreamSide
from tests.router.fuzz import wires
from tests.router.fuzz.h2_peers import Told
from tests.router.fuzz.h2_sides import ClientPeer, OriginPeer
from tests.router.fuzz.http1_framing import Finding
from tests.router.fuzz.wires import ANA, EOF, LISTEN, MemoryCore, SteppedLoop, Wire

CONFIG = Config(head_bytes=16384, replay_bytes=30000, buffer_bytes=65536)
TABLE = wires.table()
MOST_STEPS = 3000
MOST_HELD = 2 << 20


@dataclass
class World:
    """One client, and the origins as they are asked."""

    rng: Random
    loop: SteppedLoop
    wild_client: bool
    wild_ana: bool
    wild_original: bool
    rough: bool
    origins: list[OriginPeer] = field(default_factory=list)
    steps: int = 0
    unsettled: bool = False

    def __post_init__(self) -> None:
        self.core = MemoryCore(CONFIG, TABLE, self.accept)
        self.port = self.core.ports[LISTEN]
        self.wire = Wire(self.loop, None)
        self.client = ClientPeer(self.rng, self.wire, is_client=True, wild=self.wild_client)
        self.client.others_wild = self.wild_ana or self.wild_original
        self.client.trusting = self.wild_original
        self.protocol = H2Client(self.core, self.port)
        self.port.stats.open_connections += 1
        self.slow = self.rng.random() < 0.1

    @property
    def valid(self) -> bool:
        return not (self.wild_client or self.wild_ana or self.wild_original)

    def accept(self, name: str, wire: Wire) -> bool:
        if self.rough and name == ANA and self.rng.random() < 0.2:
            return False
        wild = self.wild_ana if name == ANA else self.wild_original
        rough = self.rough or wild
        self.origins.append(OriginPeer(self.rng, wire, name=name, wild=wild, rough=rough, client_wild=self.wild_client))
        return True

    def settle(self, most: int = MOST_STEPS) -> None:
        """Until nothing happens. Errors: Finding."""
        quiet = 0
        self.steps = 0
        while quiet < 2:
            self.steps += 1
            if self.steps > most * (10 if self.valid else 1):
                if self.valid:
                    raise Finding("it never comes to rest")
                self.unsettled = True  # a window of one byte makes a long way
                return
            busy = self.loop.step()
            for peer in (self.client, *self.origins):
                wire = peer.wire
                if wire.inbox:
                    busy |= wire.pump() if self.rng.random() < 0.7 else wire.reading
                if not (self.slow and not peer.calm and self.rng.random() < 0.8):
                    data = wire.take()
                    if data:
                        peer.hear(data)
                        busy = True
                if wire.protocol is not None and not wire.closing:
                    busy |= peer.speak()
                if (
                    not peer.is_client
                    and (wire.ended or wire.lost or peer.gone)
                    and not wire.closing
                    and EOF not in wire.inbox
                ):
                    wire.inbox.append(EOF)
            if self.loop.escaped:
                raise Finding(f"an exception escapes: {self.loop.escaped[0]}")
            if self.steps % 8 == 0:
                self._bounded()
            quiet = 0 if busy else quiet + 1

    def _bounded(self) -> None:
        relay = self.protocol.relay
        if relay is None:
            return
        held = sum(len(part[1]) for stream in relay.streams.values() for part in stream.held or ())
        held += sum(len(one.whole) + len(one.payload) for one in relay.waiting) + len(relay.client._tail)
        if held > MOST_HELD:
            raise Finding(f"{held} bytes are held")
        for link in relay.all_links:
            if link.send_window < 0 or link.receive_window < 0:
                raise Finding(
                    f"a window of an upstream's connection is overrun: {link.send_window} {link.receive_window}"
                )
        if relay.send_window < 0 or relay.receive_window < 0:
            raise Finding("a window of the client's connection is overrun")

    def play(self, streams: int) -> None:
        """Errors: Finding."""
        self.client.open(0)
        self.client.speak()
        first = self.wire.inbox.popleft() if self.wire.inbox else b"PRI"
        assert first is not None
        self.protocol.take_over(self.wire, first, None)
        for number in range(1, streams):
            if self.rng.random() < 0.5:
                self.settle()
            self.client.open(number)
        self.settle()
        for peer in (self.client, *self.origins):
            peer.open_up()
        self.settle()
        self._jump(1.0 if self.valid else 7.0)
        for peer in self.origins:
            if not peer.calm:
                peer.open_up()
        self.settle()

    def _jump(self, seconds: float) -> None:
        self.loop.clock += seconds
        self.core.tick()
        self.settle()

    def end(self) -> None:
        """The client goes; nothing may stay. Errors: Finding."""
        if self.rng.random() < 0.3:
            self.core.drain()
            self._jump(1.0)
            self._jump(1.0)
        if self.rng.random() < 0.5:
            self.wire.break_off()
        else:
            self.wire.inbox.append(EOF)
        self.settle()
        self._jump(2.0)
        rows = (self.port.default_stats, *self.core.row_stats.values())
        if not self.wire.lost or self.core.clients or self.port.stats.open_connections or any(row.open for row in rows):
            raise Finding(
                f"something is left: {self.core.clients} {self.port.stats.open_connections} {[r.open for r in rows]}"
            )
        for peer in self.origins:
            if isinstance(peer.wire.protocol, UpstreamSide) and not peer.wire.closing:
                raise Finding("an upstream's connection is left open")
        for name in (ANA, wires.ORIGINAL):
            self.core.upstream(name, inspect=False).forget()
        self.settle()


def case(rng: Random, tally: Counter[str]) -> None:
    """One client connection. Errors: Finding."""
    way = rng.random()
    wild_client, wild_ana = way < 0.4 or way > 0.9, 0.4 <= way < 0.7 or way > 0.9
    wild_original = 0.7 <= way < 0.75
    with SteppedLoop() as loop:
        world = World(rng, loop, wild_client, wild_ana, wild_original, rough=rng.random() < 0.3)
        streams = rng.choice((1, 2, 3, 5))
        world.play(streams)
        judge(world, tally)
        world.end()
    tally["sequences"] += world.wild_client + sum(origin.wild for origin in world.origins)
    tally["valid worlds"] += world.valid
    tally["streams that the client completed"] += sum(told.ended for told in world.client.told.values())


def judge(world: World, tally: Counter[str]) -> None:
    """Errors: Finding."""
    for origin in world.origins:
        for told in origin.told.values():
            if origin.wild and world.wild_client:
                continue
            marked = (b"version", b"ana") in told.fields
            if origin.name == ANA and told.fields and not marked:
                raise Finding(f"an unmarked request reaches ana: {told.fields}")
            if origin.name != ANA and marked and not (world.rough or world.wild_ana or world.wild_client):
                raise Finding(f"a marked request reaches the original: {told.fields}")
        if not origin.wild and origin.fault:
            tally[f"an origin judges: {origin.fault[:50]}"] += 1
    if world.wild_client or world.client.fault or world.unsettled:
        return
    for stream, said in world.client.said.items():
        marked = (b"version", b"ana") in said.fields
        if (marked and world.wild_ana) or (not marked and world.wild_original):
            continue
        _stream(world, stream, said)


def _stream(world: World, stream: int, said: Told) -> None:
    """One stream of a client that did nothing wrong, to an origin that did nothing wrong."""
    heard = world.client.told.get(stream)
    arrived = [
        (origin, sid, told) for origin in world.origins for sid, told in origin.told.items() if told.id == said.id
    ]
    if said.reset >= 0:
        return
    own = heard is not None and any(name == b"ktpy-router" for name, _ in heard.fields)
    if not world.rough and (own or not arrived or heard is None or not (heard.ended or heard.reset >= 0)):
        raise Finding(f"stream {stream} does not end: {said} {heard} {[told for _, _, told in arrived]}")
    if own or heard is None or not arrived:
        return
    answering = [
        one for one in arrived if (said_there := one[0].said.get(one[1])) and said_there.essence == heard.essence
    ]
    origin, sid, told = (answering or arrived)[-1]  # it may have been tried at several
    if origin.wild:
        return
    answer = origin.said.get(sid)
    if told.ended and said.ended and told.essence != said.essence:
        raise Finding(f"a request is not what was sent: {told} {said}")
    if not (said.body.startswith(told.body) or world.rough):
        raise Finding(f"a request's body is another: {told.body[:50]!r} {said.body[:50]!r}")
    if answer is None or answer.reset >= 0 or heard.reset > 0:
        return
    if heard.essence != answer.essence or heard.interim != answer.interim or not heard.ended:
        raise Finding(f"an answer is another: {_short(heard)} {_short(answer)}")


def _short(told: Told) -> str:
    return f"{told.fields} {len(told.body)} {told.trailers} {told.interim} {told.ended} {told.reset}"
