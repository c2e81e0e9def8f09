"""The same cluster twice: in memory, and the real API server that KTPY_TEST_KUBECONFIG or scripts/cluster gives."""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from ktpy.cluster.endpoint import Endpoint
from ktpy.cluster.gateway import Cluster
from ktpy.cluster.http import JSON_PATCH, Answer, Api, HttpApi
from ktpy.cluster.login import login
from ktpy.model.ref import Object, Ref, collection, path
from ktpy.stop import Stop
from tests.fakes.api import NAMESPACE, FakeApi
from tests.fakes.wire import Wire

SCRIPT = Path(__file__).parents[2] / "scripts" / "cluster"
TIMEOUT = 20.0


@dataclass(frozen=True)
class World:
    """CLUSTER is ktpy's gateway, API the same server for everybody else, NOBODY a user without rights."""

    cluster: Cluster
    api: Api
    nobody: Cluster
    is_real: bool

    def ref(self, kind: str, name: str) -> Ref:
        return self.cluster.ref(kind, name)

    def put(self, thing: Object, *, manager: str = "kubectl") -> Object:
        """Create THING as its owner would."""
        where = collection(thing["kind"], self.cluster.namespace)
        return _body(self.api.call("POST", where, {"fieldManager": manager}, thing))

    def edit(self, ref: Ref, *operations: Object, manager: str = "kubectl") -> Object:
        """A JSON patch by somebody else."""
        return _body(self.api.call("PATCH", path(ref), {"fieldManager": manager}, list(operations), content=JSON_PATCH))

    def remove(self, ref: Ref, *, policy: str = "Background") -> None:
        _body(self.api.call("DELETE", path(ref), {}, {"propagationPolicy": policy}))

    def soon(self, fact: Callable[[], Any]) -> bool:
        """The real server's controllers take a moment; the fake's have none."""
        for _ in range(200 if self.is_real else 1):
            if fact():
                return True
            Stop().wait(0.05)
        return False


def _body(answer: Answer) -> Object:
    assert answer.status < 300, answer.body
    body: Object = answer.body
    return body


def _kubeconfig() -> str | None:
    """Of the real API server. Fails, and never skips: a suite that does not run proves nothing."""
    given = os.environ.get("KTPY_TEST_KUBECONFIG")
    if given or os.environ.get("KTPY_TEST_CONTEXT"):  # the user's own cluster; None is his usual kubeconfig
        return given
    if subprocess.run([str(SCRIPT), "status"], capture_output=True, timeout=60).returncode != 0:
        pytest.fail(
            "No real API server: `scripts/cluster up` starts one, KTPY_TEST_KUBECONFIG or _CONTEXT name another, "
            'and `-m "not real"` leaves these tests out.',
            pytrace=False,
        )
    found = subprocess.run([str(SCRIPT), "kubeconfig"], capture_output=True, text=True, timeout=60, check=True)
    return found.stdout.strip()


@pytest.fixture(scope="session")
def endpoint() -> Endpoint:
    return login(_kubeconfig(), os.environ.get("KTPY_TEST_CONTEXT")).endpoint


def _fake() -> World:
    api = FakeApi()
    nobody = Wire(api)
    nobody.rights = set()
    return World(Cluster(api, NAMESPACE), api, Cluster(nobody, NAMESPACE), False)


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.real)])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    """An empty namespace, thrown away afterwards."""
    if request.param == "fake":
        yield _fake()
        return
    endpoint: Endpoint = request.getfixturevalue("endpoint")
    api = HttpApi(endpoint, timeout=TIMEOUT)
    name = f"ktpy-test-{secrets.token_hex(4)}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
    _body(api.call("POST", collection("Namespace", None), {}, space))
    nobody = replace(endpoint, headers=lambda: {**endpoint.headers(), "Impersonate-User": "ktpy-test-nobody"})
    world = World(Cluster(api, name), api, Cluster(HttpApi(nobody, timeout=TIMEOUT), name), True)
    account = f"/api/v1/namespaces/{name}/serviceaccounts/default"
    try:
        assert world.soon(lambda: api.call("GET", account, {}).status == 200), "no default service account"
        yield world
    finally:
        api.call("DELETE", path(Ref("Namespace", name, "")), {}, {"propagationPolicy": "Background"})
