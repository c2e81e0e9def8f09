"""The laptop's way to the API server, cut in two ways for the length of a block."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator
from urllib.parse import urlsplit

from tests.e2e.harness.node import SCRIPT
from tests.e2e.harness.space import Space


@contextlib.contextmanager
def silent_link(_: Space) -> Iterator[None]:
    """The laptop's way to the API server is gone."""
    subprocess.run([SCRIPT, "link", "down"], check=True)
    try:
        yield
    finally:
        subprocess.run([SCRIPT, "link", "up"], check=True)


@contextlib.contextmanager
def lossy_link(place: Space) -> Iterator[None]:
    """Nobody says that the link is gone: what the laptop sends goes to an address that no machine has."""
    network = place.node.laptop_network
    (way,) = json.loads(network("ip", "-j", "route", "get", server_address(place)))
    there = way.get("gateway", way["dst"])
    network("ip", "neigh", "replace", there, "lladdr", "02:00:00:00:00:99", "dev", way["dev"], "nud", "permanent")
    try:
        yield
    finally:
        network("ip", "neigh", "delete", there, "dev", way["dev"])


def server_address(place: Space) -> str:
    return str(urlsplit(place.node.server()["server"]).hostname)
