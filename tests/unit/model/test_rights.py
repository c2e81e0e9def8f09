"""One table of rights, from which the Role and every check come."""

from __future__ import annotations

import pytest
import yaml

from ktpy.model.rights import SOMETIMES, Right, is_granted, needed, rights, role_text


def test_the_role_grants_exactly_the_table() -> None:
    role = yaml.safe_load(role_text("team"))

    granted = {
        str(Right(verb, group, *resource.split("/", 1)))
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert granted == {str(right) for right in rights()}
    assert role["metadata"] == {"name": "ktpy", "namespace": "team"}


def test_secrets_are_never_read() -> None:
    assert {right.verb for right in needed("secrets")} == {"create", "delete"}


def test_nothing_is_written_but_by_guarded_patches() -> None:
    assert not {"update", "deletecollection"} & {right.verb for right in rights()}


def test_a_right_says_itself_as_kubectl_does() -> None:
    assert str(Right("get", "apps", "deployments")) == "get deployments.apps"
    assert str(Right("create", "", "pods", "portforward")) == "create pods/portforward"


def test_needed_rights_include_subresources() -> None:
    assert Right("create", "", "pods", "portforward") in needed("pods")


def test_what_is_asked_for_only_sometimes_is_in_the_table() -> None:
    assert {right.resource for right in needed(*SOMETIMES)} == set(SOMETIMES)


@pytest.mark.parametrize(
    ("rule", "is_enough"),
    [
        ({"verbs": ["get", "create"], "apiGroups": [""], "resources": ["pods/portforward"]}, True),
        ({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}, True),
        ({"verbs": ["create"], "apiGroups": [""], "resources": ["*/portforward"]}, True),
        ({"verbs": ["create"], "apiGroups": [""], "resources": ["pods"]}, False),
        ({"verbs": ["get"], "apiGroups": [""], "resources": ["pods/portforward"]}, False),
        ({"verbs": ["create"], "apiGroups": ["apps"], "resources": ["pods/portforward"]}, False),
        ({"verbs": ["create"], "apiGroups": [""], "resources": ["*"], "resourceNames": ["mine"]}, False),
        ({"verbs": None, "nonResourceURLs": ["/healthz"]}, False),
    ],
)
def test_a_rule_grants_what_it_names(rule: dict[str, object], is_enough: bool) -> None:
    assert is_granted([rule], Right("create", "", "pods", "portforward")) == is_enough
    assert not is_granted([], Right("create", "", "pods"))
