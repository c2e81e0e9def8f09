"""Mutated HTTP/1 exchanges, judged by h11 and a fresh llhttp: `python -m tests.router.fuzz.http1 --count 1000000`."""

from __future__ import annotations

import sys

from tests.router.fuzz import runner
from tests.router.fuzz.http1_framing import answer_case, request_case
from tests.router.fuzz.http1_judge import client_case

CASES = ((request_case, 3), (answer_case, 4), (client_case, 1))
COUNTED = "exchanges"

if __name__ == "__main__":
    sys.exit(runner.main(CASES, COUNTED))
