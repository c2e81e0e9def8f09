"""The peer under test is once the row's upstream, asked with the mark, and once the original, asked without."""

from __future__ import annotations

import contextlib
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from harness import Router, router, row, table

sys.path.insert(0, str(Path(__file__).parent))  # programs.py

Through = Callable[..., AbstractContextManager["Routed"]]


@dataclass
class Routed:
    """A router with the peer behind it, and the headers that lead there."""

    router: Router
    headers: dict[str, str]

    @property
    def port(self) -> int:
        return self.router.port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.router.port}"

    def curl_headers(self) -> list[str]:
        return [word for name, value in self.headers.items() for word in ("-H", f"{name}: {value}")]


@pytest.fixture(params=["marked", "unmarked"], scope="module")
def side(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def through(side: str) -> Through:
    """`with through(address) as routed`; RAW takes the row by no mark, since bytes have none."""

    @contextlib.contextmanager
    def made(address: str, *, raw: bool = False, **flags: Any) -> Iterator[Routed]:
        with deaf() as other:
            mine, rest = (address, other) if side == "marked" else (other, address)
            rows = [row("ana", mine)]
            if raw:
                rows = [row("ana", mine, match=[])] if side == "marked" else []
            with router(table(rest, rows), **flags) as running:
                yield Routed(running, {"version": "ana"} if side == "marked" else {})

    return made


@contextlib.contextmanager
def deaf() -> Iterator[str]:
    """An upstream that accepts and answers nothing: what is led there by mistake is not answered."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(512)
        yield f"127.0.0.1:{listening.getsockname()[1]}"
