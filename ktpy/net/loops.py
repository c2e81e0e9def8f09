"""The event loop that a tunnel's thread runs, and the memory it works in."""

from __future__ import annotations

import asyncio


def new_loop() -> asyncio.AbstractEventLoop:
    """uvloop moves twice the bytes, but is not built for every machine."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def keep_freed_memory() -> None:
    """Have glibc keep freed memory instead of giving it back to the kernel with every packet.

    malloc's thresholds follow the largest block that was freed, mallopt(3): from 128 KiB they go to 8 MiB here. The
    page faults that this saves cost as much as decryption (39 → 16 µs for 48 KiB).
    """
    bytearray(4 << 20)
