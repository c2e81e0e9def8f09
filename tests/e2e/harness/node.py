"""The cluster under test and the laptop that reaches nothing but its API server."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e.harness.direct import Direct, proxied

SCRIPT = Path(__file__).resolve().parents[3] / "scripts" / "cluster"
NOT_UP = "The test cluster is not up. Try: scripts/cluster up && scripts/images, or scripts/test e2e which does both"


@dataclass(frozen=True)
class Node:
    """KUBECTL: the command line of an administrator. OWN: scripts/cluster, not the context of somebody's kubeconfig."""

    kubectl_words: tuple[str, ...]
    kubeconfig: str
    own: bool
    direct: Direct

    @classmethod
    @contextmanager
    def found(cls) -> Iterator[Node]:
        """By KTPY_TEST_CONTEXT, else the one of scripts/cluster."""
        words, kubeconfig, own = cls._found()
        with proxied(words) as direct:
            yield cls(words, kubeconfig, own, direct)

    @classmethod
    def _found(cls) -> tuple[tuple[str, ...], str, bool]:
        context = os.environ.get("KTPY_TEST_CONTEXT")
        if context:
            kubectl = shutil.which("kubectl")
            if kubectl is None:
                raise RuntimeError("KTPY_TEST_CONTEXT is set, but there is no kubectl.")
            return (kubectl, "--context", context), os.environ.get("KUBECONFIG", ""), False
        if subprocess.run([SCRIPT, "status"], capture_output=True).returncode:
            raise RuntimeError(NOT_UP)
        kubectl, kubeconfig = _line("path", "kubectl"), _line("kubeconfig")
        return (kubectl, "--kubeconfig", kubeconfig), kubeconfig, True

    def kubectl(self, *words: str, text: str | None = None, check: bool = True) -> str:
        """kubectl as administrator; TEXT on its stdin. Answers what it printed; raises with what it complained of."""
        done = subprocess.run([*self.kubectl_words, *words], input=text, capture_output=True, text=True)
        if check and done.returncode:
            raise KubectlFailed(f"kubectl {' '.join(words)}: {done.stderr.strip()}")
        return done.stdout

    def read(self, *words: str) -> Any:
        """kubectl's JSON."""
        return json.loads(self.kubectl(*words, "-o", "json"))

    def laptop(self, words: Sequence[str], environment: Mapping[str, str], *, uid: int) -> list[str]:
        """The command line that runs WORDS on the laptop as UID, without capabilities; it becomes WORDS by exec."""
        there = [str(SCRIPT), "laptop", "--uid", str(uid)] if self.own else _as_user(uid)
        return [*there, "env", "-i", *(f"{name}={value}" for name, value in environment.items()), *words]

    def laptop_network(self, *words: str) -> str:
        """A command's output as root in the laptop's network."""
        return subprocess.run([SCRIPT, "laptop", *words], capture_output=True, text=True, check=True).stdout

    def enter(self, *words: str) -> str:
        """A command's output inside the node, whose /proc shows every pod's processes."""
        return subprocess.run([SCRIPT, "enter", *words], capture_output=True, text=True, check=True).stdout

    def server(self) -> Mapping[str, Any]:
        """The cluster's entry of the kubeconfig, with its certificates in it."""
        raw = self.read("config", "view", "--raw", "--minify", "--flatten")
        entry: Mapping[str, Any] = raw["clusters"][0]["cluster"]
        return entry


class KubectlFailed(Exception):
    """What kubectl said."""


def _as_user(uid: int) -> list[str]:
    """Elsewhere the laptop is this machine; root steps down, anybody else stays."""
    if os.getuid() != 0:
        return []
    return ["setpriv", "--reuid", str(uid), "--regid", str(uid), "--clear-groups", "--bounding-set=-all"]


def _line(*words: str) -> str:
    return subprocess.run([SCRIPT, *words], capture_output=True, text=True, check=True).stdout.strip()
