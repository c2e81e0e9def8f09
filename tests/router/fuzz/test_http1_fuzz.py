"""A small share of the HTTP/1 fuzzing; KTPY_FUZZ_SEED repeats a run."""

from __future__ import annotations

import os
import secrets

import pytest

pytest.importorskip("h11")
pytest.importorskip("httptools")

from tests.router.fuzz import runner
from tests.router.fuzz.http1 import CASES, COUNTED

COUNT = 3000
SECONDS = 60.0


def test_mutated_exchanges_mean_the_same_to_others() -> None:
    seed = os.environ.get("KTPY_FUZZ_SEED") or secrets.token_hex(4)

    report = runner.run(CASES, seed, counted=COUNTED, count=COUNT, seconds=SECONDS)
    print(report)

    assert not report.found, str(report)
