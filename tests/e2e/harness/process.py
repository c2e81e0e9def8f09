"""One ktpy on the laptop: started as an ordinary user, what it says with the time it said it, and its end."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.e2e.harness.until import until


@dataclass(frozen=True)
class Line:
    """AT: seconds on the monotonic clock. STREAM: out, err or screen (a terminal has only one)."""

    at: float
    stream: str
    text: str


@dataclass
class Heard:
    """Everything a process said so far."""

    lines: list[Line] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def listen(self, stream: str, descriptor: int) -> threading.Thread:
        """Take lines from DESCRIPTOR until its end, and close it."""

        def read() -> None:
            with open(descriptor, errors="replace", newline="\n") as file:
                for text in file:
                    self.add(stream, text)

        return _started(read)

    def listen_to_terminal(self, master: int, let_go: int) -> threading.Thread:
        """The same for a pty, until LET_GO has something to read: a blocked read would keep the terminal open.

        MASTER stays its owner's to close.
        """

        def read() -> None:
            rest = ""
            # A pty whose other end is closed answers EIO, not an end of file.
            with contextlib.suppress(OSError):
                while let_go not in select.select([master, let_go], [], [])[0]:
                    *lines, rest = (rest + os.read(master, 65536).decode(errors="replace")).split("\n")
                    for text in lines:
                        self.add("screen", text)

        return _started(read)

    def add(self, stream: str, text: str) -> None:
        with self.changed:
            self.lines.append(Line(time.monotonic(), stream, text.rstrip("\r\n")))
            self.changed.notify_all()

    def text(self, *streams: str) -> str:
        with self.changed:
            return "\n".join(line.text for line in self.lines if not streams or line.stream in streams)


def _started(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


class Ktpy:
    """A running ktpy. Its pid is the real one: every wrapper becomes it by exec.

    Resources: leaving the `with` kills it, if it still runs. TERMINAL: on a pty of its own, else three pipes.
    """

    def __init__(self, command: Sequence[str], program: Path, *, terminal: bool = False) -> None:
        self.started = time.monotonic()
        self.heard = Heard()
        self._terminal: int | None = None
        self._threads: list[threading.Thread] = []
        self._fds: list[int] = []
        if terminal:
            self._open_on_terminal(command)
        else:
            self._open_on_pipes(command)
        self.pid = self.process.pid
        self._wait_for_exec(program)

    def _open_on_terminal(self, command: Sequence[str]) -> None:
        master, slave = os.openpty()
        self._terminal = master
        words = ["setsid", "--ctty", *command]
        self.process = subprocess.Popen(words, stdin=slave, stdout=slave, stderr=slave)
        os.close(slave)
        let_go, self._let_go = os.pipe()
        self._fds = [let_go, self._let_go]
        self._threads.append(self.heard.listen_to_terminal(master, let_go))

    def _open_on_pipes(self, command: Sequence[str]) -> None:
        outs = {"out": os.pipe(), "err": os.pipe()}
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=outs["out"][1], stderr=outs["err"][1], start_new_session=True
        )
        for name, (reader, writer) in outs.items():
            os.close(writer)
            self._threads.append(self.heard.listen(name, reader))

    def _wait_for_exec(self, program: Path) -> None:
        """Until the wrappers have become ktpy; then it must have no right that an ordinary user has not."""

        def has_become() -> bool:
            words = _read(f"/proc/{self.pid}/cmdline").split("\0")
            return str(program) in words[:2] or self.process.poll() is not None

        until(has_become, f"{program} starts", seconds=10, every=0.002)
        self.exec_at = time.monotonic()
        status = _read(f"/proc/{self.pid}/status")
        if self.process.poll() is None and status:
            facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
            if facts["State"][0] not in "ZX":
                assert "0" not in facts["Uid"].split(), f"ktpy runs as root: {facts['Uid']}"
                assert int(facts["CapEff"], 16) == int(facts["CapPrm"], 16) == 0, "ktpy runs with capabilities"

    # what it said

    def events(self) -> list[dict[str, Any]]:
        """The events of --output json so far, each with the time `at` which it was read."""
        with self.heard.changed:
            lines = [line for line in self.heard.lines if line.text.startswith('{"event"')]
        return [{**json.loads(line.text), "at": line.at} for line in lines]

    def wait_event(self, kind: str, fits: Callable[[dict[str, Any]], bool] = lambda _: True, *,
                   seconds: float = 30.0) -> dict[str, Any]:  # fmt: skip
        """The first event of KIND that FITS. Raises AssertionError, with all that was said, where it does not come."""
        deadline = time.monotonic() + seconds
        while True:
            for event in self.events():
                if event["event"] == kind and fits(event):
                    return event
            left = deadline - time.monotonic()
            if left <= 0 or self._is_silent():
                raise AssertionError(f"no event {kind} from ktpy (code {self.process.poll()}):\n{self.said()}")
            with self.heard.changed:
                self.heard.changed.wait(min(left, 0.1))

    def wait_ready(self, seconds: float = 30.0) -> dict[str, Any]:
        return self.wait_event("ready", seconds=seconds)

    def wait_text(self, text: str, *, seconds: float = 30.0) -> None:
        """Until TEXT was said in any stream."""
        until(lambda: text in self.heard.text() or self._is_silent(), f"ktpy says {text!r}", seconds=seconds)
        assert text in self.heard.text(), f"ktpy ended without saying {text!r}:\n{self.said()}"

    def _is_silent(self) -> bool:
        return self.process.poll() is not None and not any(thread.is_alive() for thread in self._threads)

    def said(self) -> str:
        """All of it, with seconds since its start, for messages."""
        with self.heard.changed:
            lines = list(self.heard.lines)
        return "\n".join(f"{line.at - self.started:6.2f} {line.stream:<6} {line.text}" for line in lines)

    @property
    def out(self) -> str:
        return self.heard.text("out")

    @property
    def err(self) -> str:
        return self.heard.text("err", "screen")

    # its end

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def interrupt(self) -> None:
        """Ctrl-C: SIGINT for it and, as a terminal does, for everything in its group."""
        if self._terminal is not None:
            os.write(self._terminal, b"\x03")
        else:
            os.killpg(self.pid, signal.SIGINT)

    def lasts(self, seconds: float) -> None:
        """Let it run until so long after it became ktpy; where it ends before, that is the end of waiting too."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(max(0.0, self.exec_at + seconds - time.monotonic()))

    def kill(self) -> None:
        """kill -9, and its end."""
        self.process.kill()
        self.process.wait()

    def close_terminal(self) -> None:
        """The window goes: the kernel sends HUP, and every later write fails."""
        assert self._terminal is not None
        os.write(self._let_go, b"!")
        for thread in self._threads:
            thread.join()
        os.close(self._terminal)
        self._terminal = None

    def type(self, text: str) -> None:
        assert self._terminal is not None
        os.write(self._terminal, text.encode())

    def wait(self, seconds: float = 15.0) -> int:
        """Its exit code, once all it said was read."""
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"ktpy still runs after {seconds:.0f} s:\n{self.said()}") from None
        for thread in self._threads:
            thread.join(2.0)  # a command of its own may hold the pipes a little longer
        return code

    def __enter__(self) -> Ktpy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.kill()
        if self._terminal is not None:
            self.close_terminal()
        for thread in self._threads:
            thread.join(2.0)
        for descriptor in self._fds:
            os.close(descriptor)
        self._fds = []


def is_gone(pid: int) -> bool:
    """Whether a process that is not our child has ended, be it still to be reaped by whose child it is."""
    state = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()[:1]
    return state in ([], ["Z"], ["X"])


@contextlib.contextmanager
def stopped(pid: int) -> Iterator[None]:
    """SIGSTOP while the block lasts."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def _read(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""
