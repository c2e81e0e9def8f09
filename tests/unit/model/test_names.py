"""Names fit into Kubernetes whatever users and targets are called."""

from __future__ import annotations

import re

import pytest

from ktpy.model import names

DNS_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


@pytest.mark.parametrize("user", ["ana", "Ana.Maria", "ÄÖÜ", "", "-", "a" * 99, "x@y", "uid-1000"])
def test_a_session_id_is_a_name_and_a_label_whoever_runs_it(user: str) -> None:
    session = names.session_id(user, "0123abcd")

    assert DNS_LABEL.fullmatch(session)
    assert session.endswith("-0123abcd")
    assert len(names.lease_name(session)) <= names.LABEL_LIMIT


@pytest.mark.parametrize("target", ["shop", "a" * 63, "Shop_2", "shop.v2", "-"])
def test_a_shadows_name_is_a_name_and_says_mode_and_session(target: str) -> None:
    name = names.shadow_name(target, "exchange", "ana-0123abcd")

    assert DNS_LABEL.fullmatch(name)
    assert name.endswith("-kt-exchange-0123abcd")
    assert DNS_LABEL.fullmatch(f"{name}-r9")


def test_names_that_fit_stay_as_they_are_and_others_stay_different() -> None:
    assert names.fitted("shop") == "shop"
    assert names.fitted("a" * 70) != names.fitted("a" * 71)
    assert names.fitted("shop.v2") != names.fitted("shop-v2")


def test_selector_values_differ_from_session_to_session() -> None:
    assert names.selector_value("ana-1") != names.selector_value("ana-2")
    assert names.selector_value("ana-1") == names.selector_value("ana-1")


def test_a_heartbeat_may_be_missed_twice() -> None:
    assert names.HEARTBEAT_SECONDS * 3 < names.DEAD_SECONDS < names.CLEAN_SECONDS
