"""Real servers and clients of many protocols: pods of the image of tests/e2e/peers, and the same on the laptop."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.harness import manifests
from tests.e2e.harness.client import InCluster
from tests.e2e.harness.laptop import Server
from tests.e2e.harness.manifests import Manifest
from tests.e2e.harness.node import SCRIPT, Node
from tests.e2e.harness.wheel import CHECKOUT

IMAGE = "localhost/ktpy-peers:1"
PORTS = [("http", 8080), ("grpc", 9090), ("redis", 6379)]
LAPTOP_PORTS = (18080, 19090, 16379)
EXPOSED = ",".join(f"{ours}:{theirs}" for ours, theirs in zip(LAPTOP_PORTS, (80, 90, 6379), strict=True))
SERVE = CHECKOUT / "tests/e2e/peers/serve.py"


def deployment(name: str, *, replicas: int) -> Manifest:
    """serve.py on PORTS, under NAME."""
    thing = manifests.deployment(name, PORTS, replicas=replicas)
    (container,) = thing["spec"]["template"]["spec"]["containers"]
    numbers = [str(number) for _, number in PORTS]
    container |= {"image": IMAGE, "command": ["python3", "/serve.py", name, "0.0.0.0", *numbers], "args": []}
    container["resources"]["limits"]["memory"] = "256Mi"
    return thing


def service(name: str, app: str) -> Manifest:
    return manifests.service(name, [(80, "http"), (90, "grpc"), (6379, "redis")], app=app)


def asker(name: str = "asker") -> Manifest:
    """The pod of the clients."""
    spec = manifests.pod_spec("infinity", command=["sleep"])
    (container,) = spec["containers"]
    container["image"] = IMAGE
    container["resources"]["limits"]["memory"] = "256Mi"
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def client(node: Node, namespace: str) -> InCluster:
    return InCluster(node, namespace, pod="asker")


@contextmanager
def serving(node: Node) -> Iterator[Server]:
    """serve.py on the laptop's loopback, under the name `laptop`, by the Python that the router's tests have."""
    python = str(max(CHECKOUT.glob(".venv-router-3.*"), key=_version) / "bin/python")
    redis = shutil.which("redis-server")
    assert redis, "redis-server is not installed: `apt-get install redis-server` brings it (Debian)."
    words = [python, str(SERVE), "laptop", "127.0.0.1", *map(str, LAPTOP_PORTS)]
    there = [str(SCRIPT), "laptop"] if node.own else []
    with subprocess.Popen([*there, *words], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
            yield Server(process, LAPTOP_PORTS)
        finally:
            process.terminate()


def _version(venv: Path) -> int:
    return int(venv.name.rpartition(".")[2])
