"""Differential fuzzing: what passes the router means the same to other parsers as it does to us."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[3] / "router-image"))
