"""This laptop, as far as a run needs it: its clock, its own run's files."""

from __future__ import annotations

import time
from dataclasses import dataclass

from ktpy.laptop.state import Run


@dataclass(frozen=True)
class Laptop:
    """RUN: the files of this process."""

    run: Run

    def clock(self) -> float:
        """Seconds since 1970 by this machine; never compared with the cluster's."""
        return time.time()
