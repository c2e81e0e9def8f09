"""Mutated HTTP/2 frame sequences, judged by the `h2` library: `python -m tests.router.fuzz.h2 --count 200000`."""

from __future__ import annotations

import sys

from tests.router.fuzz import h2_light, h2_world, runner

CASES = ((h2_world.case, 1), (h2_light.client_case, 3), (h2_light.upstream_case, 2))
COUNTED = "sequences"

if __name__ == "__main__":
    sys.exit(runner.main(CASES, COUNTED))
