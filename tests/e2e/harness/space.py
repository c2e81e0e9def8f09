"""A namespace of one test or module: strict, with a shop in it, an in-cluster client, and users with the Role."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.e2e.harness import manifests, snapshot
from tests.e2e.harness.client import InCluster
from tests.e2e.harness.manifests import Manifest
from tests.e2e.harness.node import Node
from tests.e2e.harness.people import Person, moved_in
from tests.e2e.harness.until import until
from tests.e2e.harness.wheel import CHECKOUT

# How long the node may take to remove a pod that ktpy has deleted. Not ours to speed up: 1 to 4 s on a quiet machine,
# more where tests keep its cores busy. With KTPY_TEST_PATIENCE=5 the suite is strict.
PATIENCE_SECONDS = float(os.environ.get("KTPY_TEST_PATIENCE", "15"))


@dataclass
class Space:
    """NAME is the namespace's; FOLDER holds the users' homes."""

    node: Node
    venv: Path
    name: str
    folder: Path
    _people: dict[str, Person] = field(default_factory=dict)

    # as its owner

    def kubectl(self, *words: str, text: str | None = None, check: bool = True) -> str:
        return self.node.kubectl("-n", self.name, *words, text=text, check=check)

    def read(self, *words: str) -> Any:
        return self.node.read("-n", self.name, *words)

    def apply(self, *things: Manifest, words: Sequence[str] = ()) -> None:
        """As an owner does: kubectl's client-side apply, unless WORDS say otherwise."""
        self.kubectl("apply", *words, "-f", "-", text=_list(things))

    def deploy(self, *things: Manifest) -> None:
        """Apply, and wait until every Deployment among THINGS is all there, and in its Service's endpoints."""
        self.apply(*things)
        for thing in things:
            if thing["kind"] == "Deployment":
                self.kubectl("rollout", "status", f"deployment/{thing['metadata']['name']}", "--timeout=60s")

    def service(self, name: str = "shop") -> Any:
        return self.read("get", "service", name)

    # before and after

    def snapshot(self) -> snapshot.Snapshot:
        """The namespace as it is once no pod of an earlier session is still being stopped."""
        return until(self._calm_snapshot, f"no pod of {self.name} is being deleted", seconds=PATIENCE_SECONDS)

    def _calm_snapshot(self) -> snapshot.Snapshot | None:
        found = snapshot.taken(self.node, self.name)
        moving = any("being deleted" in thing or snapshot.goes_with_pods(thing) for thing in found.values())
        return None if moving else found

    def wait_same(
        self, before: snapshot.Snapshot, *, seconds: float = 5.0,
        of: Callable[[snapshot.Snapshot], snapshot.Snapshot] = lambda all_: all_,
    ) -> float:  # fmt: skip
        """Until all is as BEFORE, or that part OF it; the seconds it took. Raises AssertionError with the difference.

        Only the end of pods that are deleted already may take PATIENCE_SECONDS.
        """
        started = time.monotonic()
        before = of(before)
        while different := snapshot.difference(before, after := of(snapshot.taken(self.node, self.name))):
            took = time.monotonic() - started
            if took > seconds and not (took < PATIENCE_SECONDS and snapshot.is_only_ending(before, after)):
                raise AssertionError(f"namespace {self.name} differs after {took:.1f} s:\n{different}")
            time.sleep(0.1)
        return time.monotonic() - started

    # who is in it

    def client(self) -> InCluster:
        """The client pod."""
        return InCluster(self.node, self.name)

    def person(self, name: str) -> Person:
        """A user whose only rights are the published Role."""
        if name not in self._people:
            config = self.kubeconfig_of(name)
            self._people[name] = moved_in(name, self.node, self.venv, self.folder, config)
        return self._people[name]

    def newcomer(self, name: str, account: str, role: Manifest) -> Person:
        """NAME on the laptop with an ACCOUNT that has just ROLE, and a home of its own."""
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        folder.chmod(0o755)
        return moved_in(name, self.node, self.venv, folder, self.kubeconfig_of(account, role))

    def kubeconfig_of(self, name: str, role: Manifest | None = None) -> str:
        """A new ServiceAccount NAME with ROLE (default: the published one) and its kubeconfig."""
        self.apply(*_rights(name, self.name, role or published_role(self.name)))
        token = self.kubectl("create", "token", name, "--duration=3h").strip()
        context = {"cluster": "test", "user": name, "namespace": self.name}
        return json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "test", "cluster": dict(self.node.server())}],
                "users": [{"name": name, "user": {"token": token}}],
                "contexts": [{"name": "test", "context": context}],
                "current-context": "test",
            }
        )


def published_role(namespace: str) -> Manifest:
    """The Role as README prints it; until README has one, as `doctor --print-role` does."""
    readme = CHECKOUT / "README.md"
    for block in re.findall(r"^```ya?ml\n(.*?)^```", readme.read_text() if readme.exists() else "", re.M | re.S):
        for thing in yaml.safe_load_all(block):
            if isinstance(thing, dict) and thing.get("kind") == "Role":
                return {**thing, "metadata": {**thing["metadata"], "namespace": namespace}}
    from ktpy.model.rights import role_text

    role: Manifest = yaml.safe_load(role_text(namespace))
    return role


def _rights(name: str, namespace: str, role: Manifest) -> tuple[Manifest, ...]:
    group = "rbac.authorization.k8s.io"
    role = {
        "apiVersion": f"{group}/v1",
        "kind": "Role",
        "metadata": {"name": f"ktpy-{name}", "namespace": namespace},
        "rules": role["rules"],
    }
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": namespace}}
    binding = {
        "apiVersion": f"{group}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": f"ktpy-{name}", "namespace": namespace},
        "roleRef": {"apiGroup": group, "kind": "Role", "name": f"ktpy-{name}"},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
    }
    return account, role, binding


def _list(things: Sequence[Manifest]) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(things)})


@contextmanager
def opened(node: Node, venv: Path, *things: Manifest, client: bool = True) -> Iterator[Space]:
    """A fresh namespace with THINGS and a client pod, all ready. Resources: it is deleted, without waiting for it."""
    name = f"e2e-{secrets.token_hex(3)}"
    folder = Path(tempfile.mkdtemp(prefix="ktpy-e2e-homes-"))
    folder.chmod(0o755)
    try:
        node.kubectl("apply", "-f", "-", text=_list(manifests.namespace(name)))
        space = Space(node, venv, name, folder)
        if client:
            space.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "client"},
                         "spec": manifests.pod_spec("infinity", command=["sleep"])})  # fmt: skip
        space.deploy(*things)
        if client:
            space.kubectl("wait", "pod/client", "--for=condition=Ready", "--timeout=60s")
        space.person("ana"), space.person("bob")  # so that their accounts are there before any snapshot
        yield space
    finally:
        subprocess.run([*node.kubectl_words, "delete", "namespace", name, "--wait=false"], capture_output=True)
        if not os.environ.get("KTPY_TEST_KEEP"):  # the homes, with the log of every run
            shutil.rmtree(folder, ignore_errors=True)
