"""scripts/bench exchange: starts beside a bare pod, throughput and connections beside a hand-made tunnel."""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.bench import rival
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


def bare_pod_seconds(space: Space, number: int) -> float:
    """From the create to Ready of a pod of the shadow's size, as `kubectl` sees it by a watch."""
    name = f"bare-{number}"
    spec = manifests.pod_spec("infinity", command=["sleep"])
    for container in spec["containers"]:
        container.pop("readinessProbe", None)
    thing = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"bench": name}}, "spec": spec}
    watch = subprocess.Popen(
        [*space.node.kubectl_words, "-n", space.name, "get", "pods", "-l", f"bench={name}", "--watch",
         "-o", "jsonpath={.status.conditions[?(@.type==\"Ready\")].status}{\"\\n\"}"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        applied = subprocess.Popen(
            [*space.node.kubectl_words, "-n", space.name, "create", "-f", "-"], stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        started = time.monotonic()
        applied.communicate(json.dumps(thing))
        created = time.monotonic()
        assert watch.stdout
        while (line := watch.stdout.readline()).strip() != "True":
            assert line, "kubectl get --watch has ended"
        ready = time.monotonic()
        assert created >= started
        return ready - created
    finally:
        watch.kill()
        watch.wait()
        space.kubectl("delete", "pod", name, "--grace-period=0", "--force", "--wait=false")


def exchange_round(space: Space, person: Person, port: int) -> tuple[float, float, float]:
    """Enter to ready, Ctrl-C to the original answering again (seen from a pod), Ctrl-C to prompt; seconds."""
    with person.start("exchange", "shop", "--expose", str(port)) as process:
        ready = process.wait_ready()["at"] - process.exec_at
        with space.client().loading("http://shop/", "--rate", "100", "--until-told", "--each") as load:
            # kube-proxy writes its rules once a second at most: 1.5 s after the switch it is free again, as it would be
            # for a person.
            load.wait_line("laptop@", count=150)
            seen = len(load.lines)
            asked_wall, asked = time.time(), time.monotonic()
            process.signal(signal.SIGINT)
            load.wait_line("shop@", after=seen)
            back = next(float(line.split()[0]) for line in load.lines[seen:] if "shop@" in line) - asked_wall
            code = process.wait()
            prompt = time.monotonic() - asked
            assert code == 0, process.said()
            load.stop()
    return ready, max(0.0, back), prompt


def start_up_figures(space: Space, person: Person, port: int, rounds: int) -> list[Figure]:
    bare, ready, over, back, prompt = [], [], [], [], []
    for number in range(rounds):
        bare.append(bare_pod_seconds(space, number))
        r, b, p = exchange_round(space, person, port)
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
