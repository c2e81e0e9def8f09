"""Looks whether something listens on a port of the laptop: connects, and hangs up."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable


def listens(host: str, port: int, timeout: float) -> bool:
    """Whether HOST:PORT takes a connection within TIMEOUT seconds."""
    try:
        with socket.create_connection((host, port), timeout):
            return True
    except OSError:
        return False


def wait_listens(host: str, port: int, timeout: float, *, wait: Callable[[float], bool], every: float = 0.1) -> bool:
    """listens(), asked again until it does, TIMEOUT passes, or WAIT(seconds) says that the run is to end."""
    end = time.monotonic() + timeout
    while not listens(host, port, min(1.0, timeout)):
        if time.monotonic() + every > end or wait(every):
            return False
    return True
