"""Looks whether something listens on a port of the laptop: connects, and hangs up."""

from __future__ import annotations

import socket


def listens(host: str, port: int, timeout: float) -> bool:
    """Whether HOST:PORT takes a connection within TIMEOUT seconds."""
    try:
        with socket.create_connection((host, port), timeout):
            return True
    except OSError:
        return False
