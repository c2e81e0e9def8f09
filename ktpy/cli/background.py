"""`--background`: the session in a process of its own; this one shows its events and leaves at ready."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence

from ktpy.cli.app import App
from ktpy.cli.signals import signals_ask
from ktpy.errors import Exit, KtError
from ktpy.model.events import Failed, Ready, from_json


def foreground_words(arguments: Sequence[str], events: str) -> list[str]:
    """The same command line without --background, its events as JSON into EVENTS."""
    ours, _, _ = "\0".join(arguments).partition("\0--\0")
    words = [word for word in ours.split("\0") if word != "--background"]
    rest = list(arguments)[len(ours.split("\0")) :]
    return [*words, "--output", "json", "--events", events, *rest]


def in_background(app: App, arguments: Sequence[str]) -> int:
    """Start the session as an ordinary process of this user and tell its events until it is ready or has failed.

    The session has no terminal: closing this one does not reach it. What its command prints goes to /dev/null.
    """
    reader, writer = os.pipe()
    words = foreground_words(arguments, f"/dev/fd/{writer}")
    null = subprocess.DEVNULL
    process = subprocess.Popen(
        [sys.executable, "-m", "ktpy", *words],
        stdin=null, stdout=null, stderr=null, pass_fds=[writer], start_new_session=True,
    )  # fmt: skip
    os.close(writer)
    with signals_ask(app.stop), open(reader, encoding="utf-8") as lines:
        # Ctrl-C here, before it is ready, is meant for the session.
        app.stop.on_ask(process.terminate)
        for line in lines:
            event = from_json(json.loads(line))
            app.say.tell(event)
            if isinstance(event, Ready):
                return int(Exit.DONE)
            if isinstance(event, Failed):
                return _code(process)
    code = _code(process)
    app.say.error(KtError(f"The session ended with code {code} before it was ready.", "ktpy logs"), code, "")
    return code or int(Exit.FAILED)


def _code(process: subprocess.Popen[bytes]) -> int:
    """As a shell gives it (128 + signal)."""
    code = process.wait()
    return code if code >= 0 else 128 - code
