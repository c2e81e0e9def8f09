"""This laptop as a run sees it."""

from __future__ import annotations

import time
from pathlib import Path

from ktpy.laptop.machine import Laptop
from ktpy.laptop.state import Run


def test_the_clock_is_this_machines(tmp_path: Path) -> None:
    assert abs(Laptop(Run("x", tmp_path)).clock() - time.time()) < 60
