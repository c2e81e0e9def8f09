"""Runs the programs that build and move images: their lines as they come, an end in time, a failure in words."""

from __future__ import annotations

import os
import selectors
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence

from ktpy.errors import KtError

Say = Callable[[str], None]
LAST_LINES = 8  # of a failed program go into the error


def run(command: Sequence[str], *, doing: str, say: Say, seconds: float) -> None:
    """Run COMMAND and SAY its lines as they come; DOING tells in an error what failed.

    It stays in our process group, so a Ctrl-C at the terminal ends it as well.

    Errors: KtError when it is not there, fails, or takes longer than SECONDS.
    """
    last: deque[str] = deque(maxlen=LAST_LINES)
    with _started(command) as process:
        try:
            for line in _lines(process, time.monotonic() + seconds):
                last.append(line)
                say(line)
            status = process.wait(timeout=5)
        except (TimeoutError, subprocess.TimeoutExpired):
            raise KtError(f"{doing} took longer than {seconds:.0f} s.{_quoted(last)}") from None
        finally:
            process.kill()  # does nothing to one that has ended
    if status:
        raise KtError(f"{doing} failed: {os.path.basename(command[0])} ended with {status}.{_quoted(last)}")


def ask(command: Sequence[str], *, seconds: float) -> tuple[bool, str]:
    """Whether COMMAND went well, and what it said; not being there or taking too long is a no."""
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=seconds
        )
    except FileNotFoundError:
        return False, "not found"
    except PermissionError:
        return False, "not executable"
    except subprocess.TimeoutExpired:
        return False, f"no answer in {seconds:.0f} s"
    return done.returncode == 0, done.stdout.decode(errors="replace").strip()


def _started(command: Sequence[str]) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0
        )
    except (FileNotFoundError, PermissionError) as error:
        raise KtError(f"{command[0]} cannot be run: {error.strerror}.", f"install {command[0]}") from None


def _lines(process: subprocess.Popen[bytes], until: float) -> Iterator[str]:
    """What PROCESS says, line by line, until it closes its output. TimeoutError when UNTIL is reached."""
    assert process.stdout is not None
    rest = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            if not selector.select(max(0.0, until - time.monotonic())):
                raise TimeoutError
            block = os.read(process.stdout.fileno(), 65536)
            if not block:
                break
            *whole, rest = (rest + block).replace(b"\r", b"\n").split(b"\n")
            yield from (line.decode(errors="replace") for line in whole if line.strip())
    if rest.strip():
        yield rest.decode(errors="replace")


def _quoted(lines: Sequence[str] | deque[str]) -> str:
    return "".join(f"\n    {line}" for line in lines)
