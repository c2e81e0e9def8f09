"""A laptop with a tunnel, in a process of its own that a test suspends. Says its states; ends on a line."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from ktpy.net.keys import SessionKeys
from ktpy.net.tunnel import Arrival, Limits, Timeouts, Tunnel

key, sshd_port, user, pod_port, port = sys.argv[1:]
client, _, host = Path(key).read_text().rpartition("\n")


async def dial(factory):  # type: ignore[no-untyped-def]
    return await asyncio.get_running_loop().create_connection(factory, "127.0.0.1", int(sshd_port))


with Tunnel(
    dial,
    SessionKeys(client, "", "", host),
    [Arrival(int(pod_port), "127.0.0.1", int(port))],
    on_state=lambda state: print(state.kind, flush=True),
    bind="127.0.0.1",
    user=user,
    limits=Limits(keepalive=0.3, misses=10),  # 3 s: shorter than the stop, longer than a busy machine's pauses
    timeouts=Timeouts(give_up=35.0),
):
    sys.stdin.readline()
