"""A mesh with a share link and its Ingress, killed at any call that changes something: `clean` finds all of it."""

from __future__ import annotations

import contextlib

import pytest

from ktpy.model import marks
from ktpy.model.rights import INGRESS
from ktpy.model.sharelink import Link
from ktpy.modes.mesh import Plan, looked, mesh
from tests.fakes.api import FakeApi
from tests.fakes.meshes import SHOP, a_team, cleaned, has_a_home, same
from tests.fakes.run import Person, person
from tests.fakes.wire import Killed

READS = ("get", "list", "watch", "ask GET")
MORE = 6  # calls that a run may have beyond those of another: threads do not always meet in the same order


def admitted(api: FakeApi) -> Person:
    """ana, who may make Ingresses."""
    user = person(api)
    user.wire.rights |= {str(right) for right in INGRESS}
    return user


def plan_of(user: Person) -> Plan:
    match = marks.match("ana", [], str)
    return looked(user.kt, SHOP, (), match, link=Link(add=marks.added(match), host="web.example.com"))


TEAM = a_team()
PLAN = plan_of(admitted(TEAM))
BEFORE = same(TEAM)


def calls_of_a_run() -> list[str]:
    user = admitted(TEAM.snapshot())
    with mesh(user.kt, PLAN):
        pass
    return user.wire.calls


CALLS = calls_of_a_run()


def test_the_link_is_among_the_calls_that_are_killed() -> None:
    assert "create Ingress" in CALLS
    assert CALLS.index("delete Ingress shop-link-ana") < CALLS.index("delete Service shop-link-ana")


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_any_call_it_leaves_nothing_that_clean_does_not_find(when: str) -> None:
    numbers = [n for n in range(1, len(CALLS) + MORE) if n > len(CALLS) or not CALLS[n - 1].startswith(READS)]
    for number in numbers:
        wreck = TEAM.snapshot()
        user = admitted(wreck)
        user.wire.fail_at(number, Killed(), when=when)
        with contextlib.suppress(Killed), mesh(user.kt, PLAN):
            pass
        has_a_home(wreck)
        cleaned(wreck)
        wreck.drained()
        assert same(wreck) == BEFORE, f"killed {when} call {number}"
