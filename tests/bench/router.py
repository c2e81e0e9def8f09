"""scripts/bench router: ours beside nginx, HAProxy, mitmdump and an nginx that behaves as KT-Connect's router does."""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.bench.router_load import EVERYONE, Sample, Shape, shapes
from tests.bench.router_rivals import ROOT, Bench, Rival, bench

Results = dict[str, dict[str, list[Sample]]]


def measure(rival: Rival, shape: Shape, seconds: float) -> Sample:
    before = rival.cpu_seconds()
    sample = shape.run(rival, seconds)
    sample["cpu"] = (rival.cpu_seconds() - before) / max(1.0, sample["count"]) * 1e6
    return sample


def rounds(found: dict[str, Rival], wanted: Sequence[Shape], count: int, seconds: float) -> Results:
    """A B C, then C B A, and so on: a machine that slows down slows all of them."""
    results: Results = {shape.name: {name: [] for name in shape.rivals if name in found} for shape in wanted}
    for number in range(count):
        for shape in wanted:
            names = list(results[shape.name])
            for name in names if number % 2 == 0 else reversed(names):
                try:
                    sample = measure(found[name], shape, seconds)
                except AssertionError as failed:
                    print(f"  {shape.name} {name}: {str(failed)[:300]}", file=sys.stderr)
                    sample = {}
                results[shape.name][name].append(sample)
                print(f"  {number + 1} {shape.name:16} {name:9} {told(sample)}", file=sys.stderr)
    return results


def told(sample: Sample) -> str:
    return " ".join(f"{name}={value:.5g}" for name, value in sample.items())


def ratios(results: dict[str, list[Sample]], ours: str, bar: str, what: str = "rate") -> list[float]:
    """Of the same rounds."""
    pairs = zip(results.get(ours, ()), results.get(bar, ()), strict=False)
    return [a[what] / b[what] for a, b in pairs if a.get(what) and b.get(what)]


def differences(results: dict[str, list[Sample]], ours: str, bar: str, what: str) -> list[float]:
    """Of the same rounds."""
    pairs = zip(results.get(ours, ()), results.get(bar, ()), strict=False)
    return [a[what] - b[what] for a, b in pairs if what in a and what in b]


def spread(values: Sequence[float], form: str = ".2f") -> str:
    if not values:
        return "–"
    return f"{statistics.median(values):{form}} ({min(values):{form}}–{max(values):{form}})"


def compared(shape: Shape, results: dict[str, list[Sample]], name: str, bar: str) -> list[str]:
    """By what the load saw, and by the CPU that it took: the steadier of the two on a machine that others use."""
    by_cpu = spread(ratios(results, bar, name, "cpu"))
    if shape.compared == "rate":
        return [spread(ratios(results, name, bar)), by_cpu]
    return [spread(differences(results, name, bar, shape.compared), "+.2f") + " ms", by_cpu]


def median(samples: Sequence[Sample], what: str) -> float | None:
    values = [sample[what] for sample in samples if not math.isnan(sample.get(what, math.nan))]
    return statistics.median(values) if values else None


def markdown(wanted: Sequence[Shape], results: Results) -> str:
    head = (
        "| | rate | CPU per request or MB | p50 / p99 | errors | × nginx (Redis: × HAProxy) | the same by CPU | goal |"
    )
    lines = [head, "| --- " * 8 + "|"]
    for shape in wanted:
        for name, samples in results[shape.name].items():
            rate, cpu = median(samples, "rate"), median(samples, "cpu")
            p50, p99 = median(samples, "p50"), median(samples, "p99")
            cells = [
                f"{shape.name}, {'**ktpy**' if name == 'ktpy' else name}",
                f"{rate:,.0f}{shape.unit}" if rate else "fails",
                f"{cpu:.1f} µs" if cpu else "–",
                " / ".join(f"{value:.2f}" for value in (p50, p99) if value is not None) + " ms" if p50 else "–",
                f"{sum(sample.get('errors', 0) for sample in samples):.0f}",
                *compared(shape, results[shape.name], name, shape.bar),
                shape.goal if name == "ktpy" else "",
            ]
            lines.append("| " + " | ".join(cells) + " |")
        if "kt-like" in results[shape.name]:
            over = " | ".join(compared(shape, results[shape.name], "ktpy", "kt-like"))
            lines.append(f"| {shape.name}, ktpy × kt-like | | | | | {over} | |")
    return "\n".join(lines)


def started(made: Bench, names: Sequence[str]) -> dict[str, Rival]:
    to = made.origins()
    makers = zip(EVERYONE, (made.tuned, made.ktlike, made.mitmdump, made.haproxy, made.ours), strict=True)
    return {name: make(to) for name, make in makers if name in names}


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench router", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=2, help="of load, per rival, shape and round")
    parser.add_argument("--only", default="", metavar="SHAPE,…", help="shapes by name")
    parser.add_argument("--rivals", default=",".join(EVERYONE), metavar="NAME,…")
    parser.add_argument(
        "--soak", nargs="?", const="all", default="", metavar="SHAPE,…", help="outages, routes, idle, slow, long"
    )
    parser.add_argument("--minutes", type=float, default=15.0, help="of the soak's long answer")
    parser.add_argument("--json", type=Path, default=ROOT / "bench-router.json")
    options = parser.parse_args()
    record: dict[str, object] = {
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Linux {platform.release()}",
        "date": time.strftime("%Y-%m-%d"),
        "load_before": os.getloadavg()[0],
    }
    with tempfile.TemporaryDirectory(prefix="ktpy-bench-") as name, bench(Path(name)) as made:
        Path(name).chmod(0o755)
        if options.soak:
            from tests.bench.router_soak import soak  # its parts are many, and seldom wanted

            record["soak"] = soak(made, options.soak, options.minutes)
        else:
            only = options.only.split(",") if options.only else []
            wanted = [shape for shape in shapes(Path(name)) if not only or shape.name in only]
            assert wanted, f"no such shape: {only}"
            results = rounds(started(made, options.rivals.split(",")), wanted, options.rounds, options.seconds)
            record |= {"rounds": options.rounds, "seconds": options.seconds, "shapes": results}
            print(markdown(wanted, results))
    before = json.loads(options.json.read_text()) if options.json.exists() and (options.only or options.soak) else {}
    if isinstance(before.get("shapes"), dict) and "shapes" in record:
        record["shapes"] = {**before["shapes"], **record["shapes"]}  # type: ignore[dict-item]
    options.json.write_text(json.dumps({**before, **record}, indent=1) + "\n")
    print(f"written to {options.json}", file=sys.stderr)


if __name__ == "__main__":
    main()
