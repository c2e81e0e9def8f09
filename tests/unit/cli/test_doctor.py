"""`ktpy doctor`."""

from __future__ import annotations

import json

import yaml

from tests.fakes.api import FakeApi
from tests.fakes.run import person


def test_findings_are_a_table_and_what_is_bad_is_exit_code_1(ktpy, api: FakeApi) -> None:
    user = person(api)
    assert ktpy("doctor", user=user).code == 0

    user.wire.rights -= {"create pods"}
    said = ktpy("doctor", "--output", "json", user=user)

    assert said.code == 1
    assert {row["check"]: row["verdict"] for row in json.loads(said.out)}["rights"] == "bad"


def test_the_role_is_printed_without_a_cluster(ktpy) -> None:
    said = ktpy("doctor", "--print-role", "-n", "team")

    assert yaml.safe_load(said.out)["metadata"]["namespace"] == "team"
