"""scripts/bench mesh: joins and leaves beside a bare pod; requests with and without a router before the same pods."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.router_load import Sample, parse_wrk
from tests.bench.starts import bare_pod_seconds, exchange_round
from tests.bench.table import Figure, show
from tests.e2e.harness import manifests, wheel
from tests.e2e.harness.laptop import Server, serving
from tests.e2e.harness.node import SCRIPT, Node
from tests.e2e.harness.process import Ktpy
from tests.e2e.harness.space import Space, opened

SECONDS = 2
PLAIN = manifests.service("plain", [(80, "http")], app="shop")
CALM_SECONDS = 1.5  # kube-proxy writes its rules once a second at most: a person's next step is later


@dataclass
class Times:
    """Seconds, one of each in every round."""

    found: dict[str, list[float]] = field(default_factory=dict)

    def add(self, name: str, seconds: float) -> None:
        self.found.setdefault(name, []).append(seconds)

    def figure(self, title: str, name: str, goal: str = "", rival: str = "") -> Figure:
        return Figure(title, "s", self.found[name], self.found.get(rival, []), goal)

    def over_bare(self, title: str, name: str, goal: str) -> Figure:
        pairs = zip(self.found[name], self.found["bare pod"], strict=True)
        return Figure(f"{title}, minus a bare pod", "s", [ours - bare for ours, bare in pairs], goal=goal)


def ready_seconds(process: Ktpy) -> float:
    return float(process.wait_ready()["at"] - process.exec_at)


def leave_seconds(process: Ktpy) -> float:
    """Ctrl-C to prompt."""
    time.sleep(CALM_SECONDS)
    asked = time.monotonic()
    process.interrupt()
    code = process.wait()
    assert code == 0, process.said()
    return time.monotonic() - asked


def one_round(space: Space, server: Server, number: int) -> dict[str, float]:
    ana, bob, port = space.person("ana"), space.person("bob"), str(server.port)
    found = {"bare pod": bare_pod_seconds(space, number)}
    with ana.start("mesh", "shop", "--expose", port, "--version-mark", "ana") as first:
        found["first mesh"] = ready_seconds(first)
        with bob.start("mesh", "shop", "--expose", port, "--version-mark", "bob") as later:
            found["later join"] = ready_seconds(later)
            found["leave"] = leave_seconds(later)
        found["last leave"] = leave_seconds(first)
    with ana.start("preview", "new", "--expose", f"{port}:80") as preview:
        found["preview"] = ready_seconds(preview)
        leave_seconds(preview)
    found["guarded exchange"], found["back"], found["prompt"] = exchange_round(space, ana, server.port, "router")
    return found


def start_figures(space: Space, server: Server, rounds: int) -> list[Figure]:
    times = Times()
    for number in range(rounds):
        for name, seconds in one_round(space, server, number).items():
            times.add(name, seconds)
        said = ", ".join(f"{name} {values[-1]:.2f}" for name, values in times.found.items())
        print(f"  round {number + 1}: {said} s", file=sys.stderr)
    return [
        times.figure("first mesh, Enter to ready; rival: a bare pod", "first mesh", "≤ 3.5 s", "bare pod"),
        times.over_bare("first mesh", "first mesh", "≤ 2.5 s"),
        times.figure("guarded exchange, Enter to ready", "guarded exchange", "≤ 3.5 s", "bare pod"),
        times.over_bare("guarded exchange", "guarded exchange", "≤ 2.5 s"),
        times.figure("later join, Enter to ready", "later join", "≤ 2.2 s", "bare pod"),
        times.over_bare("later join", "later join", "≤ 1.2 s"),
        times.figure("preview, Enter to ready", "preview", "≤ 2.2 s", "bare pod"),
        times.over_bare("preview", "preview", "≤ 1.2 s"),
        times.figure("leave while others stay, to prompt", "leave", "≤ 1.0 s"),
        times.figure("last leave, Ctrl-C to traffic back", "back", "≤ 0.3 s"),
        times.figure("last leave of an exchange, to prompt", "prompt", "≤ 2.5 s"),
        times.figure("last leave of a mesh, to prompt", "last leave", "≤ 2.5 s"),
    ]


def wrk(space: Space, service: str, connections: int, *header: str) -> Sample:
    """From the node's own network, as a program in a pod of that node would ask."""
    address = space.service(service)["spec"]["clusterIP"]
    words = ["wrk", "-t1", f"-c{connections}", f"-d{SECONDS}", "--latency", "-H", f"Host: {service}"]
    words += [word for line in header for word in ("-H", line)]
    done = subprocess.run([SCRIPT, "enter", *words, f"http://{address}/"], capture_output=True, text=True, check=True)
    return parse_wrk(done.stdout)


def request_figures(space: Space, server: Server, rounds: int) -> list[Figure]:
    """Through the router beside the same pods without one. A marked request ends on the laptop, behind the tunnel."""
    sides: dict[str, Callable[[int], Sample]] = {
        "plain": lambda at_once: wrk(space, "plain", at_once),
        "unmarked": lambda at_once: wrk(space, "shop", at_once),
        "marked": lambda at_once: wrk(space, "shop", at_once, "version: ana"),
    }
    alone: dict[str, list[Sample]] = {side: [] for side in sides}
    many: dict[str, list[Sample]] = {side: [] for side in sides}
    with space.person("ana").start("mesh", "shop", "--expose", str(server.port), "--version-mark", "ana") as session:
        session.wait_ready()
        for number in range(rounds):
            for side in sorted(sides, reverse=number % 2 == 1):
                alone[side].append(sides[side](1))
                many[side].append(sides[side](16))
            said = ", ".join(
                f"{side} {alone[side][-1]['p50']:.2f} / {alone[side][-1]['p99']:.2f} ms {many[side][-1]['rate']:.0f}/s"
                for side in sides
            )
            print(f"  round {number + 1}: {said}", file=sys.stderr)
        session.interrupt()
        assert session.wait() == 0, session.said()
    errors = sum(sample["errors"] for found in (alone, many) for samples in found.values() for sample in samples)
    assert not errors, f"{errors:.0f} requests failed"

    def column(found: dict[str, list[Sample]], side: str, key: str) -> list[float]:
        return [sample[key] for sample in found[side]]

    def figure(side: str, key: str) -> Figure:
        found, unit = (many, "/s") if key == "rate" else (alone, "ms")
        what = "16 connections, rate" if key == "rate" else f"one connection, {key}"
        return Figure(f"{side}, {what}; rival: without", unit, column(found, side, key), column(found, "plain", key))

    return [figure(side, key) for side in ("unmarked", "marked") for key in ("p50", "p99", "rate")]


def main() -> None:
    words = argparse.ArgumentParser(prog="scripts/bench mesh")
    words.add_argument("--rounds", type=int, default=10, help="of starts; requests are measured in as many")
    words.add_argument("--only", choices=["start", "requests"])
    words.add_argument("--json", type=Path, default=Path("bench-mesh.json"))
    chosen = words.parse_args()
    venv = wheel.installed()
    figures: list[Figure] = []
    with (
        Node.found() as node,
        opened(node, venv, *manifests.SHOP, PLAIN) as space,
        serving(space.person("ana")) as server,
    ):
        if chosen.only != "requests":
            figures += start_figures(space, server, chosen.rounds)
        if chosen.only != "start":
            figures += request_figures(space, server, chosen.rounds)
    show("mesh", figures, chosen.json)


if __name__ == "__main__":
    main()
