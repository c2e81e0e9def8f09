"""mitmproxy's server mode `router`: it owns a listening port, and hands each connection to this package's protocols.

The connections pass mitmproxy's server mode, options, addons, logging and life cycle, and nothing else of mitmproxy:
its HTTP layer, some ninety times slower than a web server's, serves the rows that ask for it (see inspect.py).
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any, ClassVar, Protocol

from mitmproxy.proxy import layer, mode_servers, mode_specs
from mitmproxy.proxy.context import Context


class Listening(Protocol):
    """What mitmproxy asks of a server."""

    @property
    def sockets(self) -> Sequence[socket.socket]:
        """None when it is closed."""

    def close(self) -> None:
        """Accept no more."""


class Host(Protocol):
    """What serves the ports; see life.py."""

    async def listen(self, port: int) -> Listening:
        """Accept on a port that was bound before."""


class RouterMode(mode_specs.ProxyMode):
    """`router@PORT`. mitmproxy knows it by this class' name, from its definition on."""

    description = "ktpy's router"
    transport_protocol = mode_specs.TCP

    def __post_init__(self) -> None:
        if self.data:
            raise ValueError("mode takes no arguments")


class RouterInstance(mode_servers.AsyncioServerInstance[RouterMode]):
    """One listening port. mitmproxy makes it from the mode's text alone, so its HOST has to be left at the class."""

    host: ClassVar[Host]

    async def listen(self, host: str, port: int) -> list[Any]:
        """In place of binding: the sockets are PID 1's, and shared by all workers."""
        return [await self.host.listen(port)]

    def make_top_layer(self, context: Context) -> layer.Layer:
        """mitmproxy's own connections never come here."""
        raise NotImplementedError
