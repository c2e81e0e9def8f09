"""Where the API server is and how to be let in, as plain values that both HTTP and WebSocket callers use."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Endpoint:
    """HOST:PORT plus PATH prefix; TLS is None for plain http. HEADERS() gives fresh credentials at each call."""

    host: str
    port: int
    path: str
    tls: ssl.SSLContext | None
    server_name: str | None
    headers: Callable[[], Mapping[str, str]]
    proxy: str | None = None
