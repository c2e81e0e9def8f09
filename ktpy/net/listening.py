"""Has the pod listen on every port, and frees a port that a dead session of ours still holds."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from ktpy.errors import TunnelLost
from ktpy.net.pump import OpenRefused, Pump

log = logging.getLogger(__name__)

AGAIN = 0.1
POKE = 2.0
FREE_AND_REFUSED = 3


async def listen_all(pump: Pump, address: str, ports: Sequence[int], *, timeout: float) -> None:
    """Errors: TunnelLost naming the first port that sshd refuses for good."""
    try:
        async with asyncio.timeout(timeout):
            await asyncio.gather(*(_listen(pump, address, port) for port in ports))
    except TimeoutError:
        raise TunnelLost(
            f"the shadow pod's sshd did not listen on {', '.join(map(str, ports))} within {timeout:.0f} s"
        ) from None


async def _listen(pump: Pump, address: str, port: int) -> None:
    free_and_refused = 0
    while not await pump.listen(address, port):
        free_and_refused = 0 if await _is_held(pump, port) else free_and_refused + 1
        if free_and_refused == FREE_AND_REFUSED:
            raise TunnelLost(
                f"the shadow pod's sshd refuses to listen on port {port}: not permitted there",
                "look at the shadow pod's log",
            )
        log.debug("sshd refused port %d", port)
        await asyncio.sleep(AGAIN)


async def _is_held(pump: Pump, port: int) -> bool:
    """Whether somebody listens on PORT in the pod; touching it makes a dead session find out that it is dead.

    A session whose laptop side is gone without a word (network lost) holds its ports until sshd's ClientAlive gives
    up. A connection to the port makes that session send at once, down a wire that nobody owns any more: the laptop's
    kernel answers RST, the API server ends the stream, and sshd frees the port after one round trip.
    """
    try:
        async with asyncio.timeout(POKE):
            stream = await pump.open("127.0.0.1", port, asyncio.Protocol())
    except OpenRefused:
        return False
    except TimeoutError:
        return True
    stream.abort()
    return True
