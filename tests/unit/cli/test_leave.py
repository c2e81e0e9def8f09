"""`leave` ends the session that is meant, and waits for it."""

from __future__ import annotations

import pytest

from ktpy.cli import leave
from ktpy.cli.leave import chosen
from ktpy.errors import NotFound, Usage
from ktpy.laptop.state import Record

ONE = Record("exchange-1", 1, "x", target="service/shop", session="ana-1")
TWO = Record("exchange-2", 2, "x", target="service/cart", session="ana-2")


@pytest.mark.parametrize("name", ["exchange-1", "ana-1", "shop", "service/shop"])
def test_a_session_is_meant_by_run_session_or_service(name: str) -> None:
    assert chosen([ONE, TWO], name, everything=False) == [ONE]


def test_the_only_one_needs_no_name() -> None:
    assert chosen([ONE], None, everything=False) == [ONE]
    assert chosen([ONE, TWO], None, everything=True) == [ONE, TWO]


def test_several_need_a_name_and_none_is_not_found() -> None:
    with pytest.raises(Usage) as which:
        chosen([ONE, TWO], None, everything=False)
    assert which.value.try_ == ("ktpy leave exchange-1", "ktpy leave exchange-2")
    with pytest.raises(NotFound, match="called none"):
        chosen([ONE], "none", everything=False)
    with pytest.raises(NotFound):
        chosen([], None, everything=False)


def test_leaving_asks_and_waits_until_it_has_ended(ktpy, monkeypatch) -> None:
    asked: list[Record] = []
    monkeypatch.setattr(leave, "runs", lambda: [ONE])
    monkeypatch.setattr(leave, "ask_to_end", asked.append)
    monkeypatch.setattr(leave, "is_running", lambda run: False)

    said = ktpy("leave", "shop")

    assert (said.code, said.err, asked) == (0, "service/shop was given back.\n", [ONE])


def test_a_session_that_does_not_end_is_told(ktpy, monkeypatch) -> None:
    monkeypatch.setattr(leave, "runs", lambda: [ONE])
    monkeypatch.setattr(leave, "ask_to_end", lambda run: None)
    monkeypatch.setattr(leave, "is_running", lambda run: True)
    monkeypatch.setattr(leave, "WAIT_SECONDS", 0.0)

    said = ktpy("leave")

    assert said.code == 7
    assert "ktpy logs exchange-1" in said.err


def test_leaving_nothing_is_not_found(ktpy) -> None:
    assert ktpy("leave").code == 3


def test_status_is_the_way_to_see_what_runs(ktpy) -> None:
    assert "ktpy status" in ktpy("leave", "x").err
