"""The objects that a session creates, each born with our role label and the session's Lease as owner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ktpy.model import names
from ktpy.model.names import SessionId
from ktpy.model.ports import PodPort
from ktpy.model.ref import Object, uid_of
from ktpy.model.shape import PodShape


@dataclass(frozen=True)
class Identity:
    """Who runs a session, where, and what for: what colleagues read in `ktpy birdseye`."""

    session: SessionId
    owner: str
    host: str
    mode: str
    target: str


def lease(identity: Identity, namespace: str, now: str, *, notes: Mapping[str, str] | None = None) -> Object:
    """The session itself: its heartbeat, and the owner of what it creates. NOW: a MicroTime. NOTES: more to read."""
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {
            "name": names.lease_name(identity.session),
            "namespace": namespace,
            "labels": {names.ROLE: names.ROLE_SESSION, names.SESSION: identity.session},
            "annotations": {
                names.OWNER: identity.owner,
                names.HOST: identity.host,
                names.MODE: identity.mode,
                names.TARGET: identity.target,
                **(notes or {}),
            },
        },
        "spec": {
            "holderIdentity": identity.session,
            "leaseDurationSeconds": int(names.HEARTBEAT_SECONDS * 3),
            "acquireTime": now,
            "renewTime": now,
        },
    }


def owned_by(lease_object: Object) -> list[Object]:
    """Not controller, which blocks evictions under a namespace-wide PodDisruptionBudget; nor blockOwnerDeletion."""
    return [
        {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "name": lease_object["metadata"]["name"],
            "uid": uid_of(lease_object),
        }
    ]


def key_secret(session: SessionId, owner: Object, data: Mapping[str, str]) -> Object:
    """The pod's host key and the session's *public* key; the private one never leaves the laptop."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "immutable": True,
        "metadata": {
            "name": names.lease_name(session),
            "namespace": owner["metadata"]["namespace"],
            "labels": {names.ROLE: names.ROLE_KEY, names.SESSION: session},
            "ownerReferences": owned_by(owner),
        },
        "stringData": dict(data),
    }


def _security(shape: PodShape) -> Object:
    """Pod Security *restricted*; the sysctl is on Kubernetes' safe list and lets uid 10001 listen on port 80."""
    security: Object = {
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
        "sysctls": [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}],
    }
    if not shape.platform_picks_uid:
        uid = names.SHADOW_UID
        security |= {"runAsUser": uid, "runAsGroup": uid, "fsGroup": uid}
    return security


def hardened() -> Object:
    """A container's security context under Pod Security *restricted*, and a root that nobody writes to."""
    return {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }


def tolerations() -> list[Object]:
    """A lost node's pods would else stay for five minutes: longer than anybody waits for a tunnel."""
    return [
        {"key": f"node.kubernetes.io/{what}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 10}
        for what in ("not-ready", "unreachable")
    ]


def placed(shape: PodShape) -> Object:
    """What of a pod's spec is the same for all of ours: no token, *restricted*, and where the user wants them."""
    spec: Object = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": _security(shape),
    }
    if shape.service_account:
        spec["serviceAccountName"] = shape.service_account
    if shape.pull_secret:
        spec["imagePullSecrets"] = [{"name": shape.pull_secret}]
    if shape.node_selector:
        spec["nodeSelector"] = dict(shape.node_selector)
    return spec


def _tunnel_probe(ports: Sequence[PodPort]) -> Object:
    """Ready while sshd listens on each of PORTS for the laptop: state 0A of Linux' own tables, in hexadecimal.

    A probe that connects would connect to the laptop's program, every second.
    """
    listens = " && ".join(f"echo \"$all\" | grep -q ': [0-9A-F]*:{port.number:04X} [^ ]* 0A '" for port in ports)
    script = f"all=$(cat /proc/net/tcp /proc/net/tcp6 2>/dev/null); {listens}"
    return {"exec": {"command": ["sh", "-c", script]}, "periodSeconds": 1, "timeoutSeconds": 5}


def _container(shape: PodShape, ports: Sequence[PodPort], *, is_probed: bool) -> Object:
    probe = {"readinessProbe": _tunnel_probe(ports)} if is_probed else {}
    return {
        **probe,
        "name": "shadow",
        "image": shape.image,
        "imagePullPolicy": shape.pull_policy,
        "ports": [
            {"containerPort": port.number, "protocol": "TCP", **({"name": port.name} if port.name else {})}
            for port in ports
        ],
        "resources": {"requests": dict(shape.requests), "limits": dict(shape.limits)},
        "securityContext": hardened(),
        "volumeMounts": [{"name": "keys", "mountPath": "/keys", "readOnly": True}],
    }


def shadow_labels(shape: PodShape, wears: Mapping[str, str], session: SessionId) -> Mapping[str, str]:
    """All that a shadow wears."""
    return {**shape.labels, **wears, names.ROLE: names.ROLE_SHADOW, names.SESSION: session}


def shadow_pod(
    name: str, session: SessionId, owner: Object, *, shape: PodShape, ports: Sequence[PodPort],
    wears: Mapping[str, str], is_probed: bool = False,
) -> Object:  # fmt: skip
    """A restricted sshd that the laptop connects to. WEARS: the labels by which the diverted Service finds it.

    It declares each port name of the Service, because an unknown name drops that port from the endpoints. It has no
    probe where traffic comes only after ktpy itself has seen the way end to end. IS_PROBED: traffic may come as soon as
    it is Ready, and it is Ready only while the laptop is there.
    """
    spec: Object = {
        **placed(shape),
        "tolerations": tolerations(),
        "terminationGracePeriodSeconds": 600,  # at TERM it serves until its last connection ends
        "containers": [_container(shape, ports, is_probed=is_probed)],
        "volumes": [{"name": "keys", "secret": {"secretName": names.lease_name(session), "defaultMode": 0o440}}],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": owner["metadata"]["namespace"],
            "labels": dict(shadow_labels(shape, wears, session)),
            "annotations": {
                **shape.annotations,
                names.SELF: name,
                "cluster-autoscaler.kubernetes.io/safe-to-evict": "true",
                "sidecar.istio.io/inject": "false",
                "linkerd.io/inject": "disabled",
            },
            "ownerReferences": owned_by(owner),
        },
        "spec": spec,
    }
