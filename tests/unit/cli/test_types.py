"""Words become values at the edge, and wrong ones become usage errors."""

from __future__ import annotations

import click
import pytest

from ktpy.cli.types import SECONDS, TARGET
from ktpy.model.target import Target


def test_words_become_values() -> None:
    assert TARGET.convert("svc/shop", None, None) == Target("Service", "shop")
    assert SECONDS.convert("2m", None, None) == 120.0


def test_a_value_stays_one() -> None:
    assert SECONDS.convert(5.0, None, None) == 5.0


def test_wrong_words_are_clicks_usage_error_with_the_hint() -> None:
    with pytest.raises(click.BadParameter, match="KIND/NAME. Try: ktpy exchange shop"):
        TARGET.convert("a/b/c", None, None)
    with pytest.raises(click.BadParameter, match="not a time"):
        SECONDS.convert("soon", None, None)
