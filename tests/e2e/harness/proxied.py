"""Users whose API calls all pass a fault-injecting proxy of their own, which lives on the laptop's loopback."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from tests.e2e.harness.apiproxy import ApiProxy, api_proxies
from tests.e2e.harness.node import Node
from tests.e2e.harness.people import Person


class Proxied(NamedTuple):
    """PERSON's ktpy speaks to the API server through PROXY."""

    person: Person
    proxy: ApiProxy


@contextmanager
def proxied(person: Person, count: int = 1) -> Iterator[list[Proxied]]:
    """PERSON so many times, each behind a proxy of its own."""
    with (
        _laptop_network(person.node, person.uid) as network,
        api_proxies(person.kubeconfig, count, network=network) as proxies,
        tempfile.TemporaryDirectory(prefix="ktpy-e2e-proxied-") as folder,
    ):
        Path(folder).chmod(0o755)
        found = []
        for number, proxy in enumerate(proxies):
            config = proxy.kubeconfig(person.kubeconfig, Path(folder) / f"{number}")
            found.append(Proxied(replace(person, extra={**person.extra, "KUBECONFIG": str(config)}), proxy))
        yield found


@contextmanager
def _laptop_network(node: Node, uid: int) -> Iterator[int | None]:
    """A descriptor of the laptop's network namespace; None where the laptop is this machine."""
    if not node.own:
        yield None
        return
    words = node.laptop(["cat"], {"PATH": os.environ["PATH"]}, uid=uid)
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as there:
        assert there.stdin
        assert there.stdout
        there.stdin.write(b"\n")
        there.stdout.read(1)  # it has become cat, in its place
        network = os.open(f"/proc/{there.pid}/ns/net", os.O_RDONLY)
        try:
            yield network
        finally:
            os.close(network)
            there.stdin.close()
