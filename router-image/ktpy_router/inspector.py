"""The inspector's process: mitmweb as a SOCKS5 proxy on loopback, for the rows that ask to be looked at.

It is the only place where requests pass mitmproxy's HTTP layer: there they can be looked at, saved and replayed, on a
web page that asks for a token. That layer knows no trailers and no 1xx answers, so inspecting is a row's choice.
Bodies above 1 MiB, event streams and gRPC pass as they come and are not kept; nor is more than the last few hundred
flows. It is a process of its own so that its work, a hundred times that of a relayed request, delays nobody else.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections import OrderedDict
from pathlib import Path
from typing import Any

from mitmproxy import flow, http, options, tcp
from mitmproxy.proxy import layer, layers, server_hooks
from mitmproxy.proxy.layers.http import HTTPMode
from mitmproxy.tools import cmdline
from mitmproxy.tools.main import run as run_master

from ktpy_router.settings import Settings

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"  # RFC 9113 section 3.4
STREAMED = "1m"
MOST_MESSAGES = 1000  # of one WebSocket or raw connection
AS_THEY_COME = ("text/event-stream", "application/grpc")


def run(settings: Settings) -> int:
    """Until SIGTERM."""
    from mitmproxy.tools.web.master import WebMaster  # a tenth of a second that the workers need not wait

    class Master(WebMaster):
        """mitmweb's own, with our addons."""

        def __init__(self, opts: options.Options) -> None:
            super().__init__(opts)
            keep = Keep(self.view.remove, settings.inspect_flows, settings.inspect_bytes)
            self.addons.add(PriorKnowledge(), AsTheyCome(), keep)

    with contextlib.suppress(KeyboardInterrupt):
        run_master(Master, cmdline.mitmweb, arguments(settings, token(settings.token)))
    return 0


def arguments(settings: Settings, password: str) -> list[str]:
    """The words of mitmweb's command line."""
    sets = {
        "termlog_verbosity": "error",
        "confdir": str(settings.run_dir / "mitmproxy-inspect"),
        "command_history": "false",
        "stream_large_bodies": STREAMED,
        "web_host": "127.0.0.1",
        "web_port": str(settings.inspect_web_port),
        "web_open_browser": "false",
        "web_password": password,  # 11.0.2 has none: unknown options of --set are kept for later and do no harm
    }
    words = [word for name, value in sets.items() for word in ("--set", f"{name}={value}")]
    return [*words, "--mode", f"socks5@127.0.0.1:{settings.inspect_port}"]


def token(path: Path) -> str:
    """The web page's password: the file's, which is made when it is not there."""
    with contextlib.suppress(FileNotFoundError):
        return path.read_text().strip()
    made = secrets.token_urlsafe(24)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(made + "\n")
    return made


def is_h2(client: bytes, server: bytes) -> bool:
    """Whether these first bytes are HTTP/2: the client's preface, or before it the server's SETTINGS, which may be
    sent at once (RFC 9113 section 3.4; the frame's type 4, no flags, stream 0: section 4.1)."""
    return client.startswith(PREFACE) or (not client and server[3:9] == b"\x04\x00\x00\x00\x00\x00")


class PriorKnowledge:
    """HTTP/2 without TLS, which mitmproxy would refuse: told by the first bytes, and spoken to the upstream too."""

    def next_layer(self, nextlayer: layer.NextLayer) -> None:
        if is_h2(nextlayer.data_client(), nextlayer.data_server()):
            nextlayer.context.client.alpn = nextlayer.context.server.alpn = b"h2"
            nextlayer.layer = layers.HttpLayer(nextlayer.context, HTTPMode.transparent)

    def server_connected(self, data: server_hooks.ServerConnectionHookData) -> None:
        if data.client.alpn == b"h2" and not data.server.tls:
            data.server.alpn = b"h2"


class AsTheyCome:
    """Streams of events or messages: held back until their end, they would be of no use."""

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        if flow.request.headers.get("content-type", "").startswith(AS_THEY_COME):
            flow.request.stream = True

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        if flow.response and flow.response.headers.get("content-type", "").startswith(AS_THEY_COME):
            flow.response.stream = True


class Keep:
    """Forgets the oldest flows above a number and a sum of bytes. One that still runs is never touched."""

    def __init__(self, remove: Any, most: int, most_bytes: int) -> None:
        self._remove = remove
        self._most = most
        self._most_bytes = most_bytes
        self._bytes = 0
        self._finished: OrderedDict[str, tuple[flow.Flow, int]] = OrderedDict()

    def response(self, flow: http.HTTPFlow) -> None:
        if not flow.websocket and not (flow.response and flow.response.status_code == 101):
            self._add(flow, _size(flow))

    def error(self, flow: http.HTTPFlow) -> None:
        self._add(flow, _size(flow))

    def websocket_message(self, flow: http.HTTPFlow) -> None:
        if flow.websocket:
            del flow.websocket.messages[:-MOST_MESSAGES]

    def websocket_end(self, flow: http.HTTPFlow) -> None:
        kept = flow.websocket.messages if flow.websocket else []
        self._add(flow, _size(flow) + sum(len(message.content) for message in kept))

    def tcp_message(self, flow: tcp.TCPFlow) -> None:
        del flow.messages[:-MOST_MESSAGES]

    def tcp_end(self, flow: tcp.TCPFlow) -> None:
        self._add(flow, sum(len(message.content) for message in flow.messages))

    tcp_error = tcp_end

    def _add(self, one: flow.Flow, size: int) -> None:
        if one.id in self._finished:  # an error after the answer
            self._bytes -= self._finished.pop(one.id)[1]
        self._finished[one.id] = (one, size)
        self._bytes += size
        while len(self._finished) > self._most or (self._bytes > self._most_bytes and self._finished):
            _, (oldest, freed) = self._finished.popitem(last=False)
            self._bytes -= freed
            self._remove([oldest])


def _size(one: http.HTTPFlow) -> int:
    bodies = [one.request.raw_content, one.response.raw_content if one.response else None]
    return sum(len(body) for body in bodies if body) + 2048  # heads and what mitmproxy notes beside them
