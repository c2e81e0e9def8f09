"""The sessions of this laptop on disk: one record, pid file and log each, under the user's state folder."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from platformdirs import user_state_path

KEEP = 10


@dataclass(frozen=True)
class Record:
    """One run. SINCE: seconds since 1970. STATE: starting, ready, healing, ending."""

    name: str
    pid: int
    started: str
    mode: str = ""
    target: str = ""
    namespace: str = ""
    context: str = ""
    session: str = ""
    state: str = "starting"
    since: float = 0.0
    ports: tuple[str, ...] = field(default=())


def folder() -> Path:
    """Where records, pid files and logs are ($XDG_STATE_HOME/ktpy); made for this user only."""
    path = user_state_path("ktpy") / "runs"
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    return path


def start_stamp(pid: int) -> str:
    """When process PID started, in the kernel's own unit; tells a reused pid from the old one. Empty where unknown."""
    with contextlib.suppress(OSError, IndexError):
        # Field 22 of /proc/PID/stat (proc(5)); the name in field 2 may hold spaces and parentheses.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return "" if fields[0] in "ZX" else fields[19]  # a zombie has ended, though its parent has not yet looked
    return ""


def is_running(record: Record) -> bool:
    """Whether the run's process is still that process."""
    try:
        os.kill(record.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return start_stamp(record.pid) == record.started


class Run:
    """This process's own files. Resources: the pid file goes with the block, record and log are kept for a while."""

    def __init__(self, name: str, at: Path) -> None:
        self.name = name
        self.log = at / f"{name}.log"
        self.pid_file = at / f"{name}.pid"
        self._file = at / f"{name}.json"
        self.record = Record(name, os.getpid(), start_stamp(os.getpid()), since=time.time())

    def write(self, **changes: Any) -> None:
        """Change the record, in one rename."""
        self.record = Record(**{**asdict(self.record), **changes})
        new = self._file.with_suffix(".new")
        new.write_text(json.dumps(asdict(self.record)))
        new.rename(self._file)

    def was_told_to_stop(self) -> bool:
        """Removing the pid file ends a session, as with KT-Connect."""
        return not self.pid_file.exists()


def open_run(command: str) -> Run:
    """The files of this run; older ones beyond KEEP are removed. The log file alone exists until `registered`."""
    at = folder()
    _forget_old(at)
    return Run(f"{command}-{os.getpid()}", at)


@contextlib.contextmanager
def registered(run: Run) -> Iterator[Run]:
    """RUN is a session that `status` and `leave` know."""
    run.write()
    run.pid_file.write_text(f"{os.getpid()}\n")
    try:
        yield run
    finally:
        run.pid_file.unlink(missing_ok=True)
        run._file.unlink(missing_ok=True)


def runs() -> list[Record]:
    """The living sessions of this laptop, oldest first. The files of dead ones are removed."""
    found = []
    for file in folder().glob("*.json"):
        record = _read(file)
        if record and is_running(record):
            found.append(record)
        else:
            file.unlink(missing_ok=True)
            file.with_suffix(".pid").unlink(missing_ok=True)
    return sorted(found, key=lambda record: record.since)


def ask_to_end(record: Record) -> None:
    """As Ctrl-C would."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(record.pid, signal.SIGTERM)


def logs() -> list[Path]:
    """The logs that are kept, newest last."""
    return sorted(folder().glob("*.log"), key=lambda path: path.stat().st_mtime)


def _read(file: Path) -> Record | None:
    try:
        raw = json.loads(file.read_text())
        return Record(**{**raw, "ports": tuple(raw.get("ports", ()))})
    except (OSError, ValueError, TypeError):
        return None


def _forget_old(at: Path) -> None:
    alive = {record.name for record in runs()}
    for log in logs()[: -KEEP + 1]:
        if log.stem not in alive:
            log.unlink(missing_ok=True)
