"""What an owner has in the namespace: limits as a strict platform team sets them, and the shop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

SHOP_IMAGE = "localhost/ktpy-shop:1"
Manifest = dict[str, Any]


def namespace(name: str) -> list[Manifest]:
    """Pod Security *restricted*, a ResourceQuota and a LimitRange."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    hard = {
        "requests.cpu": "1",
        "requests.memory": "1Gi",
        "limits.cpu": "40",
        "limits.memory": "8Gi",
        "pods": "40",
    }
    limit = {"type": "Container", "default": {"cpu": "200m", "memory": "64Mi"}, "max": {"cpu": "1", "memory": "256Mi"}}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}},
        {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "team", "namespace": name},
         "spec": {"hard": hard}},
        {"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "team", "namespace": name},
         "spec": {"limits": [limit]}},
    ]  # fmt: skip


def pod_spec(*arguments: str, command: Sequence[str] = (), ports: Sequence[tuple[str, int]] = ()) -> Manifest:
    """A pod of the shop image that passes *restricted*. PORTS: (name, number)."""
    container: Manifest = {
        "name": "shop",
        "image": SHOP_IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "args": list(arguments),
        "ports": [{"name": name, "containerPort": number} for name, number in ports],
        "resources": {"requests": {"cpu": "10m", "memory": "24Mi"}, "limits": {"cpu": "1", "memory": "128Mi"}},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    if command:
        container["command"] = list(command)
    if ports:
        container["readinessProbe"] = {"tcpSocket": {"port": ports[0][1]}, "periodSeconds": 1}
    return {
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 1,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 10002, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
    }


def deployment(name: str, ports: Sequence[tuple[str, int]], *, replicas: int = 3) -> Manifest:
    """A shop called NAME that answers on PORTS (name, number)."""
    arguments = ["--name", name, *(word for _, number in ports for word in ("--port", str(number)))]
    template = {"metadata": {"labels": {"app": name}}, "spec": pod_spec(*arguments, ports=ports)}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template},
    }


def service(name: str, ports: Sequence[tuple[int, int | str] | Manifest], *, app: str = "", **spec: Any) -> Manifest:
    """A Service NAME over the pods of APP; PORTS: (port, targetPort), or as in a manifest. SPEC overrides anything."""
    listed = [
        port if isinstance(port, dict) else {"name": f"p{port[0]}", "port": port[0], "targetPort": port[1]}
        for port in ports
    ]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "labels": {"app": app or name, "team": "shop"}},
        "spec": {"selector": {"app": app or name}, "ports": listed, **spec},
    }


SHOP = (deployment("shop", [("http", 8080)]), service("shop", [(80, "http")]))
NUMERIC = (service("numeric", [(80, 8080)], app="shop"),)
THREE = (
    deployment("three", [("http", 8080), ("grpc", 9090), ("admin", 9100)], replicas=1),
    service("three", [(80, "http"), (90, 9090), (9100, "admin")]),
)
