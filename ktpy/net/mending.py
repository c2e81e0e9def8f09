"""Keeps one link to the pod with every port listening: makes it, notices its loss, makes it again, or gives up."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ktpy.errors import KtError, TunnelLost
from ktpy.net.backoff import Backoff
from ktpy.net.link import Link, Timeouts
from ktpy.net.listening import listen_all

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TunnelState:
    """SINCE is monotonic; WHY says what broke, and stays empty while all is well."""

    kind: Literal["up", "healing", "gave up"]
    since: float
    why: str = ""


class Mending:
    """Lives in the tunnel's loop. CONNECT makes a link and calls its argument when that link is lost.

    Resources: close(). ON_STATE is called at each change.
    """

    def __init__(
        self,
        connect: Callable[[Callable[[], None]], Coroutine[Any, Any, Link]],
        ports: Sequence[int],
        *,
        bind: str,
        timeouts: Timeouts,
        on_state: Callable[[TunnelState], None],
        on_healed: Callable[[], None],
    ) -> None:
        self._connect = connect
        self._ports, self._bind, self._timeouts = ports, bind, timeouts
        self._on_state, self._on_healed = on_state, on_healed
        self._loop = asyncio.get_running_loop()
        self._kicked, self._lost, self._up = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._link: Link | None = None

    async def begin(self) -> None:
        """The first link. Errors: KtError.

        A pod counts as running a moment before its sshd listens; the port-forward tells that in words only.
        """
        backoff = Backoff(self._loop.time(), give_up=self._timeouts.listen)
        while True:
            try:
                await self._establish()
                self._tell("up")
                return
            except TunnelLost as error:
                pause = backoff.after_failure(self._loop.time())
                if pause is None or "connection refused" not in error.what:
                    raise
                await asyncio.sleep(pause)

    async def mend(self) -> None:
        """For ever: wait until the link is lost, and make another."""
        while True:
            await self._lost.wait()
            await self._heal()

    async def link(self) -> Link:
        """The link, when it is up."""
        await self._up.wait()
        assert self._link is not None
        return self._link

    def kick(self) -> None:
        self._kicked.set()
        if self._link is not None:
            self._link.pump.stop(TunnelLost("the shadow pod was replaced"), says="the pod was replaced")

    async def close(self) -> None:
        """Say goodbye, and wait a moment until it is said."""
        link, self._link = self._link, None
        if link is None:
            return
        link.pump.stop(TunnelLost("the tunnel was closed"), says="bye")
        if not link.wire.ended.done():
            await asyncio.wait([link.wire.ended], timeout=1.0)
            link.wire.abort()

    async def _establish(self) -> None:
        """A link with every port listening. Errors: KtError; nothing is left open then."""
        self._lost.clear()
        link = await self._connect(self._lost.set)
        try:
            await listen_all(link.pump, self._bind, self._ports, timeout=self._timeouts.listen)
        except BaseException as error:
            link.pump.stop(TunnelLost(f"not listening: {error}"))
            raise
        self._link = link
        self._up.set()

    async def _heal(self) -> None:
        """Until the tunnel is up again; when enough is enough, a kick is waited for."""
        self._up.clear()
        link, self._link = self._link, None
        why = str(link.pump.why) if link is not None else ""
        self._tell("healing", why)
        backoff = self._backoff()
        while True:
            self._kicked.clear()
            try:
                if await self._until_kicked(self._establish()):
                    backoff = self._backoff()
                    continue
            except KtError as error:
                pause = backoff.after_failure(self._loop.time())
                if pause is None:
                    self._tell("gave up", error.what)
                elif error.what != why:
                    why = error.what
                    self._tell("healing", why)
                if await self._pause(pause):
                    backoff = self._backoff()
                    self._tell("healing", why)
            else:
                self._on_healed()
                self._tell("up")
                return

    async def _until_kicked(self, work: Coroutine[Any, Any, None]) -> bool:
        """Do WORK; true if a kick came first, and WORK was given up."""
        doing = asyncio.ensure_future(work)
        kick = asyncio.ensure_future(self._kicked.wait())
        try:
            await asyncio.wait([doing, kick], return_when=asyncio.FIRST_COMPLETED)
            if doing.done():
                doing.result()
                return False
            return True
        finally:
            kick.cancel()
            if not doing.done():
                doing.cancel()
                await asyncio.wait([doing])

    async def _pause(self, seconds: float | None) -> bool:
        """True if a kick ended it."""
        try:
            await asyncio.wait_for(self._kicked.wait(), seconds)
        except TimeoutError:
            return False
        return True

    def _backoff(self) -> Backoff:
        return Backoff(self._loop.time(), give_up=self._timeouts.give_up)

    def _tell(self, kind: Literal["up", "healing", "gave up"], why: str = "") -> None:
        log.debug("tunnel: %s %s", kind, why)
        self._on_state(TunnelState(kind, time.monotonic(), why))
