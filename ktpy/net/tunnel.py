"""The way between a laptop and its shadow pod: arrivals come here, streams go there, and a cut wire is mended."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, TypeVar

from ktpy.errors import KtError, TunnelLost
from ktpy.net.answering import Answering, Arrival
from ktpy.net.backoff import Backoff
from ktpy.net.counters import Counters, TunnelStats
from ktpy.net.handshake import USER
from ktpy.net.keys import SessionKeys
from ktpy.net.link import PATIENT, Dial, Link, Timeouts, connect
from ktpy.net.listening import listen_all
from ktpy.net.pump import USUAL, Limits, OpenRefused

log = logging.getLogger(__name__)
T = TypeVar("T")


def _new_loop() -> asyncio.AbstractEventLoop:
    """uvloop moves twice the bytes, but is not built for every machine."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


@dataclass(frozen=True)
class TunnelState:
    """SINCE is monotonic; WHY says what broke, and stays empty while all is well."""

    kind: Literal["up", "healing", "gave up"]
    since: float
    why: str = ""


class Tunnel:
    """Resources: one thread with an event loop, and all sockets in it; leaving the block ends them.

    Errors: entering raises the KtError that kept it from coming up; later ones are states, given to ON_STATE in the
    tunnel's own thread. BIND is the address that the pod listens on; "" is every address (RFC 4254 §7.1).
    """

    def __init__(
        self,
        dial: Dial,
        keys: SessionKeys,
        arrivals: Sequence[Arrival],
        *,
        on_state: Callable[[TunnelState], None] = lambda _: None,
        on_refused: Callable[[Arrival, str], None] = lambda _, __: None,
        bind: str = "",
        user: str = USER,
        timeouts: Timeouts = PATIENT,
        limits: Limits = USUAL,
    ) -> None:
        self._dial, self._keys, self._arrivals = dial, keys, tuple(arrivals)
        self._on_state, self._on_refused = on_state, on_refused
        self._bind, self._user = bind, user
        self._timeouts, self._limits = timeouts, limits
        self._counters = Counters()
        self._ready: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._thread = threading.Thread(target=self._run, name="ktpy-tunnel", daemon=True)
        self._state = TunnelState("healing", time.monotonic(), "not connected yet")

    def __enter__(self) -> Tunnel:
        self._thread.start()
        try:
            self._ready.result()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    # what others ask, from any thread

    @property
    def state(self) -> TunnelState:
        return self._state

    def stats(self) -> TunnelStats:
        return self._counters.read()

    def kick(self) -> None:
        """Connect anew, now: the pod has been replaced. Also ends "gave up". At once `state` is "healing"."""
        self._state = TunnelState("healing", time.monotonic(), "asked to connect anew")
        self._call(self._kick_now)

    def probe(self, pod_port: int, *, timeout: float = 5.0) -> float:
        """Seconds that a connection to POD_PORT in the pod takes to come back here. Errors: TunnelLost."""
        return self.submit(self._probe(pod_port, timeout)).result()

    def drain(self, timeout: float) -> int:
        """Wait until no connection is open, at most TIMEOUT; how many still are."""
        return self.submit(self._drain(timeout)).result()

    def submit(self, work: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        """Run WORK in the tunnel's loop, where connect() may be awaited."""
        try:
            return asyncio.run_coroutine_threadsafe(work, self._loop)
        except RuntimeError:
            work.close()
            raise TunnelLost("the tunnel has ended") from None

    # what may be awaited in the tunnel's loop

    async def connect(
        self, host: str, port: int, protocol_factory: Callable[[], asyncio.Protocol], *, timeout: float = 10.0
    ) -> tuple[asyncio.Transport, asyncio.Protocol]:
        """A stream from the pod to HOST:PORT, names resolved in the cluster.

        Errors: OpenRefused with SSH's reason code; TunnelLost when the tunnel is down and stays so for TIMEOUT.
        """
        protocol = protocol_factory()
        try:
            async with asyncio.timeout(timeout):
                link = await self._linked()
                return await link.pump.open(host, port, protocol), protocol
        except TimeoutError:
            raise TunnelLost(f"no connection to {host}:{port} through the shadow pod within {timeout:.0f} s") from None

    # inside: the thread

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=_new_loop) as runner:
            self._loop = runner.get_loop()
            try:
                runner.run(self._main())
            except asyncio.CancelledError:
                log.debug("tunnel: ended")
            except BaseException as error:
                if self._ready.done():
                    self._tell("gave up", f"a bug in the tunnel: {error!r}")
                    raise
                self._ready.set_exception(error)

    def _end(self) -> None:
        self._call(lambda: self._work.cancel())
        self._thread.join()

    def _call(self, what: Callable[[], object]) -> None:
        try:
            self._loop.call_soon_threadsafe(what)
        except RuntimeError:
            log.debug("the tunnel's loop has ended")

    async def _main(self) -> None:
        current = asyncio.current_task()
        assert current is not None
        self._work: asyncio.Task[Any] = current
        self._kicked, self._lost = asyncio.Event(), asyncio.Event()
        self._up = asyncio.Event()
        self._link: Link | None = None
        self._answering = Answering(
            self._arrivals,
            self._counters,
            connect_timeout=self._timeouts.connect,
            on_refused=self._on_refused,
        )
        try:
            await self._establish()
            self._tell("up")
            self._ready.set_result(None)
            while True:
                await self._lost.wait()
                await self._heal()
        finally:
            await self._close()

    async def _close(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.pump.stop(TunnelLost("the tunnel was closed"), says="bye")
        await self._answering.close()
        if link is not None and not link.wire.ended.done():
            await asyncio.wait([link.wire.ended], timeout=1.0)
            link.wire.abort()

    # inside: the wire

    async def _establish(self) -> None:
        """A link with every arrival listening. Errors: KtError; nothing is left open then."""
        self._lost.clear()
        link = await connect(
            self._dial,
            self._keys,
            user=self._user,
            timeouts=self._timeouts,
            limits=self._limits,
            on_opening=self._answering.opening,
            on_lost=lambda _: self._lost.set(),
        )
        try:
            ports = [arrival.pod_port for arrival in self._arrivals]
            await listen_all(link.pump, self._bind, ports, timeout=self._timeouts.listen)
        except BaseException as error:
            link.pump.stop(TunnelLost(f"not listening: {error}"))
            raise
        self._link = link
        self._up.set()

    async def _heal(self) -> None:
        """Until the tunnel is up again, or enough is enough and nobody kicks."""
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
                self._counters.heals += 1
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

    def _kick_now(self) -> None:
        self._kicked.set()
        if self._link is not None:
            self._link.pump.stop(TunnelLost("the shadow pod was replaced"), says="the pod was replaced")

    def _tell(self, kind: Literal["up", "healing", "gave up"], why: str = "") -> None:
        self._state = TunnelState(kind, time.monotonic(), why)
        log.debug("tunnel: %s %s", kind, why)
        self._on_state(self._state)

    # inside: what was asked

    async def _linked(self) -> Link:
        await self._up.wait()
        assert self._link is not None
        return self._link

    async def _probe(self, pod_port: int, timeout: float) -> float:
        try:
            async with asyncio.timeout(timeout):
                link = await self._linked()
                return await self._answering.probe(link.pump, pod_port)
        except TimeoutError:
            raise TunnelLost(
                f"the probe of port {pod_port} in the shadow pod got no answer in {timeout:.1f} s"
            ) from None
        except OpenRefused as error:
            raise TunnelLost(f"the probe of port {pod_port} in the shadow pod was refused: {error}") from error

    async def _drain(self, timeout: float) -> int:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._answering.idle.wait(), timeout)
        return self._counters.open_now


__all__ = ["Arrival", "Dial", "Limits", "OpenRefused", "Timeouts", "Tunnel", "TunnelState", "TunnelStats"]
