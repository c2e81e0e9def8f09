"""The way between a laptop and its shadow pod: arrivals come here, streams go there, and a cut wire is mended."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from types import TracebackType
from typing import Any, TypeVar

from ktpy.errors import KtError, TunnelLost
from ktpy.net.answering import Answering, Arrival
from ktpy.net.counters import Counters, TunnelStats
from ktpy.net.handshake import USER
from ktpy.net.keys import SessionKeys
from ktpy.net.link import PATIENT, Dial, Link, Timeouts, connect
from ktpy.net.loops import keep_freed_memory, new_loop
from ktpy.net.mending import Mending, TunnelState
from ktpy.net.pump import OpenRefused
from ktpy.net.sending import USUAL, Limits

log = logging.getLogger(__name__)
T = TypeVar("T")


class Tunnel:
    """Resources: one thread with an event loop, and all sockets in it; leaving the block ends them.

    Errors: entering raises the KtError that kept it from coming up; later ones are states, given to ON_STATE in the
    tunnel's own thread. PULSE is a port of the pod at which this process itself answers, 0 for none. BIND is the
    address that the pod listens on; "" is every address (RFC 4254 §7.1).
    """

    def __init__(
        self,
        dial: Dial,
        keys: SessionKeys,
        arrivals: Sequence[Arrival],
        *,
        on_state: Callable[[TunnelState], None] = lambda _: None,
        on_refused: Callable[[Arrival, str], None] = lambda _, __: None,
        on_first: Callable[[], None] = lambda: None,
        pulse: int = 0,
        bind: str = "",
        user: str = USER,
        timeouts: Timeouts = PATIENT,
        limits: Limits = USUAL,
    ) -> None:
        self._dial, self._keys, self._arrivals = dial, keys, tuple(arrivals)
        self._on_state, self._on_refused = on_state, on_refused
        self._pulse, self._bind, self._user = pulse, bind, user
        self._timeouts, self._limits = timeouts, limits
        self._counters = Counters(on_first)
        self._ready: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._thread = threading.Thread(target=self._run, name="ktpy-tunnel", daemon=True)
        self._state = TunnelState("healing", time.monotonic(), "not connected yet")
        self._work: asyncio.Task[Any] | None = None
        self._is_ending = False

    def __enter__(self) -> Tunnel:
        self._loop = new_loop()
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

    def abandon(self) -> None:
        """Whoever waits for the tunnel to come up waits no longer: entering raises TunnelLost."""
        with contextlib.suppress(concurrent.futures.InvalidStateError):
            self._ready.set_exception(TunnelLost("nobody waits for the tunnel any more"))

    def kick(self) -> None:
        """Connect anew, now: the pod has been replaced. Also ends "gave up". At once `state` is "healing"."""
        self._state = TunnelState("healing", time.monotonic(), "asked to connect anew")
        self._call(lambda: self._mending.kick())

    def probe(self, pod_port: int, *, timeout: float = 5.0) -> float:
        """Seconds that a connection to POD_PORT in the pod takes to come back here. Errors: TunnelLost."""
        return self.submit(self._probe(pod_port, timeout)).result()

    def knock(self, host: str, port: int, *, timeout: float = 1.0) -> bool:
        """Whether HOST:PORT takes a connection from the pod. It is closed at once, and nothing is sent."""
        try:
            stream, _ = self.submit(self.connect(host, port, asyncio.Protocol, timeout=timeout)).result()
        except (KtError, OSError) as error:
            log.debug("knocking at %s:%d: %s", host, port, error)
            return False
        self._call(stream.abort)
        return True

    def start_over(self) -> None:
        """Count arrivals from here on; those so far were our own knocking."""
        self._call(self._counters.start_over)

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
                link = await self._mending.link()
                return await link.pump.open(host, port, protocol), protocol
        except TimeoutError:
            raise TunnelLost(f"no connection to {host}:{port} through the shadow pod within {timeout:.0f} s") from None

    # inside: the thread

    def _run(self) -> None:
        keep_freed_memory()
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            try:
                runner.run(self._main())
            except asyncio.CancelledError:
                log.debug("tunnel: ended")
            except BaseException as error:
                if self._ready.done():
                    self._tell(TunnelState("gave up", time.monotonic(), f"a bug in the tunnel: {error!r}"))
                    raise
                self._ready.set_exception(error)

    def _end(self) -> None:
        self._is_ending = True
        self._call(self._cancel)
        self._thread.join()

    def _cancel(self) -> None:
        if self._work is not None:
            self._work.cancel()

    def _call(self, what: Callable[[], object]) -> None:
        try:
            self._loop.call_soon_threadsafe(what)
        except RuntimeError:
            log.debug("the tunnel's loop has ended")

    async def _main(self) -> None:
        self._work = asyncio.current_task()
        self._answering = Answering(
            self._arrivals,
            self._counters,
            pulse=self._pulse,
            connect_timeout=self._timeouts.connect,
            on_refused=self._on_refused,
        )
        self._mending = Mending(
            self._connect_link,
            [*(arrival.pod_port for arrival in self._arrivals), *([self._pulse] if self._pulse else [])],
            bind=self._bind,
            timeouts=self._timeouts,
            on_state=self._tell,
            on_healed=self._counters.healed,
        )
        try:
            if not self._is_ending:
                await self._mending.begin()
                with contextlib.suppress(concurrent.futures.InvalidStateError):  # abandoned
                    self._ready.set_result(None)
                await self._mending.mend()
        finally:
            await self._mending.close()
            await self._answering.close()

    async def _connect_link(self, on_lost: Callable[[], None]) -> Link:
        return await connect(
            self._dial,
            self._keys,
            user=self._user,
            timeouts=self._timeouts,
            limits=self._limits,
            on_opening=self._answering.opening,
            on_lost=lambda _: on_lost(),
        )

    def _tell(self, state: TunnelState) -> None:
        self._state = state
        self._on_state(state)

    # inside: what was asked

    async def _probe(self, pod_port: int, timeout: float) -> float:
        try:
            async with asyncio.timeout(timeout):
                link = await self._mending.link()
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
