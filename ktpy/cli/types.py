"""Strings of the command line become values here; nothing below the cli sees raw text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from ktpy.errors import Usage
from ktpy.model import settings, target
from ktpy.model.target import Target

T = TypeVar("T")


class Parsed(click.ParamType[T]):
    """A parameter read by PARSE, whose Usage error becomes click's."""

    def __init__(self, name: str, parse: Callable[[str], T]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> T:
        if not isinstance(value, str):
            return value  # type: ignore[no-any-return]
        try:
            return self._parse(value)
        except Usage as error:
            hint = f" Try: {error.try_[0]}" if error.try_ else ""
            self.fail(error.what + hint, param, ctx)


TARGET: Parsed[Target] = Parsed("target", target.target)
SECONDS: Parsed[float] = Parsed("seconds", settings.seconds)
