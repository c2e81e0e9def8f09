"""The objects of a router: its Lease, the stuntman Service, the table's ConfigMap and the Deployment."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ktpy.model import names, routes
from ktpy.model.manifests import Identity, hardened, owned_by, placed, tolerations
from ktpy.model.names import SessionId
from ktpy.model.ports import PodPort
from ktpy.model.ref import Object
from ktpy.model.routes import Ports, Routes
from ktpy.model.shape import PodShape

STAY_SECONDS = 10  # beyond the drain's own deadline: what is left then is killed
TABLE_FOLDER, RUN_FOLDER = "/etc/ktpy-router", "/run/ktpy-router"


@dataclass(frozen=True)
class RouterShape:
    """How a router looks. DRAIN: seconds that open streams may live when it goes."""

    pod: PodShape
    replicas: int = 2
    drain: float = 60.0

    @staticmethod
    def pod_default() -> PodShape:
        """What a worker needs: 71 MB resident at rest, and buffers."""
        return PodShape(image="", requests={"cpu": "50m", "memory": "96Mi"}, limits={"cpu": "1", "memory": "256Mi"})


def lease(identity: Identity, namespace: str, now: str, *, opener: SessionId, ktpy: str) -> Object:
    """The owner of all the others. It has no heartbeat: a router lives while a session that has a row in it does."""
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {
            "name": names.lease_name(identity.session),
            "namespace": namespace,
            "labels": {names.ROLE: names.ROLE_ROUTER, names.SESSION: identity.session},
            "annotations": {
                names.OWNER: identity.owner,
                names.HOST: identity.host,
                names.MODE: identity.mode,
                names.TARGET: identity.target,
                names.OPENER: opener,
                names.VERSION: ktpy,
            },
        },
        "spec": {"holderIdentity": identity.session, "acquireTime": now, "renewTime": now},
    }


def _meta(name: str, router: SessionId, owner: Object, role: str) -> Object:
    return {
        "name": name,
        "namespace": owner["metadata"]["namespace"],
        "labels": {names.ROLE: role, names.SESSION: router},
        "ownerReferences": owned_by(owner),
    }


def stuntman(service: Object, selector: Mapping[str, str], router: SessionId, owner: Object) -> Object:
    """SERVICE once more under another name, leading to the original pods: the same ports, families and affinity."""
    old = service["spec"]
    ports = [{key: value for key, value in port.items() if key != "nodePort"} for port in old.get("ports") or []]
    spec: Object = {"type": "ClusterIP", "selector": dict(selector), "ports": ports}
    kept = ("ipFamilies", "ipFamilyPolicy", "sessionAffinity", "sessionAffinityConfig", "publishNotReadyAddresses")
    spec |= {key: old[key] for key in kept if old.get(key)}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _meta(names.stuntman_name(service["metadata"]["name"], router), router, owner, names.ROLE_STUNTMAN),
        "spec": spec,
    }


def defaults(stunt: Object, listens: Mapping[int, int]) -> dict[int, str]:
    """Listening port → where unmatched traffic goes: the stuntman's own address. LISTENS: Service port → listening."""
    address = stunt["spec"]["clusterIP"]
    host = f"[{address}]" if ipaddress.ip_address(address).version == 6 else address
    found: dict[int, str] = {}
    for port, listen in listens.items():
        found.setdefault(listen, f"{host}:{port}")
    return found


def config_map(service: str, table: Routes, owner: Object) -> Object:
    """The truth, and the lock: joining and leaving are changes of this one object."""
    thing: Object = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _meta(names.router_name(service), table.router, owner, names.ROLE_TABLE),
    }
    return routes.written(table, thing)


def _arguments(ports: Ports, shape: RouterShape) -> list[str]:
    return [
        f"--table={TABLE_FOLDER}/{routes.TABLE_KEY}",
        f"--run-dir={RUN_FOLDER}",
        f"--control-port={ports.control}",
        f"--health-port={ports.health}",
        f"--inspect-port={ports.inspect}",
        f"--inspect-web-port={ports.web}",
        f"--drain-seconds={shape.drain:g}",
    ]


def _container(shape: RouterShape, ports: Ports, opened: Sequence[PodPort]) -> Object:
    pod = shape.pod
    return {
        "name": "router",
        "image": pod.image,
        "imagePullPolicy": pod.pull_policy,
        "args": _arguments(ports, shape),
        "ports": [
            {"containerPort": port.number, "protocol": "TCP", **({"name": port.name} if port.name else {})}
            for port in opened
        ],
        # Ready as soon as it has reached the originals. Once it serves, a node that is short of time must not take all
        # routers out of the Service, which would then have no endpoint at all: only one that is dead goes.
        "startupProbe": {
            "httpGet": {"path": "/readyz?wait=4", "port": ports.health},
            "periodSeconds": 1,
            "timeoutSeconds": 5,
            "failureThreshold": 600,
        },
        "readinessProbe": {
            "httpGet": {"path": "/healthz", "port": ports.health},
            "periodSeconds": 10,
            "timeoutSeconds": 10,
            "failureThreshold": 3,
        },
        "resources": {"requests": dict(pod.requests), "limits": dict(pod.limits)},
        "securityContext": hardened(),
        "volumeMounts": [
            {"name": "table", "mountPath": TABLE_FOLDER, "readOnly": True},
            {"name": "run", "mountPath": RUN_FOLDER},
        ],
    }


def replicas(shape: RouterShape, nodes: Sequence[str]) -> int:
    """How many pods: at least one for each of NODES."""
    return max(shape.replicas, len(nodes))


def deployment(
    service: str, table: Routes, owner: Object, *, shape: RouterShape, opened: Sequence[PodPort],
    wears: Mapping[str, str], nodes: Sequence[str] = (),
) -> Object:  # fmt: skip
    """The router's pods. WEARS: the labels by which the diverted Service finds them; its selector names our own only.

    Spread over nodes where there are several; each is replaced before it goes. NODES: one on each of these and on no
    other, for a Service whose traffic must not change nodes.
    """
    meta = _meta(names.router_name(service), table.router, owner, names.ROLE_ROUTER)
    ours = meta["labels"]
    spec: Object = {
        **placed(shape.pod),
        "tolerations": tolerations(),
        "terminationGracePeriodSeconds": int(shape.drain) + STAY_SECONDS,
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "DoNotSchedule" if nodes else "ScheduleAnyway",
                "labelSelector": {"matchLabels": ours},
            }
        ],
        "containers": [_container(shape, table.ports, opened)],
        "volumes": [
            {"name": "table", "configMap": {"name": names.router_name(service)}},
            {"name": "run", "emptyDir": {}},
        ],
    }
    if nodes:
        fields = [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]} for node in nodes]
        required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": fields}}
        spec["affinity"] = {"nodeAffinity": required}
    template = {
        "metadata": {
            "labels": {**shape.pod.labels, **wears, **ours},
            "annotations": {
                **shape.pod.annotations,
                "sidecar.istio.io/inject": "false",
                "linkerd.io/inject": "disabled",
            },
        },
        "spec": spec,
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": meta,
        "spec": {
            "replicas": replicas(shape, nodes),
            "revisionHistoryLimit": 0,
            "selector": {"matchLabels": ours},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": template,
        },
    }
