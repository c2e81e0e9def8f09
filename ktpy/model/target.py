"""What a user means by TARGET: a Service, or the one Service in front of a workload."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from ktpy.errors import KtError, NotFound, Usage
from ktpy.model.diversion import given_back, note_of, selector_of
from ktpy.model.ref import Object

KINDS = {
    "service": "Service",
    "services": "Service",
    "svc": "Service",
    "deployment": "Deployment",
    "deployments": "Deployment",
    "deploy": "Deployment",
    "statefulset": "StatefulSet",
    "statefulsets": "StatefulSet",
    "sts": "StatefulSet",
}


@dataclass(frozen=True)
class Target:
    """A Service, Deployment or StatefulSet by name, as typed after `ktpy COMMAND`, which hints repeat."""

    kind: str
    name: str
    command: str = "exchange"

    def __str__(self) -> str:
        return f"{self.kind.lower()}/{self.name}"


def target(text: str, command: str = "exchange") -> Target:
    """`shop`, `svc/shop`, `deploy/shop`, `statefulset/shop`. Raises Usage."""
    kind, slash, name = text.partition("/")
    if not slash:
        kind, name = "service", text
    if not name or "/" in name:
        raise Usage(f"'{text}' is not NAME or KIND/NAME.", f"ktpy {command} shop")
    if kind.lower() in ("pod", "pods", "po"):
        raise Usage(
            "A pod cannot be exchanged: traffic finds pods through a Service, and a selector names many.",
            f"ktpy {command} SERVICE      the Service in front of pod {name}",
        )
    if kind.lower() not in KINDS:
        raise Usage(f"'{kind}' is not a kind that ktpy takes.", "service/NAME, deployment/NAME or statefulset/NAME")
    return Target(KINDS[kind.lower()], name, command)


def original_selector(service: Object) -> dict[str, str]:
    """The owner's selector, also while the Service is diverted."""
    note = note_of(service)
    return selector_of(given_back(service, note.session)) if note else selector_of(service)


def in_front_of(workload: Object, services: Sequence[Object], command: str = "exchange") -> Object:
    """The one Service that selects WORKLOAD's pods. Raises KtError naming all where there are several or none."""
    wears = workload["spec"]["template"]["metadata"].get("labels") or {}
    name = f"{workload['kind'].lower()}/{workload['metadata']['name']}"
    found = [s for s in services if original_selector(s) and original_selector(s).items() <= wears.items()]
    if not found:
        raise NotFound(f"No Service in namespace {workload['metadata']['namespace']} selects the pods of {name}.")
    if len(found) > 1:
        names = sorted(s["metadata"]["name"] for s in found)
        raise KtError(
            f"{name} is behind several Services: {', '.join(names)}.", [f"ktpy {command} service/{n}" for n in names]
        )
    return found[0]


def not_found(wanted: Target, namespace: str, here: Sequence[str], elsewhere: Sequence[tuple[str, str]]) -> NotFound:
    """No such object; with the nearest names HERE and (namespace, name) ELSEWHERE."""
    hints = [
        f"ktpy {wanted.command} {name} -n {space}"
        for space, name in elsewhere
        if name == wanted.name and space != namespace
    ]
    hints += [
        f"ktpy {wanted.command} {near}      did you mean this?"
        for near in difflib.get_close_matches(wanted.name, here, 3)
    ]
    if not hints:
        near = difflib.get_close_matches(wanted.name, [name for _, name in elsewhere], 2)
        hints = [
            f"ktpy {wanted.command} {name} -n {space}      did you mean this?"
            for space, name in elsewhere
            if name in near
        ]
    if not hints and here:
        hints = [f"namespace {namespace} has: {', '.join(sorted(here)[:12])}"]
    return NotFound(f"There is no {wanted} in namespace {namespace}.", hints[:4])


def must_be_divertible(service: Object) -> None:
    """Refuse what a selector cannot divert. Raises KtError with the reason."""
    spec, name = service["spec"], f"service/{service['metadata']['name']}"
    if spec.get("type") == "ExternalName":
        raise KtError(
            f"{name} is an ExternalName for {spec.get('externalName')}: it has no pods that could be exchanged."
        )
    if spec.get("clusterIP") == "None":
        raise KtError(
            f"{name} is headless: its clients hold its pods' own addresses, which a changed selector does not touch.",
            "exchange a Service that has a ClusterIP",
        )
    if not original_selector(service):
        raise KtError(f"{name} has no selector: its endpoints are kept by hand or by a controller.")
