"""scripts/bench exchange: starts beside a bare pod, throughput and connections beside a hand-made tunnel."""

from __future__ import annotations

import argparse
import contextlib
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.bench import rival
from tests.bench.starts import bare_pod_seconds, exchange_round
from tests.bench.table import Figure, show
from tests.e2e.harness import manifests, wheel
from tests.e2e.harness.laptop import serving
from tests.e2e.harness.node import Node
from tests.e2e.harness.people import Person
from tests.e2e.harness.space import Space, opened

MEGABYTES = 100
CONNECTIONS = 1500
# In the client pod: one transfer, timed there. argv: host, "up" (laptop to cluster) or "down", bytes.
TRANSFER = r"""
import socket, sys, time
host, way, size = sys.argv[1], sys.argv[2], int(sys.argv[3])
started = time.monotonic()
with socket.create_connection((host, 80)) as s:
    if way == "up":
        s.sendall(b"GET /bytes/%d HTTP/1.0\r\n\r\n" % size)
        buffer, got = bytearray(262144), 0
        while n := s.recv_into(buffer):
            got += n
        assert got >= size, got
    else:
        s.sendall(b"POST /sink HTTP/1.0\r\nContent-Length: %d\r\n\r\n" % size)
        block, left = bytes(262144), size
        while left:
            left -= s.send(block[:min(left, 262144)])
        assert s.recv(64).startswith(b"HTTP/1.1 200"), "no answer"
print(size / 1e6 / (time.monotonic() - started))
"""
ECHOES = r"""
import socket, sys, time
times = []
with socket.create_connection((sys.argv[1], 80)) as s:
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    s.sendall(b"echo\n")
    for _ in range(300):
        started = time.perf_counter()
        s.sendall(bytes(64))
        got = 0
        while got < 64:
            got += len(s.recv(64))
        times.append(time.perf_counter() - started)
times.sort()
print(times[len(times) // 2] * 1e6)
"""


def start_up_figures(space: Space, person: Person, port: int, rounds: int) -> list[Figure]:
    bare, ready, over, back, prompt = [], [], [], [], []
    for number in range(rounds):
        bare.append(bare_pod_seconds(space, number))
        r, b, p = exchange_round(space, person, port, "direct")
        ready.append(r)
        back.append(b)
        prompt.append(p)
        over.append(r - bare[-1])
        print(
            f"  round {number + 1}: pod {bare[-1]:.2f}, ready {r:.2f}, back {b:.2f}, prompt {p:.2f} s", file=sys.stderr
        )
    return [
        Figure("Enter to ready; rival: a bare pod", "s", ready, bare, "≤ 2.5 s"),
        Figure("ready minus bare pod", "s", over, goal="≤ 1.5 s"),
        Figure("Ctrl-C to traffic back", "s", back, goal="≤ 0.3 s"),
        Figure("Ctrl-C to prompt", "s", prompt, goal="≤ 2.5 s"),
    ]


def _measure(space: Space, host: str) -> dict[str, float]:
    client = space.client()

    def told(program: str, *words: str) -> float:
        return float(client.run("python3", "-c", program, host, *words))

    started = time.monotonic()
    result = client.load(f"http://{host}/", "--count", str(CONNECTIONS), "--at-once", "16", "--timeout", "20")
    assert result.failed == {}, result.failed
    rate = CONNECTIONS / (time.monotonic() - started)
    return {
        "up": told(TRANSFER, "up", str(MEGABYTES * 1_000_000)),
        "down": told(TRANSFER, "down", str(MEGABYTES * 1_000_000)),
        "echo": told(ECHOES),
        "rate": rate,
    }


@contextlib.contextmanager
def exchanged(person: Person, port: int) -> Iterator[str]:
    with person.start("exchange", "shop", "--expose", str(port)) as process:
        process.wait_ready()
        yield "shop"
        process.signal(signal.SIGINT)
        process.wait()


def tunnel_figures(space: Space, person: Person, port: int, rounds: int) -> list[Figure]:
    ours: dict[str, list[float]] = {"up": [], "down": [], "echo": [], "rate": []}
    theirs: dict[str, list[float]] = {name: [] for name in ours}
    with rival.standing(space, person, port), exchanged(person, port):
        for number in range(rounds):
            sides = [("shop", ours), (rival.SERVICE, theirs)]
            for host, found in sides if number % 2 else reversed(sides):
                for name, value in _measure(space, host).items():
                    found[name].append(value)
            print(
                f"  round {number + 1}: "
                + ", ".join(f"{name} {ours[name][-1]:.0f} / {theirs[name][-1]:.0f}" for name in ours),
                file=sys.stderr,
            )
    return [
        Figure("laptop to cluster", "MB/s", ours["up"], theirs["up"], "≥ 0.5"),
        Figure("cluster to laptop", "MB/s", ours["down"], theirs["down"], "≥ 0.5"),
        Figure("new connections, 16 at once", "/s", ours["rate"], theirs["rate"], "≥ 0.5"),
        Figure("echo of 64 bytes", "µs", ours["echo"], theirs["echo"]),
    ]


def help_figures(rounds: int, venv: Path) -> list[Figure]:
    """`ktpy --help` beside an empty Python."""
    ours, empty = [], []
    for _ in range(rounds):
        for command, found in (([venv / "bin/ktpy", "--help"], ours), ([venv / "bin/python", "-c", "pass"], empty)):
            started = time.monotonic()
            subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
            found.append((time.monotonic() - started) * 1000)
    return [Figure("ktpy --help; rival: python -c pass", "ms", ours, empty, "≤ 150 ms")]


def main() -> None:
    words = argparse.ArgumentParser(prog="scripts/bench exchange")
    words.add_argument("--rounds", type=int, default=10, help="of starts; the tunnel is measured in half as many")
    words.add_argument("--only", choices=["start", "tunnel", "help"])
    words.add_argument("--json", type=Path, default=Path("bench-exchange.json"))
    chosen = words.parse_args()
    venv = wheel.installed()
    figures: list[Figure] = []
    if chosen.only in (None, "help"):
        figures += help_figures(2 * chosen.rounds, venv)
    if chosen.only != "help":
        with (
            Node.found() as node,
            opened(node, venv, *manifests.SHOP) as space,
            serving(space.person("ana")) as server,
        ):
            person = space.person("ana")
            if chosen.only in (None, "start"):
                figures += start_up_figures(space, person, server.port, chosen.rounds)
            if chosen.only in (None, "tunnel"):
                figures += tunnel_figures(space, person, server.port, max(3, chosen.rounds // 2))
    show("exchange", figures, chosen.json)
    assert all(statistics.median(figure.ours) > 0 for figure in figures)


if __name__ == "__main__":
    main()
