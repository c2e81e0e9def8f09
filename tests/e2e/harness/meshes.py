"""Meshes as the tests hold them, and requests of every kind that must each be answered by the side they name."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tests.e2e.harness.client import InCluster
from tests.e2e.harness.laptop import Server
from tests.e2e.harness.people import Person
from tests.e2e.harness.process import Ktpy

# Keeps connections to each place; each request has one of the heads by chance, and must be answered by its side.
MIXED = """
import asyncio, collections, json, random, sys
heads, places, count, at_once = (json.loads(word) for word in sys.argv[1:])
wrong, right = collections.Counter(), collections.Counter()
async def one(place):
    host, _, port = place.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    for _ in range(count):
        side, head = random.choice(heads)
        lines = head.split("|")
        path = next((line for line in lines if line.startswith("/")), "/")
        headers = "".join(line + "\\r\\n" for line in lines if ": " in line)
        writer.write(f"GET {path} HTTP/1.1\\r\\nHost: {host}\\r\\n{headers}\\r\\n".encode())
        answer = await reader.readuntil(b"\\r\\n\\r\\n")
        length = next(int(l.split(b":")[1]) for l in answer.split(b"\\r\\n") if l.lower().startswith(b"content-length"))
        told = json.loads(await reader.readexactly(length))
        (right if told["service"] == side else wrong)[head + " -> " + told["service"]] += 1
    writer.close()
async def main():
    await asyncio.gather(*(one(places[number % len(places)]) for number in range(at_once)))
asyncio.run(main())
print(json.dumps([right, wrong]))
"""


def mixed(
    client: InCluster, heads: Sequence[tuple[str, str]], count: int = 50, *,
    places: Sequence[str] = ("shop:80",), at_once: int = 20,
) -> tuple[dict[str, int], dict[str, int]]:  # fmt: skip
    """What was answered by the right side and by the wrong one.

    HEADS: (side, header lines and a path, divided by |). COUNT: requests on each of AT_ONCE kept connections, which
    are spread over PLACES (host:port).
    """
    words = (json.dumps(word) for word in (list(heads), list(places), count, at_once))
    right, wrong = json.loads(client.run("python3", "-c", MIXED, *words))
    return right, wrong


@contextmanager
def meshing(person: Person, server: Server, *words: str, service: str = "shop", exposed: str = "") -> Iterator[Ktpy]:
    """A mesh that is ready. EXPOSED: what --expose says, where that is not the server's first port."""
    with person.start("mesh", service, "--expose", exposed or str(server.port), *words) as session:
        session.wait_ready()
        yield session


def ended(*sessions: Ktpy) -> None:
    """Ctrl-C for all of SESSIONS at once; each must end well."""
    for session in sessions:
        session.interrupt()
    for session in sessions:
        assert session.wait() == 0, session.said()
