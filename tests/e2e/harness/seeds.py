"""Chance that can be repeated: KTPY_TEST_SEED, else a new one, which a test prints."""

from __future__ import annotations

import os
import random

SEED = int(os.environ.get("KTPY_TEST_SEED") or random.SystemRandom().randrange(10**6))


def chance(what: str) -> random.Random:
    """A generator for WHAT alone, so that tests do not disturb each other's."""
    return random.Random(f"{SEED} {what}")
