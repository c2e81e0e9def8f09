"""What a tunnel says before it has a wire; what it does with one is tests/loopback's."""

import asyncio
import threading
from typing import Any

import pytest

from ktpy.errors import NotFound, TunnelLost
from ktpy.net.keys import SessionKeys
from ktpy.net.tunnel import Arrival, Timeouts, Tunnel

KEYS = SessionKeys.make()


async def gone(_: Any) -> Any:
    raise NotFound("pod/shadow in dev is gone")


def test_entering_raises_what_the_dial_raised_and_leaves_no_thread() -> None:
    before = threading.active_count()
    with pytest.raises(NotFound, match="is gone"), Tunnel(gone, KEYS, [Arrival(80, "127.0.0.1", 1)]):
        pass
    assert threading.active_count() == before


def test_a_bug_in_the_dial_is_not_hidden() -> None:
    async def bug(_: Any) -> Any:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), Tunnel(bug, KEYS, []):
        pass


def test_it_is_not_up_before_it_is_entered_nor_usable_after() -> None:
    tunnel = Tunnel(gone, KEYS, [], timeouts=Timeouts(dial=1.0))
    assert tunnel.state.kind == "healing"
    assert tunnel.stats().connections == 0
    with pytest.raises(NotFound), tunnel:
        pass
    with pytest.raises(TunnelLost, match="ended"):
        tunnel.probe(80)
    tunnel.kick()
    assert asyncio.iscoroutinefunction(tunnel.connect)
