"""Makes the cluster's certificate authority, its certificates and the kubeconfig files that carry them."""

import base64
import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from .state import Cluster, write

SERVICE_ADDRESS = "10.96.0.1"  # of the Service kubernetes.default, the first of its range
OPENSSL = "[req]\ndistinguished_name=dn\n[dn]\n"  # no x509 section, or basicConstraints would appear twice


@dataclass(frozen=True)
class Identity:
    """Who a certificate speaks for; without names it is a client's, with names a server's."""

    file: str
    user: str
    group: str = ""
    names: str = ""


def identities(cluster: Cluster) -> tuple[Identity, ...]:
    """One certificate for each pair of components that talk, as kubeadm deals them."""
    tails = ("", ".default", ".default.svc", ".default.svc.cluster.local")
    services = ",".join(f"DNS:kubernetes{tail}" for tail in tails)
    addresses = f"IP:{cluster.address},IP:127.0.0.1,IP:{SERVICE_ADDRESS}"
    return (
        Identity("apiserver", "kube-apiserver", names=f"{services},DNS:localhost,DNS:node,{addresses}"),
        Identity("kubelet-server", "node", names=f"DNS:node,IP:{cluster.address},IP:127.0.0.1"),
        Identity("apiserver-kubelet", "kube-apiserver-kubelet-client", "system:masters"),
        Identity("admin", "kubernetes-admin", "system:masters"),
        Identity("controller-manager", "system:kube-controller-manager"),
        Identity("scheduler", "system:kube-scheduler"),
        Identity("kube-proxy", "system:kube-proxy"),
        Identity("kubelet", "system:node:node", "system:nodes"),
        Identity("coredns", "system:coredns"),
    )


def make_all(cluster: Cluster) -> None:
    """Every key, certificate and kubeconfig of the cluster."""
    folder = cluster.folder / "pki"
    folder.mkdir(mode=0o700)
    write(folder / "openssl.cnf", OPENSSL)
    usage = _added("basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,digitalSignature")
    _openssl(folder, "req", "-x509", *_new_key("ca"), "-subj", "/CN=kubernetes", "-days", "365", *usage)
    with ThreadPoolExecutor() as pool:
        key = pool.submit(_openssl, folder, "genpkey", "-algorithm", "RSA", "-out", "sa.key")
        list(pool.map(lambda identity: _sign(folder, identity), identities(cluster)))
        key.result()
    for identity in identities(cluster):
        if not identity.names:
            _write_kubeconfig(cluster, identity.file)
    write(cluster.kubeconfig, (folder / "admin.kubeconfig").read_text())
    # `ktpy images load` finds its way back from the kubeconfig.
    write(cluster.kubeconfig.with_name("script"), f"{Path(__file__).resolve().parents[1] / 'cluster'}\n")


def _openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True, umask=0o077)


def _new_key(name: str) -> list[str]:
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-config", "openssl.cnf"]
    return [*curve, "-keyout", f"{name}.key", "-out", f"{name}.crt"]


def _sign(folder: Path, identity: Identity) -> None:
    subject = (f"/O={identity.group}" if identity.group else "") + f"/CN={identity.user}"
    purpose = "serverAuth" if identity.names else "clientAuth"
    usage = _added(
        "basicConstraints=critical,CA:FALSE", "keyUsage=critical,digitalSignature", f"extendedKeyUsage={purpose}"
    )
    if identity.names:
        usage += _added(f"subjectAltName={identity.names}")
    issuer = ["-CA", "ca.crt", "-CAkey", "ca.key", "-days", "365"]
    _openssl(folder, "req", "-x509", *_new_key(identity.file), "-subj", subject, *issuer, *usage)


def _added(*extensions: str) -> list[str]:
    return [part for extension in extensions for part in ("-addext", extension)]


def _write_kubeconfig(cluster: Cluster, name: str) -> None:
    """One file with everything in it, so that it can be copied; JSON is YAML."""
    folder = cluster.folder / "pki"

    def data(file: str) -> str:
        return base64.b64encode((folder / file).read_bytes()).decode()

    context = {"cluster": cluster.name, "user": name}
    user = {"client-certificate-data": data(f"{name}.crt"), "client-key-data": data(f"{name}.key")}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": cluster.context,
        "clusters": [
            {"name": cluster.name, "cluster": {"server": cluster.server, "certificate-authority-data": data("ca.crt")}}
        ],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": cluster.context, "context": context}],
    }
    write(folder / f"{name}.kubeconfig", json.dumps(config, indent=1) + "\n")
