"""The objects that a team has in its namespace, as the API server keeps them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ktpy.model.ref import Object
from tests.fakes.api import NAMESPACE

SELECTOR = {"app": "shop", "tier": "web"}


def port(number: int, target: int | str | None = None, **more: Any) -> Object:
    return {"port": number, "protocol": "TCP", "targetPort": number if target is None else target, **more}


def service(
    name: str = "shop",
    *,
    selector: Mapping[str, str] | None = None,
    ports: Sequence[Object] = (port(80, 8080, name="http"),),
    **more: Any,
) -> Object:
    chosen = SELECTOR if selector is None else selector
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": {"app": name}},
        "spec": {
            "type": "ClusterIP",
            "selector": dict(chosen),
            "ports": [*map(dict, ports)],
            **more,
        },
    }


def stored(thing: Object, *, uid: str = "uid-1", version: str = "7", **meta: Any) -> Object:
    """THING as it comes back from the API server."""
    return {**thing, "metadata": {**thing["metadata"], "uid": uid, "resourceVersion": version, **meta}}


def pod(
    name: str,
    *,
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    ports: Sequence[Object] = ({"containerPort": 8080, "name": "web"},),
    owners: Sequence[Object] = (),
) -> Object:
    meta: Object = {"name": name, "namespace": NAMESPACE, "labels": dict(SELECTOR if labels is None else labels)}
    meta |= {"annotations": dict(annotations)} if annotations else {}
    meta |= {"ownerReferences": list(owners)} if owners else {}
    containers = [{"name": "main", "image": "shop:1", "ports": list(ports)}]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": {"containers": containers}}


def deployment(name: str = "shop", *, labels: Mapping[str, str] | None = None, kind: str = "Deployment") -> Object:
    wears = dict(SELECTOR if labels is None else labels)
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": wears},
            "template": {"metadata": {"labels": wears}, "spec": {"containers": [{"name": "main", "image": "shop:1"}]}},
        },
    }


def policy(name: str, who: Object, **spec: Any) -> Object:
    """A NetworkPolicy for the pods that WHO selects, its policyTypes filled in as the API server does."""
    types = [way for way, key in (("Ingress", "ingress"), ("Egress", "egress")) if key in spec] or ["Ingress"]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"podSelector": who, "policyTypes": types, **spec},
    }
