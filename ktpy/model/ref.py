"""Which object: kind, name and namespace, and where the API server keeps that kind."""

from __future__ import annotations

from typing import Any, NamedTuple

Object = dict[str, Any]
"""A Kubernetes object as the raw JSON the API server gave; typed models drop fields they do not know."""

# kind -> (API group and version, plural)
KINDS: dict[str, tuple[str, str]] = {
    "ConfigMap": ("v1", "configmaps"),
    "Deployment": ("apps/v1", "deployments"),
    "Event": ("v1", "events"),
    "EndpointSlice": ("discovery.k8s.io/v1", "endpointslices"),
    "Ingress": ("networking.k8s.io/v1", "ingresses"),
    "HorizontalPodAutoscaler": ("autoscaling/v2", "horizontalpodautoscalers"),
    "Lease": ("coordination.k8s.io/v1", "leases"),
    "LimitRange": ("v1", "limitranges"),
    "Namespace": ("v1", "namespaces"),
    "NetworkPolicy": ("networking.k8s.io/v1", "networkpolicies"),
    "Pod": ("v1", "pods"),
    "ReplicaSet": ("apps/v1", "replicasets"),
    "ResourceQuota": ("v1", "resourcequotas"),
    "Secret": ("v1", "secrets"),
    "SelfSubjectAccessReview": ("authorization.k8s.io/v1", "selfsubjectaccessreviews"),
    "SelfSubjectRulesReview": ("authorization.k8s.io/v1", "selfsubjectrulesreviews"),
    "Service": ("v1", "services"),
    "StatefulSet": ("apps/v1", "statefulsets"),
}
CLUSTER_WIDE = {"Namespace", "SelfSubjectAccessReview", "SelfSubjectRulesReview"}


class Ref(NamedTuple):
    """One object. `str(ref)` is what users type: service/shop."""

    kind: str
    name: str
    namespace: str

    def __str__(self) -> str:
        return f"{self.kind.lower()}/{self.name}"


def collection(kind: str, namespace: str | None) -> str:
    """The URL path of all objects of KIND in NAMESPACE; None: of the whole cluster."""
    group, plural = KINDS[kind]
    root = f"/api/{group}" if group == "v1" else f"/apis/{group}"
    where = "" if namespace is None or kind in CLUSTER_WIDE else f"/namespaces/{namespace}"
    return f"{root}{where}/{plural}"


def path(ref: Ref) -> str:
    """The URL path of one object."""
    return f"{collection(ref.kind, ref.namespace)}/{ref.name}"


def ref_of(thing: Object) -> Ref:
    """The reference of an object that names its kind."""
    meta = thing["metadata"]
    return Ref(thing["kind"], meta["name"], meta.get("namespace", ""))


def uid_of(thing: Object) -> str:
    return str(thing["metadata"]["uid"])


def labels_of(thing: Object) -> dict[str, str]:
    return dict(thing["metadata"].get("labels") or {})


def annotations_of(thing: Object) -> dict[str, str]:
    return dict(thing["metadata"].get("annotations") or {})
