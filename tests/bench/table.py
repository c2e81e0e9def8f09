"""Figures of a bench: medians with their spread, ratios pair by pair, a table for people and JSON for the record."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Figure:
    """OURS and RIVAL's values of the same rounds, in UNIT; RIVAL may have none."""

    name: str
    unit: str
    ours: Sequence[float]
    rival: Sequence[float] = ()
    goal: str = ""

    def row(self) -> list[str]:
        return [self.name, spread(self.ours, self.unit), spread(self.rival, self.unit), self.ratio(), self.goal]

    def ratio(self) -> str:
        """Ours to the rival's, pair by pair: median and spread."""
        pairs = [ours / rival for ours, rival in zip(self.ours, self.rival, strict=False) if rival]
        return f"{statistics.median(pairs):.2f} ({min(pairs):.2f} to {max(pairs):.2f})" if pairs else "-"

    def record(self) -> dict[str, Any]:
        return {"name": self.name, "unit": self.unit, "ours": list(self.ours), "rival": list(self.rival)}


def spread(values: Sequence[float], unit: str) -> str:
    if not values:
        return "-"
    return f"{statistics.median(values):.3g} {unit} ({min(values):.3g} to {max(values):.3g})"


def show(title: str, figures: Sequence[Figure], file: Path) -> None:
    """Print the table and write FILE."""
    rows = [["", "ktpy", "rival", "ratio", "goal"], *(figure.row() for figure in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    print(f"\n{title}: median (lowest to highest)")
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    file.write_text(json.dumps({"title": title, "figures": [figure.record() for figure in figures]}, indent=2) + "\n")
    print(f"written to {file}")
