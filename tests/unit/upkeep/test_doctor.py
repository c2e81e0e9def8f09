"""`doctor` runs every check, and one that fails is a finding."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import pytest

from ktpy.errors import Forbidden, Unreachable
from ktpy.model.shape import PodShape
from ktpy.upkeep.doctor import CHECKS, Finding, doctor
from tests.fakes.api import START, FakeApi
from tests.fakes.left import ktctl_on, wreck_of
from tests.fakes.run import Person, essence, person


@pytest.fixture
def ana(api: FakeApi) -> Person:
    user = person(api)
    laptop = SimpleNamespace(clock=lambda: START, run=None)
    return dataclasses.replace(user, kt=dataclasses.replace(user.kt, laptop=laptop))  # type: ignore[arg-type]


def verdicts(user: Person) -> dict[str, str]:
    return {finding.check: finding.verdict for finding in doctor(user.kt)}


def finding(user: Person, check: str) -> Finding:
    return next(found for found in doctor(user.kt) if found.check == check)


def test_all_is_well_in_a_namespace_with_the_published_role_and_a_registry(api: FakeApi, ana: Person) -> None:
    before = essence(api)
    shaped = dataclasses.replace(ana.kt, shape=PodShape(image="registry.example/ktpy-shadow:1"))

    found = doctor(shaped)

    assert {finding.verdict for finding in found} == {"ok"}
    assert [finding.check for finding in found] == [name for name, _ in CHECKS]
    assert essence(api) == before


def test_missing_rights_are_named(ana: Person) -> None:
    ana.wire.rights -= {"create pods"}

    rights = finding(ana, "rights")

    assert (rights.verdict, rights.found) == ("bad", "missing: create pods")
    assert finding(ana, "admission").verdict == "bad"


def test_rights_that_only_isolated_namespaces_need_are_missing_with_a_warning(ana: Person) -> None:
    ana.wire.rights -= {"create networkpolicies.networking.k8s.io", "create events"}

    assert finding(ana, "rights").verdict == "warn"
    ana.wire.rights -= {"create pods"}
    assert finding(ana, "rights").verdict == "bad"


def test_rights_to_read_secrets_are_a_warning(ana: Person) -> None:
    ana.wire.rights |= {"get secrets", "list secrets"}

    assert "may get and list Secrets" in finding(ana, "secrets").found


def test_an_image_that_no_registry_has_is_a_warning(ana: Person) -> None:
    assert finding(ana, "image").verdict == "warn"


def test_a_clock_that_is_off_is_a_warning_only(api: FakeApi, ana: Person) -> None:
    api.time += 400

    assert "-400 s off" in finding(ana, "clock").found


def test_leftovers_are_counted(api: FakeApi) -> None:
    wreck = wreck_of(api, after=400)
    ktctl_on(wreck, beat=wreck.time - 600, service="old")

    found = finding(person(wreck), "leftovers")

    assert (found.verdict, found.found) == ("warn", "1 dead sessions, 1 Services of a dead ktctl")


def test_living_sessions_are_no_leftovers(api: FakeApi) -> None:
    assert finding(person(wreck_of(api, after=1)), "leftovers").found == "none; 1 living sessions"


def test_quotas_and_pod_security_are_read_where_this_user_may(api: FakeApi, ana: Person) -> None:
    ana.wire.rights |= {"list resourcequotas", "get namespaces"}
    hard = {"pods": "3", "secrets": "9"}
    api.put({"kind": "ResourceQuota", "metadata": {"name": "q"}, "status": {"hard": hard, "used": {"pods": "3"}}})

    assert finding(ana, "quota").found == "used up: q: pods 3/3"


def test_a_server_that_does_not_answer_is_a_finding_and_the_rest_goes_on(ana: Person) -> None:
    ana.wire.fail_at(1, Unreachable("no answer"))

    found = verdicts(ana)

    assert found["api server"] == "bad"
    assert found["rights"] == "ok"


def test_a_port_forward_is_tried_with_a_pod_that_runs(api: FakeApi, ana: Person) -> None:
    assert finding(ana, "port-forward").found == "no pod runs here to try it with"

    dialled: list[str] = []

    def to(pod: str) -> Any:
        dialled.append(pod)

        async def refuse(_: object) -> Any:
            raise Forbidden("no create on pods/portforward")

        return refuse

    api.put({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "namespace": ana.kt.cluster.namespace},
             "status": {"conditions": [{"type": "Ready", "status": "True"}]}})  # fmt: skip
    refused = doctor(dataclasses.replace(ana.kt, dial=to))

    assert dialled == ["web"]
    assert next(f for f in refused if f.check == "port-forward").verdict == "bad"
