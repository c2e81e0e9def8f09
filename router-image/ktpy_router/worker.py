"""One worker process: mitmproxy's own mitmdump on a uvloop, with the mode `router` on every listening port."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Coroutine, Mapping
from typing import Any

import mitmproxy.tools.dump  # noqa: F401  mitmdump() imports it when it runs, which is after the fork
from mitmproxy.tools.main import mitmdump

from ktpy_router.life import Life
from ktpy_router.mode import RouterInstance
from ktpy_router.settings import Settings
from ktpy_router.table import Table

try:
    import uvloop
except ImportError:  # no wheel for this platform; half as fast
    uvloop = None  # type: ignore[assignment]


def run(settings: Settings, number: int, first: Table, sockets: Mapping[int, socket.socket]) -> int:
    """Serve until SIGTERM and the end of the last connection; the process' exit code."""
    life = RouterInstance.host = Life(settings, number, first, sockets)
    asyncio.set_event_loop_policy(Policy())
    with contextlib.suppress(KeyboardInterrupt):
        mitmdump(arguments(settings, number, tuple(sockets)))
    return life.exit_code


def arguments(settings: Settings, number: int, listens: tuple[int, ...]) -> list[str]:
    """The words of mitmdump's command line. Whoever runs the router has the last one."""
    options = {
        "termlog_verbosity": "warn",
        "flow_detail": "0",
        "confdir": str(settings.run_dir / f"mitmproxy-{number}"),  # each its own: they would race to make the files
        "key_size": "1024",  # of a certificate authority that signs nothing here; a real one takes a fifth of a second
        "command_history": "false",
    }
    sets = [word for name, value in options.items() for word in ("--set", f"{name}={value}")]
    modes = [word for port in listens for word in ("--mode", f"router@{port}")]
    return [*sets, *modes, *settings.options]


def eager(loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any], **more: Any) -> asyncio.Task[Any]:
    """A task that starts at once, which mitmproxy's run() wants from Python 3.12 on.

    The one of asyncio does not know EAGER_START before Python 3.13.6, and uvloop 0.23 hands it over.
    """
    more.pop("eager_start", None)
    return asyncio.Task(coroutine, loop=loop, eager_start=True, **more)  # type: ignore[call-arg,unused-ignore]


if uvloop:

    class Loop(uvloop.Loop):
        """uvloop, with the task factory above in place of asyncio's."""

        def set_task_factory(self, factory: Any) -> None:
            is_asyncios = factory is not None and factory is getattr(asyncio, "eager_task_factory", None)
            super().set_task_factory(eager if is_asyncios else factory)  # type: ignore[arg-type]


class Policy(asyncio.DefaultEventLoopPolicy):
    """Gives mitmproxy, which makes its own loop, the one above where there is uvloop."""

    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        return Loop() if uvloop else super().new_event_loop()
