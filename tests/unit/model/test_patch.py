"""A difference applied to the old object gives the new one, and only to that version of it."""

from __future__ import annotations

import pytest

from ktpy.model.names import MANAGER
from ktpy.model.patch import difference, guarded, without_our_field_entries
from ktpy.model.ref import Object
from tests.fakes import things
from tests.fakes.jsonpatch import patched


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({}, {}),
        ({"a": 1}, {"a": 1}),
        ({"a": 1}, {"a": 2}),
        ({"a": 1}, {}),
        ({}, {"a": {"b": {}}}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3, "d": 4}}),
        ({"a": [1, 2]}, {"a": [2]}),
        ({"a": {"b": 1}}, {"a": None}),
        ({"a": None}, {"a": {"b": 1}}),
        ({"a.io/b": "1", "~": "2", "~1": "3"}, {"a.io/b": "2", "~": "3"}),
    ],
)
def test_a_difference_makes_the_new_of_the_old(old: Object, new: Object) -> None:
    assert patched(old, difference(old, new)) == new


def test_equal_objects_differ_in_nothing() -> None:
    assert difference(things.service(), things.service()) == []


def test_slashes_and_tildes_in_keys_are_escaped() -> None:
    assert difference({"l": {"a/b": 1}}, {"l": {"~c": 1}}) == [
        {"op": "remove", "path": "/l/a~1b"},
        {"op": "add", "path": "/l/~0c", "value": 1},
    ]


def test_a_guarded_patch_begins_with_version_and_uid() -> None:
    guard = guarded(things.stored(things.service(), uid="u", version="7"), [{"op": "remove", "path": "/x"}])

    assert guard == [
        {"op": "replace", "path": "/metadata/resourceVersion", "value": "7"},
        {"op": "replace", "path": "/metadata/uid", "value": "u"},
        {"op": "remove", "path": "/x"},
    ]


def test_our_entries_go_and_others_stay() -> None:
    thing = things.stored(things.service(), managedFields=[{"manager": "kubectl"}, {"manager": MANAGER}])

    assert without_our_field_entries(thing) == [
        {"op": "replace", "path": "/metadata/managedFields", "value": [{"manager": "kubectl"}]}
    ]


def test_where_we_are_the_only_manager_the_field_is_reset() -> None:
    thing = things.stored(things.service(), managedFields=[{"manager": MANAGER}])

    assert without_our_field_entries(thing)[0]["value"] == [{}]


def test_where_we_have_no_entry_there_is_nothing_to_do() -> None:
    assert without_our_field_entries(things.stored(things.service())) == []
