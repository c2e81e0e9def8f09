"""Runs cases by number, each from a random generator of its own, and keeps what they find."""

from __future__ import annotations

import argparse
import secrets
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

Case = Callable[[Random, Counter[str]], object]
MOST_SHOWN = 3


@dataclass
class Report:
    """Of a run. FOUND: what a finding is → the cases that show it, as (kind of case, seed and number)."""

    seed: str
    tally: Counter[str] = field(default_factory=Counter)
    found: dict[str, list[str]] = field(default_factory=dict)
    seconds: float = 0.0

    def __str__(self) -> str:
        lines = [f"seed {self.seed}: {self.seconds:.0f} s"]
        lines += [f"{count:9} {what}" for what, count in sorted(self.tally.items())]
        lines += [
            f"FOUND {len(cases)} × {what}\n      {', '.join(cases[:MOST_SHOWN])}" for what, cases in self.found.items()
        ]
        return "\n".join(lines)


def run(cases: Sequence[tuple[Case, int]], seed: str, *, counted: str, count: int, seconds: float) -> Report:
    """Until the tally COUNTED is COUNT, or SECONDS are over. CASES come with their weights."""
    report = Report(seed)
    began = time.monotonic()
    kinds = [case for case, weight in cases for _ in range(weight)]
    number = 0
    while report.tally[counted] < count and time.monotonic() - began < seconds:
        kind = kinds[number % len(kinds)]
        one(kind, f"{seed}/{number}", report)
        number += 1
    report.tally["cases"] = number
    report.seconds = time.monotonic() - began
    return report


def one(case: Case, name: str, report: Report) -> None:
    """A single case; its name is its random generator's seed."""
    try:
        case(Random(name), report.tally)
    except Exception as error:  # whatever escapes is a finding
        at = traceback.extract_tb(error.__traceback__)[-1]
        what = f"{case.__name__}: {type(error).__name__} at {at.name}:{at.lineno}: {str(error)[:80]}"
        report.found.setdefault(what, []).append(name)


def main(cases: Sequence[tuple[Case, int]], counted: str) -> int:
    """The command line; 1 when anything was found. `--only KIND NAME` shows one case's traceback."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", default="")
    parser.add_argument("--only", nargs=2, metavar=("KIND", "NAME"))
    words = parser.parse_args()
    if words.only:
        kind, name = words.only
        next(case for case, _ in cases if case.__name__ == kind)(Random(name), Counter())
        return 0
    report = run(cases, words.seed or secrets.token_hex(4), counted=counted, count=words.count, seconds=words.seconds)
    print(report)
    return 1 if report.found else 0
