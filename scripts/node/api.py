"""The few words that bringing up a cluster has to change with its API server and its DNS."""

import http.client
import json
import socket
import ssl
import struct
from pathlib import Path
from typing import Any

from . import kernel
from .state import Born, Cluster

DNS_ADDRESS = "10.96.0.10"
ROLE = "rbac.authorization.k8s.io"

# What kubeadm's CoreDNS add-on brings along; here CoreDNS is a process of the node, so its Service has no selector.
COREDNS_RULES = [
    {"apiGroups": [""], "resources": ["endpoints", "services", "pods", "namespaces"], "verbs": ["list", "watch"]},
    {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
]
DNS_PORTS = [{"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "dns-tcp", "port": 53, "protocol": "TCP"}]


class Api:
    """The API server, as its administrator sees it."""

    def __init__(self, cluster: Cluster) -> None:
        pki = cluster.folder / "pki"
        self._host = cluster.address
        self._context = ssl.create_default_context(cafile=str(pki / "ca.crt"))
        self._context.load_cert_chain(pki / "admin.crt", pki / "admin.key")

    def ask(self, path: str, *, method: str = "GET", body: object = None) -> tuple[int, Any]:
        """The status and the object, or text, that the server answers; 0 when it does not."""
        connection = http.client.HTTPSConnection(self._host, 6443, timeout=5, context=self._context)
        try:
            text = None if body is None else json.dumps(body)
            connection.request(method, path, text, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException):
            return 0, None
        finally:
            connection.close()
        is_json = answer.headers.get_content_type() == "application/json"
        return answer.status, json.loads(content) if is_json else content.decode(errors="replace")

    def is_ready(self) -> bool:
        return self.ask("/readyz")[0] == 200

    def has_default_account(self) -> bool:
        """Without it the first pod is refused."""
        return self.ask("/api/v1/namespaces/default/serviceaccounts/default")[0] == 200

    def is_node_ready(self) -> bool:
        status, node = self.ask("/api/v1/nodes/node")
        if status != 200 or node["spec"].get("taints"):  # the taint not-ready outlives the condition by a moment
            return False
        conditions: list[dict[str, str]] = node["status"]["conditions"]
        return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)

    def create(self, collection: str, thing: dict[str, object]) -> None:
        status, answer = self.ask(collection, method="POST", body=thing)
        if status not in {201, 409}:
            raise RuntimeError(f"{collection} answered {status}: {answer}")


def give_dns_its_place(api: Api, cluster: Cluster) -> None:
    """CoreDNS' rights, the Service kube-dns and its one endpoint, the node."""
    name = {"name": "system:coredns"}
    dns = {"name": "kube-dns", "namespace": "kube-system"}
    rbac = f"/apis/{ROLE}/v1"
    subject = {"kind": "User", "name": "system:coredns", "apiGroup": ROLE}
    reference = {"kind": "ClusterRole", "name": "system:coredns", "apiGroup": ROLE}
    api.create(f"{rbac}/clusterroles", {"metadata": name, "rules": COREDNS_RULES})
    api.create(f"{rbac}/clusterrolebindings", {"metadata": name, "subjects": [subject], "roleRef": reference})
    api.create(
        "/api/v1/namespaces/kube-system/services",
        {
            "metadata": {**dns, "labels": {"k8s-app": "kube-dns"}},
            "spec": {"clusterIP": DNS_ADDRESS, "ports": DNS_PORTS},
        },
    )
    api.create(
        "/apis/discovery.k8s.io/v1/namespaces/kube-system/endpointslices",
        {
            "metadata": {**dns, "labels": {"kubernetes.io/service-name": "kube-dns"}},
            "addressType": "IPv4",
            "endpoints": [{"addresses": [cluster.address]}],
            "ports": DNS_PORTS,
        },
    )


def answers_tcp(life: Born, port: int) -> bool:
    """Whether something listens on this port of the node's loopback."""
    with kernel.in_network(life.network), socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def answers_unix(path: Path) -> bool:
    """Whether something listens on this socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def resolves(life: Born, name: str = "kubernetes.default.svc.cluster.local") -> bool:
    """Whether DNS answers for the name through its Service, which also proves kube-proxy's rules."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    query = struct.pack(">6H", 1, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">2H", 1, 1)
    with kernel.in_network(life.network), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.settimeout(0.3)
        try:
            probe.sendto(query, (DNS_ADDRESS, 53))
            _, flags, _, answers, *_ = struct.unpack(">6H", probe.recv(512)[:12])
        except OSError:
            return False
    return bool(flags & 0xF == 0 and answers > 0)
