"""The node's components: their configuration files, command lines and environment."""

import os
from dataclasses import dataclass
from pathlib import Path
from string import Template

from .debs import Tools
from .state import Cluster, write

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Programs:
    """Everything that was built and fetched."""

    built: dict[str, Path]
    tools: Tools

    def program(self, name: str) -> Path:
        """The path of one built program."""
        return next(folder / name for folder in self.built.values() if (folder / name).exists())

    @property
    def path(self) -> str:
        """Ours first: containerd takes the shim that it finds there."""
        folders = [str(self.built[name]) for name in ("kube", "containerd", "etcd", "coredns")]
        return ":".join([*folders, self.tools.path, "/usr/sbin:/usr/bin:/sbin:/bin"])

    def environment(self, cluster: Cluster) -> dict[str, str]:
        """What the components see; nothing of the caller's."""
        return {
            "PATH": self.path,
            "LD_LIBRARY_PATH": self.tools.libraries,
            "HOME": str(cluster.folder),
            "LANG": "C.UTF-8",
        }


@dataclass(frozen=True)
class Component:
    """One process of the node."""

    name: str
    arguments: tuple[str, ...]


def write_files(cluster: Cluster, programs: Programs, *, min_sync_period: str) -> None:
    """Fill in the templates and make the folders that the components expect."""
    folder = cluster.folder
    for name in ("log", "cni/conf", "containerd", "kubelet", "etcd"):
        (folder / name).mkdir(mode=0o700, parents=True, exist_ok=True)
    values = {
        "folder": str(folder),
        "cgroup": cluster.cgroup,
        "cni": str(programs.built["cni"]),
        "runc": str(programs.tools.runc),
        "min_sync_period": min_sync_period,
    }
    for name in ("containerd.toml", "kubelet.yaml", "kube-proxy.yaml", "Corefile"):
        write(folder / name, Template((TEMPLATES / name).read_text()).substitute(values))
    conflist = Template((TEMPLATES / "pods.conflist").read_text()).substitute(values)
    write(folder / "cni/conf/pods.conflist", conflist)
    (folder / "resolv.conf").write_text("search cluster.local\nnameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
    (folder / "resolv-pods.conf").write_text("nameserver 10.96.0.10\n")


def components(cluster: Cluster) -> dict[str, Component]:
    """All of them by name."""
    everything = (
        _containerd(cluster),
        _etcd(cluster),
        _apiserver(cluster),
        _controller_manager(cluster),
        _scheduler(cluster),
        _kubelet(cluster),
        Component("kube-proxy", (f"--config={cluster.folder}/kube-proxy.yaml",)),
        Component("coredns", ("-conf", f"{cluster.folder}/Corefile")),
    )
    return {component.name: component for component in everything}


def _containerd(cluster: Cluster) -> Component:
    return Component("containerd", ("--config", f"{cluster.folder}/containerd.toml", "--log-level", "info"))


def _etcd(cluster: Cluster) -> Component:
    return Component(
        "etcd",
        (
            f"--data-dir={cluster.folder}/etcd",
            "--listen-client-urls=http://127.0.0.1:2379",
            "--advertise-client-urls=http://127.0.0.1:2379",
            "--listen-peer-urls=http://127.0.0.1:2380",
            "--watch-progress-notify-interval=5s",
            "--unsafe-no-fsync",  # the cluster is thrown away anyhow
        ),
    )


def _apiserver(cluster: Cluster) -> Component:
    pki = cluster.folder / "pki"
    return Component(
        "kube-apiserver",
        (
            f"--bind-address={cluster.address}",
            f"--advertise-address={cluster.address}",
            "--etcd-servers=http://127.0.0.1:2379",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--allow-privileged=true",
            f"--client-ca-file={pki}/ca.crt",
            f"--tls-cert-file={pki}/apiserver.crt",
            f"--tls-private-key-file={pki}/apiserver.key",
            f"--kubelet-certificate-authority={pki}/ca.crt",
            f"--kubelet-client-certificate={pki}/apiserver-kubelet.crt",
            f"--kubelet-client-key={pki}/apiserver-kubelet.key",
            "--kubelet-preferred-address-types=InternalIP",  # the name `node` is in no DNS
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            f"--service-account-key-file={pki}/sa.key",
            f"--service-account-signing-key-file={pki}/sa.key",
        ),
    )


def _controller_manager(cluster: Cluster) -> Component:
    pki = cluster.folder / "pki"
    return Component(
        "kube-controller-manager",
        (
            f"--kubeconfig={pki}/controller-manager.kubeconfig",
            "--bind-address=127.0.0.1",
            "--use-service-account-credentials=true",
            f"--service-account-private-key-file={pki}/sa.key",
            f"--root-ca-file={pki}/ca.crt",
            f"--cluster-signing-cert-file={pki}/ca.crt",
            f"--cluster-signing-key-file={pki}/ca.key",
            "--allocate-node-cidrs=false",
            f"--flex-volume-plugin-dir={cluster.folder}/kubelet/volume-plugins",
            "--leader-elect=false",
            # With the default of 20/s the first service account, which the first pod needs, comes seconds late.
            "--kube-api-qps=500",
            "--kube-api-burst=1000",
        ),
    )


def _scheduler(cluster: Cluster) -> Component:
    kubeconfig = f"--kubeconfig={cluster.folder}/pki/scheduler.kubeconfig"
    return Component("kube-scheduler", (kubeconfig, "--bind-address=127.0.0.1", "--leader-elect=false"))


def _kubelet(cluster: Cluster) -> Component:
    return Component(
        "kubelet",
        (
            f"--config={cluster.folder}/kubelet.yaml",
            f"--kubeconfig={cluster.folder}/pki/kubelet.kubeconfig",
            f"--root-dir={cluster.folder}/kubelet",
            f"--cert-dir={cluster.folder}/kubelet/pki",
            "--hostname-override=node",
            f"--node-ip={cluster.address}",
        ),
    )


def order(cluster: Cluster, component: Component, programs: Programs) -> dict[str, object]:
    """What the node's first process is told, to start this component."""
    argv = [str(programs.program(component.name)), *component.arguments]
    return {"name": component.name, "argv": argv, "env": programs.environment(cluster)}


def last_lines(cluster: Cluster, name: str, *, count: int = 15) -> str:
    """The end of a component's log."""
    log = cluster.logs / f"{name}.log"
    if not log.exists():
        return "(no log)"
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 64 * 1024), os.SEEK_SET)
        return "\n".join(file.read().decode(errors="replace").splitlines()[-count:])
