"""One wire to the pod: dials, logs in, and gives the open session to a pump. When it breaks, another one is made."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from ktpy.errors import TunnelLost
from ktpy.net.handshake import USER, Handshake, Session
from ktpy.net.keys import SessionKeys
from ktpy.net.pump import Opening, Pump
from ktpy.net.sending import Limits

Dial = Callable[[Callable[[], asyncio.Protocol]], Awaitable[tuple[asyncio.BaseTransport, asyncio.BaseProtocol]]]

# How much may wait in the wire's own buffer before the laptop's sockets are paused.
WIRE_HIGH_WATER = 1024 * 1024


@dataclass(frozen=True)
class Timeouts:
    """Seconds. LISTEN is how long a refused port is asked for again; GIVE_UP counts only time that was awake."""

    dial: float = 10.0
    login: float = 15.0
    listen: float = 10.0
    connect: float = 10.0
    give_up: float = 300.0


PATIENT = Timeouts()


@dataclass(frozen=True)
class Link:
    """Resources: pump.stop() ends it; wire.ended tells when the socket is closed."""

    pump: Pump
    wire: Wire


class Wire(asyncio.Protocol):
    """The bytes of one connection: first the log-in's, then the pump's."""

    def __init__(self) -> None:
        self.sink: Handshake | Pump | None = None
        self.transport: asyncio.Transport | None = None
        self.ended: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        self._early = bytearray()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport
        transport.set_write_buffer_limits(high=WIRE_HIGH_WATER)

    def abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    def give_to(self, sink: Handshake) -> None:
        """What came already, the wire's end included, comes to SINK now."""
        self.sink = sink
        early, self._early = self._early, bytearray()
        if early:
            sink.feed(early)
        if self.ended.done():
            sink.lost(self.ended.result() or _hung_up())

    def data_received(self, data: bytes | bytearray | memoryview) -> None:
        if isinstance(self.sink, Pump):
            self.sink.data_received(data)
        elif self.sink is not None:
            self.sink.feed(data)
        else:
            self._early += data

    def pause_writing(self) -> None:
        if isinstance(self.sink, Pump):
            self.sink.pause_writing()

    def resume_writing(self) -> None:
        if isinstance(self.sink, Pump):
            self.sink.resume_writing()

    def connection_lost(self, why: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_result(why)
        if isinstance(self.sink, Pump):
            self.sink.stop(lost(why))
        elif self.sink is not None:
            self.sink.lost(why or _hung_up())


def _hung_up() -> ConnectionResetError:
    return ConnectionResetError("closed by the other side")


def lost(why: Exception | None) -> TunnelLost:
    if isinstance(why, TunnelLost):
        return why
    return TunnelLost(f"the wire to the shadow pod was cut: {why or _hung_up()}")


async def connect(
    dial: Dial,
    keys: SessionKeys,
    *,
    user: str = USER,
    timeouts: Timeouts,
    limits: Limits,
    on_opening: Callable[[Pump, Opening], None],
    on_lost: Callable[[TunnelLost], None],
) -> Link:
    """A pump over a fresh wire. Errors: KtError, as DIAL or the log-in gave it; nothing is left open then."""
    wire = await dialled(dial, timeouts.dial)
    transport = wire.transport
    assert transport is not None
    handshake = Handshake(keys, _sender(transport), user=user, timeout=timeouts.login)
    try:
        session = await _log_in(wire, handshake, timeouts.login)
        if wire.ended.done():
            raise lost(wire.ended.result())
    except BaseException:
        transport.abort()
        raise
    pump = Pump(transport, session, on_opening=on_opening, on_lost=on_lost, limits=limits)
    # No await between these two: what came behind the log-in is seen by the pump, once and in order.
    wire.sink = pump
    pump.data_received(handshake.rest())
    return Link(pump, wire)


async def dialled(dial: Dial, timeout: float) -> Wire:
    """Errors: KtError from the dial itself; what the network says becomes TunnelLost."""
    try:
        async with asyncio.timeout(timeout):
            _, wire = await dial(Wire)
    except TimeoutError:
        raise TunnelLost(f"no connection to the shadow pod within {timeout:.0f} s") from None
    except OSError as error:
        raise TunnelLost(f"no connection to the shadow pod: {error.strerror or error}") from error
    assert isinstance(wire, Wire)
    return wire


async def _log_in(wire: Wire, handshake: Handshake, timeout: float) -> Session:
    """Log in without blocking the loop."""
    wire.give_to(handshake)
    work = asyncio.get_running_loop().run_in_executor(None, handshake.run)
    try:
        async with asyncio.timeout(timeout):
            return await asyncio.shield(work)
    except TimeoutError:
        raise TunnelLost(f"the shadow pod's sshd did not let us in within {timeout:.0f} s") from None
    finally:
        handshake.stop()
        if not work.done():
            await asyncio.wait([work])
            work.exception()


def _sender(transport: asyncio.Transport) -> Callable[[bytes], None]:
    """Called in paramiko's thread."""
    loop = asyncio.get_running_loop()

    def write(data: bytes) -> None:
        if not transport.is_closing():
            transport.write(data)

    def send(data: bytes) -> None:
        loop.call_soon_threadsafe(write, data)

    return send
