"""A Service is diverted under its own keys, and given back value by value."""

from __future__ import annotations

import copy
import json

import pytest

from ktpy.model.diversion import (
    diverted,
    given_back,
    holder_of,
    is_in_force,
    is_stale,
    marked_by,
    note_of,
    per_key,
    selector_of,
    touched,
    without_marks,
)
from ktpy.model.names import NOTE, SESSION, SessionId
from ktpy.model.ref import Object, annotations_of, labels_of
from tests.fakes import things

ANA, BOB = SessionId("ana-1"), SessionId("bob-2")


def shop(**meta: object) -> Object:
    return things.stored(things.service(), **meta)  # type: ignore[arg-type]


def test_a_diverted_selector_has_the_owners_keys_and_our_value_only() -> None:
    after = diverted(shop(), ANA, "kt-1")

    assert selector_of(after) == {"app": "kt-1", "tier": "kt-1"}
    assert labels_of(after) == {"app": "shop", SESSION: ANA}


def test_diverting_does_not_change_what_it_was_given() -> None:
    before = shop()
    untouched = copy.deepcopy(before)

    diverted(before, ANA, "kt-1")

    assert before == untouched


def test_the_note_says_who_on_which_object_what_was_and_what_we_set() -> None:
    note = note_of(diverted(shop(), ANA, "kt-1"))

    assert note is not None
    assert (note.session, note.uid) == (ANA, "uid-1")
    assert (note.was, note.set) == (things.SELECTOR, {"app": "kt-1", "tier": "kt-1"})


def test_a_diverted_service_given_back_is_the_one_that_was_taken() -> None:
    assert given_back(diverted(shop(), ANA, "kt-1"), ANA) == shop()


def test_labels_and_annotations_that_were_there_stay() -> None:
    before = shop(annotations={"note": "mine"})

    assert given_back(diverted(before, ANA, "kt-1"), ANA) == before


def test_giving_back_twice_changes_nothing_more() -> None:
    once = given_back(diverted(shop(), ANA, "kt-1"), ANA)

    assert given_back(once, ANA) == once


def test_another_sessions_diversion_is_not_given_back() -> None:
    held = diverted(shop(), BOB, "kt-2")

    assert given_back(held, ANA) == held
    assert holder_of(held) == BOB


def test_only_values_that_are_still_ours_go_back() -> None:
    now = {"app": "kt-1", "tier": "owner's", "new": "owner's"}

    assert per_key(now, ours={"app": "kt-1", "tier": "kt-1"}, was={"app": "shop", "tier": "web"}) == {
        "app": "shop",
        "tier": "owner's",
        "new": "owner's",
    }


def test_a_key_that_the_owner_took_away_stays_away() -> None:
    assert per_key({"app": "kt-1"}, ours={"app": "kt-1", "tier": "kt-1"}, was=things.SELECTOR) == {"app": "shop"}


def test_a_note_that_knows_no_old_value_leaves_the_new_one() -> None:
    assert per_key({"app": "kt-1"}, ours={"app": "kt-1"}, was={}) == {"app": "kt-1"}


def stale_by_uid() -> Object:
    copied = diverted(shop(), ANA, "kt-1")
    copied["metadata"]["uid"] = "another"
    return copied


def stale_by_label() -> Object:
    copied = diverted(shop(), ANA, "kt-1")
    copied["metadata"]["labels"].pop(SESSION)
    return copied


def stale_by_values() -> Object:
    applied = diverted(shop(), ANA, "kt-1")
    applied["spec"]["selector"] = {"app": "shop", "tier": "v2"}
    return applied


@pytest.mark.parametrize("make", [stale_by_uid, stale_by_label, stale_by_values])
def test_a_stale_note_restores_nothing_and_is_taken_off(make) -> None:
    thing = make()
    note = note_of(thing)

    assert note is not None
    assert is_stale(thing, note)
    assert holder_of(thing) is None
    after = given_back(thing, ANA)
    assert selector_of(after) == selector_of(thing)
    assert NOTE not in annotations_of(after)
    assert SESSION not in labels_of(after)


def test_marks_name_their_session_on_the_very_object_that_it_wrote_them_on() -> None:
    held = diverted(shop(), ANA, "kt-1")
    label_only = shop(labels={SESSION: ANA})

    assert [marked_by(thing) for thing in (held, stale_by_values())] == [ANA, ANA]
    assert [marked_by(thing) for thing in (stale_by_uid(), stale_by_label(), label_only, shop())] == [None] * 4


def test_a_touch_marks_and_restores_nothing() -> None:
    marked = touched(shop(), ANA)

    assert marked_by(marked) == ANA
    assert holder_of(marked) is None
    assert given_back(marked, ANA) == shop()


def test_a_diversion_is_in_force_only_while_it_is_whole() -> None:
    held = diverted(shop(), ANA, "kt-1")
    half = copy.deepcopy(held)
    half["spec"]["selector"]["app"] = "shop"

    assert is_in_force(held, ANA)
    assert not is_in_force(held, BOB)
    assert not is_in_force(half, ANA)
    assert holder_of(half) == ANA
    assert not is_in_force(shop(), ANA)


def test_a_stale_note_is_replaced_by_the_next_diversion() -> None:
    after = diverted(stale_by_values(), BOB, "kt-2")

    assert holder_of(after) == BOB
    assert selector_of(given_back(after, BOB)) == {"app": "shop", "tier": "v2"}


def test_a_label_without_a_note_is_taken_off() -> None:
    marked = shop(labels={"app": "shop", SESSION: ANA})

    assert given_back(marked, ANA) == shop()


def test_marks_of_another_session_stay() -> None:
    held = diverted(shop(), BOB, "kt-2")

    assert without_marks(held, ANA) == held


@pytest.mark.parametrize(
    "text",
    [
        "", "nonsense", "[]", "null", "{}", '{"session": 1, "uid": "u", "was": {}, "set": {}}',
        '{"session": "s", "uid": "u", "was": {"a": 1}, "set": {}}', '{"session": "s", "uid": "u", "was": {}}',
        '{"session": "s", "uid": "u", "was": [], "set": {}}',
    ],
)  # fmt: skip
def test_a_note_that_cannot_be_read_is_none(text: str) -> None:
    thing = shop(annotations={NOTE: text})

    assert note_of(thing) is None
    assert NOTE not in annotations_of(given_back(thing, ANA))


def test_a_note_is_one_line_of_json() -> None:
    text = annotations_of(diverted(shop(), ANA, "kt-1"))[NOTE]

    assert json.loads(text) == {
        "v": 1, "session": ANA, "uid": "uid-1", "was": things.SELECTOR, "set": {"app": "kt-1", "tier": "kt-1"},
    }  # fmt: skip


def test_a_service_without_a_selector_has_an_empty_one() -> None:
    assert selector_of({"metadata": {}, "spec": {"selector": None}}) == {}
    assert selector_of({"metadata": {}}) == {}
