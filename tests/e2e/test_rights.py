"""The published Role: exactly what ktpy asks for, part of the built-in `edit`, and named verb by verb when it lacks."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import yaml

from tests.e2e.harness.laptop import Server
from tests.e2e.harness.node import Node
from tests.e2e.harness.people import Done, Person
from tests.e2e.harness.space import Space, published_role

FORBIDDEN = 5
# Who needs a resource that a plain exchange does not.
BY_RESOURCE = {
    "configmaps": ("shop", "--mode", "router"),
    "deployments": ("shop", "--mode", "router"),
    "statefulsets": ("statefulset/shop", "--mode", "scale"),
}
# An Event that cannot be written is no reason to refuse, nor are NetworkPolicies where they isolate nobody.
BEST_EFFORT = {"events", "networkpolicies"}


def rules(role: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """(group, resource, verb), one by one."""
    for rule in role["rules"]:
        for group in rule.get("apiGroups", []):
            for resource in rule.get("resources", []):
                yield from ((group, resource, verb) for verb in rule["verbs"])


PUBLISHED = sorted(rules(published_role("any")))
NEEDED = [rule for rule in PUBLISHED if rule[1] not in BEST_EFFORT]


def test_the_role_that_doctor_prints_is_the_published_one(ana: Person, space: Space) -> None:
    printed = ana.run("doctor", "--print-role", "-n", space.name)

    assert printed.code == 0, printed.said
    assert sorted(rules(yaml.safe_load(printed.out))) == PUBLISHED


def test_the_published_role_is_part_of_edit_and_reads_no_secret(node: Node) -> None:
    edit = set(rules(node.read("get", "clusterrole", "edit")))

    assert [rule for rule in PUBLISHED if rule not in edit] == []
    assert {verb for _, resource, verb in PUBLISHED if resource == "secrets"} == {"create", "delete"}


def without(*missing: tuple[str, str, str]) -> dict[str, Any]:
    """The published Role, short of these verbs."""
    kept = [rule for rule in PUBLISHED if rule not in missing]
    listed = [{"apiGroups": [group], "resources": [resource], "verbs": [verb]} for group, resource, verb in kept]
    return {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {}, "rules": listed}


@pytest.fixture(scope="module")
def refused(space: Space, server: Server) -> dict[tuple[str, str, str], Done]:
    """What an exchange says to a user who lacks one verb, for each verb; and nothing was created by any."""
    people = {
        missing: space.newcomer("eve", f"eve-{number}", without(missing)) for number, missing in enumerate(NEEDED)
    }
    before = space.snapshot()

    def tried(missing: tuple[str, str, str]) -> Done:
        words = BY_RESOURCE.get(missing[1], ("shop",))
        return people[missing].run("exchange", *words, "--expose", str(server.port), seconds=60)

    with ThreadPoolExecutor(4) as pool:
        found = dict(zip(NEEDED, pool.map(tried, NEEDED), strict=True))
    space.wait_same(before, seconds=0)
    return found


@pytest.mark.parametrize("missing", NEEDED, ids=lambda rule: f"{rule[2]} {rule[1]}")
def test_a_missing_verb_is_named_with_resource_and_namespace(
    refused: dict[tuple[str, str, str], Done], space: Space, missing: tuple[str, str, str]
) -> None:
    _, resource, verb = missing
    done = refused[missing]

    assert done.code == FORBIDDEN, done.said
    sentence = done.err.splitlines()[0]
    assert verb in sentence.split(), done.said
    assert resource.partition("/")[0] in sentence, done.said
    assert space.name in sentence, done.said


@pytest.mark.parametrize("resource", sorted(BEST_EFFORT))
def test_a_session_runs_without_the_rights_that_not_every_namespace_needs(
    space: Space, server: Server, resource: str
) -> None:
    lacking = [rule for rule in PUBLISHED if rule[1] == resource]
    eve = space.newcomer("eve", f"eve-without-{resource}", without(*lacking))
    with eve.start("exchange", "shop", "--expose", str(server.port), "--mode", "router") as session:
        session.wait_ready()
        session.interrupt()
        assert session.wait() == 0, session.said()
