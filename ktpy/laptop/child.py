"""The user's own command after `--`: started, waited for, and ended with the session."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

from ktpy.errors import KtError
from ktpy.stop import Stop

TERM_SECONDS = 10.0
LOOK_SECONDS = 0.05


class NoCommand(KtError):
    """The command cannot be started. CODE as a shell gives it: 127 not found, 126 not executable."""

    def __init__(self, what: str, code: int) -> None:
        super().__init__(what)
        self.shell_code = code


class Child:
    """COMMAND, in a process group of its own: the terminal's Ctrl-C reaches us alone.

    So it still answers while the Service is given back, and what it started (`sh -c`, `go run`) is ended with it. A
    group that is not the terminal's foreground is stopped when it reads the terminal (SIGTTIN), so it gets /dev/null
    instead. INTERACTIVE: it shares our group and terminal, and Ctrl-C reaches it as it would without us.

    Resources: leaving the `with` ends it: TERM, and KILL after ten seconds.
    Errors: NoCommand.
    """

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str] | None = None, *, interactive: bool = False
    ) -> None:
        try:
            self._process = subprocess.Popen(
                list(command),
                env={**os.environ, **(environment or {})},
                stdin=None if interactive or not _reads_terminal() else subprocess.DEVNULL,
                process_group=None if interactive else 0,
            )
        except FileNotFoundError as error:
            raise NoCommand(f"{command[0]}: command not found.", 127) from error
        except OSError as error:
            raise NoCommand(f"{command[0]}: {error.strerror}.", 126) from error
        self.name = command[0]
        self._has_group = not interactive

    @property
    def code(self) -> int | None:
        """Its exit code as a shell gives it (128 + signal); None while it runs."""
        code = self._process.poll()
        return code if code is None or code >= 0 else 128 - code

    def wait(self, ended: Callable[[int], None]) -> None:
        """A worker: call ENDED with its exit code."""
        self._process.wait()
        ended(self.code or 0)

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._signal(signal.SIGTERM)
        if not self._ends_within(TERM_SECONDS):
            self._signal(signal.SIGKILL)
        self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        if not self._has_group:
            self._process.send_signal(number)  # nothing if it has ended
            return
        # No group: all have ended. Not permitted: all that are left belong to another user, or (macOS) are zombies.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    def _ends_within(self, seconds: float) -> bool:
        """A group announces its end to nobody: look until it is empty. Its number is not given away before that."""
        clock, waited = Stop(), 0.0
        while self._is_alive() and waited < seconds:
            clock.wait(LOOK_SECONDS)
            waited += LOOK_SECONDS
        return not self._is_alive()

    def _is_alive(self) -> bool:
        if self._process.poll() is None:
            return True
        if not self._has_group:
            return False
        try:
            os.killpg(self._process.pid, 0)
        except (ProcessLookupError, PermissionError):
            return False
        return not _are_zombies(self._process.pid)


def _are_zombies(group: int) -> bool:
    """Whether all of GROUP have ended: in a container whose process 1 collects nobody, they stay in the list."""
    states = []
    for file in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError):  # ended just now
            state, _, its_group = file.read_text(errors="replace").rpartition(")")[2].split()[:3]
            if int(its_group) == group:
                states.append(state)
    return bool(states) and all(state in "ZX" for state in states)


def _reads_terminal() -> bool:
    return sys.stdin is not None and os.isatty(0)
