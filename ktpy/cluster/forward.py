"""A stream to a port of a pod, through the API server's port-forward: a WebSocket shaped like an asyncio transport."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable, Mapping
from typing import TypeVar
from urllib.parse import quote

from websockets.client import ClientProtocol
from websockets.typing import Subprotocol
from websockets.uri import WebSocketURI

from ktpy.cluster.endpoint import Endpoint
from ktpy.cluster.portstream import PING, PortStream
from ktpy.cluster.proxied import through_proxy
from ktpy.errors import Unreachable

P = TypeVar("P", bound=asyncio.Protocol)

SUBPROTOCOL = Subprotocol("v4.channel.k8s.io")
# websockets logs every header at DEBUG, and ours carry the user's token.
_no_tokens = logging.getLogger("ktpy.cluster.websocket")
_no_tokens.setLevel(logging.WARNING)


async def dial(
    endpoint: Endpoint,
    namespace: str,
    pod: str,
    port: int,
    protocol_factory: Callable[[], P],
    *,
    timeout: float,
    ping: float = PING,
) -> tuple[asyncio.Transport, P]:
    """The stream is up when the kubelet has named the port on both channels.

    Errors: NotFound (no such pod), Forbidden (rights or login), Unreachable (no API server), TunnelLost (the rest).
    A port that nobody listens on is told a moment later: connection_lost(TunnelLost).
    """
    where = f"pod/{pod} in {namespace}, port {port}"
    headers = await asyncio.get_running_loop().run_in_executor(None, endpoint.headers)
    protocol = protocol_factory()
    stream = PortStream(_upgrade(endpoint, namespace, pod, port, headers), protocol, where, ping=ping)
    try:
        async with asyncio.timeout(timeout):
            await _connect(endpoint, stream)
            await stream.ready
    except TimeoutError:
        raise Unreachable(f"port-forward to {where}: no answer from the API server within {timeout:.0f} s") from None
    except ssl.SSLCertVerificationError as error:
        raise Unreachable(f"the API server's certificate is not valid here: {error.verify_message}") from error
    except OSError as error:
        raise Unreachable(f"no connection to the API server {endpoint.host}:{endpoint.port}: {error}") from error
    finally:
        if not stream.is_up:
            stream.abort()
    return stream, protocol


def _upgrade(endpoint: Endpoint, namespace: str, pod: str, port: int, headers: Mapping[str, str]) -> ClientProtocol:
    """RFC 6455 §4.1: our side of the WebSocket, its request ready to be sent."""
    path = f"{endpoint.path.rstrip('/')}/api/v1/namespaces/{quote(namespace)}/pods/{quote(pod)}/portforward"
    uri = WebSocketURI(endpoint.tls is not None, endpoint.host, endpoint.port, path, f"ports={port}")
    socket = ClientProtocol(uri, subprotocols=[SUBPROTOCOL], max_size=None, logger=_no_tokens)
    request = socket.connect()
    for name, value in headers.items():
        request.headers[name] = value
    socket.send_request(request)
    return socket


async def _connect(endpoint: Endpoint, stream: PortStream) -> None:
    loop = asyncio.get_running_loop()
    if endpoint.proxy:
        await through_proxy(endpoint, stream.wire)
        return
    name = (endpoint.server_name or endpoint.host) if endpoint.tls else None
    await loop.create_connection(
        lambda: stream.wire, endpoint.host, endpoint.port, ssl=endpoint.tls, server_hostname=name
    )
