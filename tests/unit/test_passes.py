"""The policies that ktpy made, found by whoever gives back."""

from __future__ import annotations

from ktpy import passes
from ktpy.model import names
from tests.fakes import things
from tests.fakes.api import FakeApi
from tests.fakes.run import person

ANAS = "ktpy-ana-1-shadow-in"


def made(name: str, session: str = "ana-1") -> dict[str, object]:
    policy = things.policy(name, {})
    labels = {names.ROLE: names.ROLE_POLICY, names.SESSION: session}
    return {**policy, "metadata": {**policy["metadata"], "labels": labels, "annotations": {names.SELF: ANAS}}}


def test_they_are_found_by_their_labels_and_the_name_that_no_copy_has() -> None:
    api = FakeApi()
    for policy in (made(ANAS), made("copy"), things.policy("deny", {})):
        api.put(policy)
    user = person(api)

    assert [one["metadata"]["name"] for one in passes.labelled(user.cluster)] == ["copy", ANAS]
    assert [one["metadata"]["name"] for one in passes.made_for(user.cluster)] == [ANAS]
    assert [one["metadata"]["name"] for one in passes.made_for(user.cluster, "ana-1")] == [ANAS]
    assert passes.made_for(user.cluster, "bob-1") == []


def test_who_may_not_list_them_finds_none() -> None:
    api = FakeApi()
    api.put(made(ANAS))
    user = person(api)
    user.wire.rights -= {"list networkpolicies.networking.k8s.io"}

    assert passes.made_for(user.cluster, "ana-1") == []
