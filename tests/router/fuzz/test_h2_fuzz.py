"""A small share of the HTTP/2 fuzzing; KTPY_FUZZ_SEED repeats a run."""

from __future__ import annotations

import os
import secrets

import pytest

pytest.importorskip("h2")

from tests.router.fuzz import runner
from tests.router.fuzz.h2 import CASES, COUNTED

COUNT = 500
SECONDS = 60.0


def test_mutated_frames_harm_nobody_else() -> None:
    seed = os.environ.get("KTPY_FUZZ_SEED") or secrets.token_hex(4)

    report = runner.run(CASES, seed, counted=COUNTED, count=COUNT, seconds=SECONDS)
    print(report)

    assert not report.found, str(report)
