"""The rights that ktpy needs in a namespace: one table, from which the Role in README and every check come."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from ktpy.model.ref import Object


class Right(NamedTuple):
    """VERB on RESOURCE of GROUP; SUBRESOURCE may be empty."""

    verb: str
    group: str
    resource: str
    subresource: str = ""

    def __str__(self) -> str:
        sub = f"/{self.subresource}" if self.subresource else ""
        group = f".{self.group}" if self.group else ""
        return f"{self.verb} {self.resource}{group}{sub}"


# (group, resource, verbs): what one developer needs for every mode, recover, clean and birdseye
RULES: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("coordination.k8s.io", "leases", ("get", "list", "watch", "create", "patch", "delete")),
    ("", "secrets", ("create", "delete")),
    ("", "pods", ("get", "list", "watch", "create", "delete")),
    ("", "pods/portforward", ("get", "create")),
    ("", "services", ("get", "list", "watch", "create", "patch", "delete")),
    ("", "configmaps", ("get", "create", "patch", "delete")),
    ("", "events", ("create",)),
    ("networking.k8s.io", "networkpolicies", ("get", "list", "create", "patch", "delete")),
    ("apps", "deployments", ("get", "list", "watch", "create", "patch", "delete")),
    ("apps", "statefulsets", ("get", "list", "watch", "patch")),
)
# Asked for only where they are needed: an Event is best effort, and policies are made where some isolate pods.
SOMETIMES = ("events", "networkpolicies")
# for `ktpy preview --host` alone, and so no part of the Role
INGRESS = tuple(Right(verb, "networking.k8s.io", "ingresses") for verb in ("create", "delete"))


def rights() -> tuple[Right, ...]:
    """Every right of the table, one by one."""
    return tuple(Right(verb, group, *resource.split("/", 1)) for group, resource, verbs in RULES for verb in verbs)


def needed(*kinds: str) -> tuple[Right, ...]:
    """The rights on the resources KINDS (plural, as in the table)."""
    return tuple(right for right in rights() if right.resource in kinds)


def is_granted(rules: Iterable[Object], right: Right) -> bool:
    """Whether any of RULES, as a SelfSubjectRulesReview tells them, grants RIGHT on every object of its kind."""
    resource = right.resource + (f"/{right.subresource}" if right.subresource else "")
    every = {"*", resource, *([f"*/{right.subresource}"] if right.subresource else [])}
    return any(
        {right.verb, "*"} & set(rule.get("verbs") or ())
        and {right.group, "*"} & set(rule.get("apiGroups") or ())
        and every & set(rule.get("resources") or ())
        and not rule.get("resourceNames")
        for rule in rules
    )


def role_text(namespace: str) -> str:
    """The Role as a manifest: all that ktpy needs in NAMESPACE, and a subset of the built-in `edit`."""
    lines = [
        "apiVersion: rbac.authorization.k8s.io/v1",
        "kind: Role",
        f"metadata: {{name: ktpy, namespace: {namespace}}}",
        "rules:",
    ]
    for group, resource, verbs in RULES:
        lines.append(f'  - {{apiGroups: ["{group}"], resources: ["{resource}"], verbs: [{", ".join(verbs)}]}}')
    group, resource, verbs = INGRESS[0].group, INGRESS[0].resource, tuple(right.verb for right in INGRESS)
    lines.append("  # only for `ktpy preview --host`:")
    lines.append(f'  # - {{apiGroups: ["{group}"], resources: ["{resource}"], verbs: [{", ".join(verbs)}]}}')
    return "\n".join(lines) + "\n"
