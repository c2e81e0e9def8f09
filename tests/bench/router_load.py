"""The router's bench: shapes of load, what runs them, and what of their output counts."""

from __future__ import annotations

import csv
import json
import math
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.bench.router_peer import HEAD
from tests.bench.router_rivals import BIG, MARK, ROOT, Rival, on_load_core, program

Sample = dict[str, float]
"""rate (per second, or MB/s), count (requests, or MB), p50 and p99 in ms, errors, cpu in µs per request or MB."""
UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}
EVERYONE = ("nginx", "kt-like", "mitmdump", "haproxy", "ktpy")
ALTERNATING = """
local n = 0
local marked
function request()
    n = n + 1
    if n % 2 == 0 then
        marked = marked or wrk.format("GET", "/item", (function()
            local h = {}
            for k, v in pairs(wrk.headers) do h[k] = v end
            h["version"] = "ana"
            return h
        end)())
        return marked
    end
    return wrk.format("GET", "/item")
end
"""


@dataclass(frozen=True)
class Shape:
    """A kind of load, who can take it, against whom it is measured, and what we want."""

    name: str
    run: Callable[[Rival, float], Sample]
    rivals: tuple[str, ...] = EVERYONE
    bar: str = "nginx"
    goal: str = ""
    unit: str = "/s"
    compared: str = "rate"
    """`p50`: as a difference; load that is paced has no rate of its own."""


def ran(*words: str, seconds: float) -> str:
    done = subprocess.run(on_load_core(*words), capture_output=True, text=True, cwd=ROOT, timeout=seconds * 3 + 60)
    assert done.returncode == 0, f"{words[0]} ended with {done.returncode}: {done.stderr[-500:]}{done.stdout[-500:]}"
    return done.stdout


def wrk(connections: int, *more: str) -> Callable[[Rival, float], Sample]:
    headers = [line for line in HEAD.decode().split("\r\n") if line]

    def run(rival: Rival, seconds: float) -> Sample:
        words = [program("wrk"), "-t1", f"-c{connections}", f"-d{seconds:g}", "--latency", "--timeout", "10", *more]
        words += [word for header in headers for word in ("-H", header)]
        said = ran(*words, f"http://127.0.0.1:{rival.ports['http']}/item", seconds=seconds)
        return parse_wrk(said)

    return run


def milliseconds(text: str) -> float:
    """wrk says `-nan` when there was too little to tell."""
    found = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text)
    return float(found[1]) * UNITS[found[2]] if found else math.nan


def parse_wrk(said: str) -> Sample:
    errors = sum(map(int, re.findall(r"(?:connect|read|write|timeout) (\d+)", said)))
    errors += sum(map(int, re.findall(r"Non-2xx or 3xx responses: (\d+)", said)))
    return {
        "rate": float(re.findall(r"Requests/sec:\s+([\d.]+)", said)[0]),
        "count": float(re.findall(r"(\d+) requests in", said)[0]),
        "p50": milliseconds(re.findall(r"50%\s+(\S+)", said)[0]),
        "p99": milliseconds(re.findall(r"99%\s+(\S+)", said)[0]),
        "errors": float(errors),
    }


def h2load(connections: int, streams: int, *, marked: bool = False) -> Callable[[Rival, float], Sample]:
    def run(rival: Rival, seconds: float) -> Sample:
        words = [program("h2load"), f"-c{connections}", f"-m{streams}", f"-D{seconds * 1000:.0f}ms"]
        words += ["-H", "content-type: application/grpc", "-H", "te: trailers", "-H", "user-agent: grpc-python/1.85"]
        words += ["-H", ": ".join(MARK)] if marked else []
        said = ran(*words, f"http://127.0.0.1:{rival.ports['h2']}/shop.Shop/Item", seconds=seconds)
        return parse_h2load(said)

    return run


def parse_h2load(said: str) -> Sample:
    rate = float(re.findall(r"finished in .*?, ([\d.]+) req/s", said)[0])
    counts = re.findall(r"(\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", said)[0]
    mean = milliseconds(re.findall(r"time for request: +\S+ +\S+ +(\S+)", said)[0])
    bad = re.findall(r"status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", said)[0]
    errors = sum(map(int, counts[1:])) + sum(map(int, bad[1:]))
    return {"rate": rate, "count": float(counts[0]), "p50": mean, "errors": float(errors)}


def peer(kind: str, what: str, *words: object) -> Callable[[Rival, float], Sample]:
    """Of router_peer.py; a word `seconds` is replaced."""

    def run(rival: Rival, seconds: float) -> Sample:
        said = [str(seconds) if word == "seconds" else str(word) for word in words]
        out = ran(sys.executable, "-m", "tests.bench.router_peer", what, str(rival.ports[kind]), *said, seconds=seconds)
        found: Sample = json.loads(out)
        return found

    return run


def redis_get(rival: Rival, seconds: float) -> Sample:
    words = [
        "redis-benchmark",
        "-p",
        str(rival.ports["tcp"]),
        "-c",
        "16",
        "-n",
        str(int(15_000 * seconds)),
        "-t",
        "get",
    ]
    rows = list(csv.reader(ran(*words, "--csv", seconds=seconds * 10).splitlines()))
    found = dict(zip(rows[0], rows[1], strict=True))
    p50, p99 = float(found["p50_latency_ms"]), float(found["p99_latency_ms"])
    return {"rate": float(found["rps"]), "count": 15_000 * seconds, "p50": p50, "p99": p99}


def shapes(folder: Path) -> tuple[Shape, ...]:
    lua = folder / "alternating.lua"
    lua.write_text(ALTERNATING)
    fast = ("nginx", "haproxy", "ktpy")
    return (
        Shape("http-1", wrk(1)),
        Shape("http-16", wrk(16), goal="≥ 0.90, and ≥ 2.5 × kt-like"),
        Shape("http-64", wrk(64), goal="≥ 0.90, and ≥ 2.5 × kt-like"),
        Shape("http-1000", wrk(1000), EVERYONE, goal="≥ 1.0, no error"),
        Shape("alternating-16", wrk(16, "-s", str(lua))),
        Shape("new-16", wrk(16, "-H", "Connection: close"), goal="≥ 0.80"),
        Shape("paced-4000", peer("http", "paced", "seconds", 4000, 16), goal="p50 ≤ + 0.05 ms", compared="p50"),
        Shape("download-100MB", peer("http", "down", BIG), goal="≥ 1.5", unit=" MB/s"),
        Shape("upload-100MB", peer("sink", "up", BIG), fast, goal="≥ 0.8", unit=" MB/s"),
        Shape("websocket-16", peer("ws", "messages", "seconds", 16), fast),
        Shape("grpc-1x1", h2load(1, 1), fast, goal="≥ 0.85"),
        Shape("grpc-16x32", h2load(16, 32), fast, goal="≥ 1.2"),
        Shape("grpc-marked-4x32", h2load(4, 32, marked=True), fast),
        Shape("redis-get", redis_get, ("haproxy", "ktpy"), "haproxy", "≥ 0.5"),
    )
