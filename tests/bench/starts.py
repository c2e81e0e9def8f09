"""How long a start and an end take: seconds from Enter and from Ctrl-C, beside a bare pod's."""

from __future__ import annotations

import json
import signal
import subprocess
import time

from tests.e2e.harness import manifests
from tests.e2e.harness.people import Person
from tests.e2e.harness.space import Space


def bare_pod_seconds(space: Space, number: int) -> float:
    """From the create to Ready of a pod of the shadow's size, as `kubectl` sees it by a watch."""
    name = f"bare-{number}"
    spec = manifests.pod_spec("infinity", command=["sleep"])
    for container in spec["containers"]:
        container.pop("readinessProbe", None)
    thing = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"bench": name}}, "spec": spec}
    watch = subprocess.Popen(
        [*space.node.kubectl_words, "-n", space.name, "get", "pods", "-l", f"bench={name}", "--watch",
         "-o", "jsonpath={.status.conditions[?(@.type==\"Ready\")].status}{\"\\n\"}"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        applied = subprocess.Popen(
            [*space.node.kubectl_words, "-n", space.name, "create", "-f", "-"], stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        started = time.monotonic()
        applied.communicate(json.dumps(thing))
        created = time.monotonic()
        assert watch.stdout
        while (line := watch.stdout.readline()).strip() != "True":
            assert line, "kubectl get --watch has ended"
        ready = time.monotonic()
        assert created >= started
        return ready - created
    finally:
        watch.kill()
        watch.wait()
        space.kubectl("delete", "pod", name, "--grace-period=0", "--force", "--wait=false")


def exchange_round(space: Space, person: Person, port: int, mode: str) -> tuple[float, float, float]:
    """Enter to ready, Ctrl-C to the original answering again (seen from a pod), Ctrl-C to prompt; seconds."""
    with person.start("exchange", "shop", "--mode", mode, "--expose", str(port)) as process:
        ready = process.wait_ready()["at"] - process.exec_at
        with space.client().loading("http://shop/", "--rate", "100", "--until-told", "--each") as load:
            # kube-proxy writes its rules once a second at most: 1.5 s after the switch it is free again, as it would be
            # for a person.
            load.wait_line("laptop@", count=150)
            seen = len(load.lines)
            asked_wall, asked = time.time(), time.monotonic()
            process.signal(signal.SIGINT)
            load.wait_line("shop@", after=seen)
            back = next(float(line.split()[0]) for line in load.lines[seen:] if "shop@" in line) - asked_wall
            code = process.wait()
            prompt = time.monotonic() - asked
            assert code == 0, process.said()
            load.stop()
    return ready, max(0.0, back), prompt
