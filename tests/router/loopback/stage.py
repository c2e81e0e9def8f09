"""A router between a client and two HTTP/1 origins, and scenarios that are run for a row's requests and the others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvloop

from ktpy_router.config import Config
from tests.router.loopback.image import IN_IMAGE
from tests.router.loopback.origins import Client, Web, request
from tests.router.loopback.rawkit import Router, marked, origin, router

MARK = "version: ana"
LOOPS = {"uvloop": uvloop.new_event_loop} | ({} if IN_IMAGE else {"asyncio": asyncio.new_event_loop})


class Stage:
    """A router between a client and two origins."""

    def __init__(self, router: Router, original: Web, mine: Web, lines: tuple[str, ...]) -> None:
        self.router = router
        self.original = original
        self.mine = mine
        self.lines = lines
        self.web = mine if lines else original
        self.clients: list[Client] = []

    async def client(self) -> Client:
        self.clients.append(await Client.to(self.router.port))
        return self.clients[-1]

    def request(self, path: str, *lines: str, method: str = "GET", body: bytes = b"") -> bytes:
        return request(path, *self.lines, *lines, method=method, body=body)

    async def get(self, client: Client, path: str, *lines: str, method: str = "GET") -> tuple[bytes, bytes]:
        return await client.get(path, *self.lines, *lines, method=method)

    def counted(self) -> dict[str, int]:
        """Of the row, or of what no row takes: where this scenario's requests go."""
        return self.router.counted("m" if self.lines else "")

    async def is_fine(self, client: Client) -> None:
        """The connection can be used for another request."""
        assert (await self.get(client, "/fine"))[1] == f"{self.web.name} GET /fine 0".encode()


@asynccontextmanager
async def stage(*lines: str, config: Config | None = None, **more: Any) -> AsyncIterator[Stage]:
    original, mine = Web("original"), Web("mine")
    async with (
        origin(original) as one,
        origin(mine) as two,
        router(one.address, {**marked(two.address), **more}, config=config) as r,
    ):
        made = Stage(r, original, mine, lines)
        try:
            yield made
        finally:
            original.go.set()
            mine.go.set()
            for client in made.clients:
                client.writer.transport.abort()


Scenario = Callable[[Stage], Awaitable[None]]


def on_both_sides(scenario: Scenario) -> Callable[..., None]:
    """Run for marked and unmarked requests, on the loop that the router has and on Python's own; the image has its."""

    @pytest.mark.parametrize("loop", LOOPS.values(), ids=LOOPS)
    @pytest.mark.parametrize("lines", [(), (MARK,)], ids=["unmarked", "marked"])
    def test(lines: tuple[str, ...], loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
        async def main() -> None:
            async with asyncio.timeout(20), stage(*lines) as s:
                await scenario(s)

        run(main(), loop)

    test.__doc__ = scenario.__doc__
    return test


def run(main: Coroutine[Any, Any, None], loop: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop) -> None:
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(main)
