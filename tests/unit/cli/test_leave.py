"""`leave` ends the session that is meant, and waits for it."""

from __future__ import annotations

import pytest

from ktpy.cli import leave
from ktpy.cli.leave import chosen
from ktpy.errors import KtError, LeftBehind, NotFound, TunnelLost, Usage
from ktpy.laptop.state import Record, Run, folder, registered

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


def ended(name: str, error: KtError) -> Record:
    """A run that has ended with ERROR."""
    run = Run(name, folder())
    with pytest.raises(type(error)), registered(run):
        raise error
    return run.record


def test_what_the_session_could_not_give_back_is_told_with_its_code(ktpy, monkeypatch) -> None:
    run = ended("exchange-1", LeftBehind("service/shop stayed.", "ktpy recover"))
    monkeypatch.setattr(leave, "runs", lambda: [run])
    monkeypatch.setattr(leave, "ask_to_end", lambda run: None)
    monkeypatch.setattr(leave, "is_running", lambda run: False)

    said = ktpy("leave")

    assert (said.code, said.err) == (7, "Error: service/shop stayed.\nTry:   ktpy recover\n")
    assert not list(folder().glob("exchange-1*"))


def test_of_several_each_end_is_told(ktpy, monkeypatch) -> None:
    found = [ended("a", TunnelLost("a is lost.")), ONE, ended("b", LeftBehind("b stayed."))]
    monkeypatch.setattr(leave, "runs", lambda: found)
    monkeypatch.setattr(leave, "ask_to_end", lambda run: None)
    monkeypatch.setattr(leave, "is_running", lambda run: False)

    said = ktpy("leave", "--all")

    assert said.code == 7
    assert said.err.splitlines() == ["service/shop was given back.", "Error: a is lost.", "Error: b stayed."]


def test_leaving_nothing_is_not_found(ktpy) -> None:
    assert ktpy("leave").code == 3


def test_status_is_the_way_to_see_what_runs(ktpy) -> None:
    assert "ktpy status" in ktpy("leave", "x").err
