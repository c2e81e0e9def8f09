"""Puts the router's package and the harness on the path."""

from __future__ import annotations

import importlib
import sys
import warnings
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "router-image")]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "in_process: needs the router's objects or clock, so not for KTPY_ROUTER=image")


with warnings.catch_warnings(action="ignore"):
    importlib.import_module("mitmproxy.tools.main")  # it calls its libraries by old names; not for us to mend
