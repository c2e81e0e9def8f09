"""Whether what happened in an HTTP/1 world is what should have: each request at its own upstream, each answer back."""

from __future__ import annotations

from collections import Counter
from itertools import zip_longest
from random import Random

from tests.router.fuzz import http1_grammar as grammar
from tests.router.fuzz import http1_mutations as mutations
from tests.router.fuzz import second
from tests.router.fuzz.http1_framing import Finding
from tests.router.fuzz.http1_mood import Mood, Served
from tests.router.fuzz.http1_world import ANA, TUNNEL, Client, World, clock_of
from tests.router.fuzz.wires import SteppedLoop

OWN = (b"400", b"408", b"431", b"502", b"503")


def client_case(rng: Random, tally: Counter[str]) -> None:
    """A wild client and a tame one share a worker. Errors: Finding."""
    mood = _mood(rng)
    count = rng.choice((1, 2, 2, 3, 5))
    sent = [grammar.request(rng, i, final=i == count - 1) for i in range(count)]
    data = b"".join(one.raw for one in sent)
    if sent[-1].switches and mood.switching:
        data += TUNNEL
    valid = mood.kind and rng.random() < 0.15
    if not valid:
        if mood.leaves and rng.random() < 0.5:
            data, mood.early = data[: rng.randint(0, len(data))], 1.0
        elif rng.random() < (0.9 if mood.kind else 0.3):
            data = mutations.mutate(rng, data)
        tally["exchanges"] += count
    tame = [grammar.request(rng, 0, final=False) for _ in range(rng.choice((1, 2, 3)))]
    calm = [one.raw.replace(b"x-id: 0\r\n", b"x-id: b-%d\r\n" % i) for i, one in enumerate(tame)]
    with SteppedLoop() as loop, clock_of(loop):
        play(World(rng, mood, loop), grammar.pieces(rng, data), calm, tally, valid=valid)


def _mood(rng: Random) -> Mood:
    mood = Mood(switching=rng.random() < 0.8, slow=rng.random() < 0.1)
    mood.early = rng.choice((0, 0, 0.3))
    mood.drain = rng.random() < 0.05
    mood.leaves = rng.random() < 0.2
    if rng.random() < 0.5:
        mood.kind = False
        way = rng.random()
        if way < 0.6:
            mood.answers = rng.choice((0.5, 1.0))
        elif way < 0.8:
            mood.silent = rng.choice((0.3, 1.0))
        mood.drops = rng.choice((0, 0, 0.5))
        mood.ana = rng.choice(("up", "up", "up", "refuses", "closes"))
        mood.end = rng.choice(("later", "eof", "reset"))
    return mood


def play(world: World, wild: list[bytes], calm: list[bytes], tally: Counter[str], *, valid: bool) -> None:
    """Let it happen, and judge. Errors: Finding."""
    rng, mood = world.rng, world.mood
    client = Client(world, wild, end=mood.end)
    world.clients.append(client)
    if mood.drain:
        world.core.drain()
    if rng.random() < 0.5:
        world.settle()
    if mood.leaves:
        world.settle()
        client.leave()
        world.settle()
    if rng.random() < 0.8:
        pieces = grammar.pieces(rng, b"".join(calm)) if rng.random() < 0.3 else calm
        world.clients.append(Client(world, pieces, end="later"))
    world.settle()
    if world.hold:
        world.later(3)
    for one in world.clients:
        _at_rest(world, one)
    world.end()
    judge(world, client, tally, valid=valid)
    for tame in world.clients[1:]:
        judge(world, tame, tally, valid=True)


def judge(world: World, client: Client, tally: Counter[str], *, valid: bool) -> None:
    """Of one client: what arrived, and what came back. Errors: Finding."""
    mood = world.mood
    wild = client is world.clients[0]
    mine = world.served_to(client)
    asked = second.requests(client.sent, switching=mood.switching)
    answers = mood.ana == "up" and not mood.drops and not any(served.silent for served in world.served)
    answered = _arrived(world, client, asked, mine, tally)
    for served in mine:
        marked = b"ana" in served.message.values(b"version")
        if served.upstream == ANA and not marked:
            raise Finding(f"an unmarked request reaches ana: {served.message}")
        if served.upstream != ANA and marked and answers:
            raise Finding(f"a marked request reaches the original: {served.message}")
    complete = _came_back(world, client, answered, asked, tally)
    if valid and mood.kind and not world.early and complete < len(asked.messages):
        raise Finding(f"{complete} of {len(asked.messages)} answers to a valid client: {client.got!r}")
    if valid and (asked.error or (mood.kind and world.refused and wild)):
        raise Finding(f"a valid client is not understood: {asked.error} {world.refused}")


def _arrived(world: World, client: Client, asked: second.Seen, mine: list[Served], tally: Counter[str]) -> list[Served]:
    """The last try of each request, in order, which must be that of the client's stream."""
    tries: list[Served] = []
    for served in mine:
        at = len(tries)
        if (
            tries
            and served.message.essence == tries[-1].message.essence
            and (tries[-1].silent or world.mood.drops or world.mood.early)
        ) and (at >= len(asked.messages) or asked.messages[at].essence != served.message.essence):
            tries[-1] = served
            continue
        if at < len(asked.messages):
            if served.message.essence != asked.messages[at].essence:
                if any(origin.tainted for origin in world.origins):
                    break  # wrong bytes came in time to be the answer to one that never arrived
                raise Finding(
                    f"what arrives as request {at} is not what was sent: {served.message} {asked.messages[at]}"
                )
        else:
            seen = second.by_llhttp(client.sent)
            if not asked.error and len(asked.messages) and not asked.messages[-1].switched:
                raise Finding(f"more arrives than was sent: {served.message}")
            if at >= len(seen.urls) or seen.urls[at] != served.message.target:
                raise Finding(f"what arrives as request {at} neither h11 nor llhttp sees: {served.message}")
            tally["h11 alone refuses a client's stream"] += 1
        tries.append(served)
    return tries


def _came_back(world: World, client: Client, tries: list[Served], asked: second.Seen, tally: Counter[str]) -> int:
    """How many answers are the origins' own, and whole. Errors: Finding when any is another's, or changed."""
    mood, data, complete = world.mood, client.got, 0
    whole = len(asked.messages)
    methods = [request.line for request in asked.messages]
    for served, asked_method in zip_longest(tries, methods):
        if not data:
            break
        request = served.message if served else None
        method = (request.line if request else asked_method) or b"GET"
        if request and request.switched and method != b"CONNECT":
            method = b"UPGRADE"
        message, rest, error, interim = second.answer(data, method, ended=client.heard_end)
        if message is not None and message.values(b"ktpy-router"):
            if rest or message.line not in OWN:
                _own(data)
            return complete
        if served is None:
            if not (world.refused or world.early or any(origin.tainted for origin in world.origins)):
                raise Finding(f"an answer to nothing: {data!r}")
            return complete
        said, said_rest, said_error, said_interim = second.answer(served.said, method, ended=served.ended)
        if message is None:
            if error and said is not None and not client.wire.reset and world.mood.end != "reset":
                raise Finding(f"an answer that was right is not any more: {error} {served.said!r} {data!r}")
            return complete
        if said is None:
            if said_error:
                tally["h11 alone refuses an answer"] += 1
            return complete
        if said.essence != message.essence or interim[-len(said_interim) :] != said_interim:
            if _is_poisoned(world, served):
                return complete
            raise Finding(f"the answer is another: {said} {message}")
        if not said.switched and world.mood.kind and said_rest:
            raise AssertionError("the grammar is wrong")
        complete += 1
        data = rest
        last = message if mood.drain else said
        if served.ended or b"close" in b",".join(last.values(b"connection")).lower():
            complete = max(complete, whole)
        if message.switched:
            return _tunnelled(world, client, asked, data, complete)
    else:
        if data and not world.refused and not world.early:
            _own(data)
    return complete


def _own(data: bytes) -> None:
    """An answer of the router's own; with its text or without, since the request may not have been readable."""
    for method in (b"GET", b"HEAD"):
        message, rest, _, _ = second.answer(data, method, ended=True)
        if message is not None and not rest and message.line in OWN and message.values(b"ktpy-router"):
            return
    raise Finding(f"neither an answer to a request nor our own and last: {data!r}")


def _is_poisoned(world: World, served: Served) -> bool:
    """Whether wrong bytes may have come on the same connection when its request was there already."""
    return any(origin.tainted and origin.name == served.upstream for origin in world.origins)


def _tunnelled(world: World, client: Client, asked: second.Seen, data: bytes, complete: int) -> int:
    origin = next(origin for origin in world.origins if origin.switched)
    if (not TUNNEL.startswith(data) and not world.mood.answers) or (world.mood.kind and data != TUNNEL):
        raise Finding(f"the tunnel's bytes are others: {data!r}")
    if not asked.rest.startswith(origin.tunnel) or (world.mood.kind and asked.rest != origin.tunnel):
        raise Finding(f"the tunnel's bytes upwards are others: {origin.tunnel!r} {asked.rest!r}")
    return complete


def _at_rest(world: World, client: Client) -> None:
    """Nobody has anything to do: then all that was asked is answered, or the connection is over. Errors: Finding."""
    if client.end != "later" or client.wire.closing or client.wire.ended or not world.mood.kind:
        return
    if client.wire.inbox and not client.wire.reading:
        raise Finding(f"it does not read any more: {list(client.wire.inbox)[:3]}")
    mine = world.served_to(client)
    asked = second.requests(client.sent, switching=world.mood.switching)
    if len(mine) < len(asked.messages):
        raise Finding(f"it waits, though {len(asked.messages)} requests are complete and {len(mine)} arrived")
