"""INT, TERM, HUP and QUIT ask for the end; nothing else happens in a signal handler."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator

from ktpy.stop import Stop
from ktpy.workers import Workers

_ASKED = {"SIGINT": "Ctrl-C", "SIGTERM": "asked to end", "SIGHUP": "terminal closed", "SIGQUIT": "asked to end"}


def _is_ruled_out(kind: signal.Signals) -> bool:
    """`nohup ktpy …` is to outlive its terminal. An INT that is ignored, as of a shell's background job, is heard."""
    return kind.name == "SIGHUP" and signal.getsignal(kind) == signal.SIG_IGN


@contextlib.contextmanager
def signals_ask(stop: Stop) -> Iterator[None]:
    """While the block lasts a signal only sets STOP, from a thread of its own: a handler may take no lock.

    The interpreter writes each signal's number into a pipe (signal.set_wakeup_fd) that the thread reads.
    """
    kinds = [kind for name in _ASKED if (kind := getattr(signal, name, None)) and not _is_ruled_out(kind)]
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    # The pipe first: what came between a handler that does nothing and its pipe would be lost.
    old = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    before = {kind: signal.signal(kind, lambda *_: None) for kind in kinds}

    def read() -> None:
        while number := os.read(reader, 1)[0]:
            name = signal.Signals(number).name
            if name in _ASKED:
                stop.ask(_ASKED[name])

    def wake() -> None:
        os.write(writer, b"\0")

    try:
        with Workers(stop) as workers:
            workers.start("signals", read, cancel=wake)
            yield
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
        signal.set_wakeup_fd(old)
        os.close(reader)
        os.close(writer)
