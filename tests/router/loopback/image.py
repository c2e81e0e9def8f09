"""The built image in the place of a router in this process, when KTPY_ROUTER=image: its container serves many tests.

A test that needs the router's objects or its clock is marked `in_process`, and is not selected for the image.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import harness

from ktpy_router.config import Config

IN_IMAGE = harness.IN_IMAGE
RUNNING = ExitStack()
"""What conftest.py ends after the last test: at the exit of the process would be too late for threads."""
NEEDS_OBJECTS = "The image's objects are out of reach: mark the test in_process."


class Container:
    """A running container; its table is the last test's."""

    def __init__(self, running: harness.Router) -> None:
        self.port = running.port
        self._running = running
        self._versions = itertools.count(2)

    def put(self, default: str, rows: Sequence[dict[str, Any]], *, raw: bool = False) -> None:
        """ROWS name any one port; it stands for the one that listens. All of it is in force on return."""
        listens = [row | {"to": {str(self.port): to for to in row["to"].values()}} for row in rows]
        ports = [{"listen": self.port, "default": default, "raw": raw}]
        self._running.put({"format": 1, "version": next(self._versions), "ports": ports, "rows": listens})

    def report(self) -> dict[str, Any]:
        """Everything that it has counted since its start."""
        found: dict[str, Any] = self._running.control("GET", "/stats").json()
        return found


@functools.cache
def container(config: Config) -> Container:
    """The one with these limits: started once, ended with the tests."""
    default = RUNNING.enter_context(harness.origin())
    flags = [word for field in dataclasses.fields(config) for word in _flag(field, config)]
    running = RUNNING.enter_context(harness.router(harness.table(default), flags=flags, in_image=True))
    return Container(running)


def _flag(field: dataclasses.Field[Any], config: Config) -> tuple[str, ...]:
    value = getattr(config, field.name)
    name = f"--{field.name.replace('_', '-')}"
    if value == field.default:
        return ()
    return (name,) if value is True else (name, str(value))
