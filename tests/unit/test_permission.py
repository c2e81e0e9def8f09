"""What a user lacks: one call, or one by one."""

from __future__ import annotations

from ktpy.model.rights import Right, rights
from ktpy.permission import lacking
from tests.fakes.api import FakeApi
from tests.fakes.run import person

READ = Right("get", "", "secrets")


def test_one_review_tells_of_all_that_rules_grant(api: FakeApi) -> None:
    ana = person(api)

    assert lacking(ana.cluster, rights()) == []
    assert len(ana.wire.calls) == 1


def test_what_no_rule_grants_is_asked_by_itself(api: FakeApi) -> None:
    ana = person(api)

    assert lacking(ana.cluster, [*rights(), READ]) == [READ]
    assert len(ana.wire.calls) == 2


def test_where_rules_do_not_tell_all_each_is_asked(api: FakeApi) -> None:
    ana = person(api)
    ana.wire.is_incomplete = True

    assert lacking(ana.cluster, [READ, *rights()]) == [READ]
    assert len(ana.wire.calls) == 2 + len(rights())
