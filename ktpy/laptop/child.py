"""The user's own command after `--`: started, waited for, and ended with the session."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType

from ktpy.errors import KtError

TERM_SECONDS = 10.0


class NoCommand(KtError):
    """The command cannot be started. CODE as a shell gives it: 127 not found, 126 not executable."""

    def __init__(self, what: str, code: int) -> None:
        super().__init__(what)
        self.shell_code = code


class Child:
    """COMMAND, in our own process group and terminal, so that Ctrl-C reaches it as it would without us.

    Resources: leaving the `with` ends it: TERM, and KILL after ten seconds.
    Errors: NoCommand.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        try:
            self._process = subprocess.Popen(list(command), env={**os.environ, **(environment or {})})
        except FileNotFoundError as error:
            raise NoCommand(f"{command[0]}: command not found.", 127) from error
        except OSError as error:
            raise NoCommand(f"{command[0]}: {error.strerror}.", 126) from error
        self.name = command[0]

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
        if self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(TERM_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
