"""The sessions of this laptop on disk: one record, pid file and log each, under the user's state folder."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import platform
import signal
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from platformdirs import user_state_path

from ktpy.errors import Exit, Interrupted, KtError, LeftBehind

KEEP = 10


@dataclass(frozen=True)
class Record:
    """One run. SINCE: seconds since 1970. STATE: starting, ready, healing, ending. PLACE: where PID means something."""

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
    host: str = ""
    place: str = ""


@dataclass(frozen=True)
class Outcome:
    """Why a run did not end well, for who asked it to end: an exit code and what a KtError says."""

    code: int
    what: str
    try_: tuple[str, ...] = ()

    def error(self) -> KtError:
        error = KtError(self.what, self.try_)
        error.code = Exit(self.code)
        return error


def where() -> Path:
    """Where records, pid files and logs are: $XDG_STATE_HOME/ktpy."""
    return user_state_path("ktpy") / "runs"


def unusable(error: OSError) -> KtError:
    """What is told when the files of runs cannot be made."""
    return KtError(
        f"The folder {where()} for the files of sessions cannot be used: {error.strerror or error}.",
        "XDG_STATE_HOME=/a/folder/of/yours ktpy …",
    )


def folder() -> Path:
    """`where`, made for this user only. Raises KtError."""
    path = where()
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise unusable(error) from error
    return path


def this_place() -> str:
    """What a pid is unique in: this boot of this kernel, and the pid namespace. Elsewhere than on Linux, the host.

    Homes are shared between machines and containers, so a record may be about a process that is unknown here. The
    host's name alone does not do: it changes with the network, and containers are called alike.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return platform.node()


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
        self._outcome = at / f"{name}.outcome"
        self.record = Record(
            name, os.getpid(), start_stamp(os.getpid()), since=time.time(), host=platform.node(), place=this_place()
        )

    def write(self, **changes: Any) -> None:
        """Change the record, in one rename."""
        self.record = Record(**{**asdict(self.record), **changes})
        _put(self._file, asdict(self.record))

    def forget_outcome(self) -> None:
        """That of an earlier process with the same number."""
        self._outcome.unlink(missing_ok=True)

    def leave_outcome(self, outcome: Outcome) -> None:
        """For `leave`, which is not our parent and gets no exit code."""
        _put(self._outcome, asdict(outcome))

    def remove(self) -> None:
        """The session is over."""
        self.pid_file.unlink(missing_ok=True)
        self._file.unlink(missing_ok=True)

    def was_told_to_stop(self) -> bool:
        """Removing the pid file ends a session, as with KT-Connect."""
        return not self.pid_file.exists()


def open_run(command: str) -> Run:
    """The files of this run; older ones beyond KEEP are removed. The log file alone exists until `registered`."""
    at = folder()
    _forget_old(at)
    return Run(_free_name(at, f"{command}-{os.getpid()}"), at)


def _free_name(at: Path, name: str) -> str:
    """NAME, numbered where another host or container that shares the folder has a session with the same pid."""
    names = (name if number == 1 else f"{name}-{number}" for number in itertools.count(1))
    return next(name for name in names if not (at / f"{name}.json").exists())


@contextlib.contextmanager
def registered(run: Run) -> Iterator[Run]:
    """RUN is a session that `status` and `leave` know; one that does not end well leaves its outcome behind."""
    run.forget_outcome()
    run.write()
    run.pid_file.write_text(f"{os.getpid()}\n")
    outcome: Outcome | None = Outcome(
        Exit.FAILED, f"{run.name} was ended by a bug in ktpy.", (f"ktpy logs {run.name}",)
    )
    try:
        yield run
        outcome = None
    except KtError as error:
        # Interrupted is what was asked for: it had not switched anything, or has taken it back.
        outcome = None if isinstance(error, Interrupted) else Outcome(int(error.code), error.what, error.try_)
        raise
    finally:
        with contextlib.suppress(OSError):  # a full disk must not hide the error that ends the run
            if outcome:
                run.leave_outcome(outcome)
        run.remove()


def take_outcome(record: Record) -> KtError | None:
    """Why RECORD's run, which has ended, did not end well; None if it did. Its files go."""
    file = where() / f"{record.name}.outcome"
    raw = _json(file)
    file.unlink(missing_ok=True)
    if raw is not None:
        return Outcome(raw["code"], raw["what"], tuple(raw["try_"])).error()
    if not file.with_suffix(".json").exists():
        return None
    # It removes its record whenever it can end at all.
    return LeftBehind(
        f"{record.name} was killed before it had given back.", ["ktpy recover", f"ktpy logs {record.name}"]
    )


def runs() -> list[Record]:
    """The living sessions of this laptop, oldest first. The files of dead ones are removed.

    Removing a pid file ends its session, so only a record that says that its process was one of this place, and is
    no more, is reason enough. What another host or another version of ktpy wrote is neither shown nor touched.
    """
    found, here = [], this_place()
    for file in folder().glob("*.json"):
        record = _read(file)
        if record is None or record.place != here:
            continue
        if is_running(record):
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
    dated = []
    for file in folder().glob("*.log"):
        with contextlib.suppress(FileNotFoundError):  # another ktpy that starts just now forgets old ones too
            dated.append((file.stat().st_mtime, file))
    return [file for _, file in sorted(dated)]


def _put(file: Path, raw: Mapping[str, Any]) -> None:
    """In one rename: nobody reads half of it."""
    new = file.with_suffix(".new")
    new.write_text(json.dumps(raw))
    new.rename(file)


def _json(file: Path) -> dict[str, Any] | None:
    try:
        raw = json.loads(file.read_text())
    except (OSError, ValueError):
        return None
    return raw if isinstance(raw, dict) else None


def _read(file: Path) -> Record | None:
    """The record in FILE, without what only a newer ktpy knows; None if it is not one."""
    raw = _json(file) or {}
    known = {key: raw[key] for key in (field.name for field in fields(Record)) if key in raw}
    if not isinstance(raw.get("pid"), int) or not isinstance(raw.get("ports", []), list):
        return None
    try:
        return Record(**{**known, "ports": tuple(raw.get("ports", ()))})
    except TypeError:
        return None


def _forget_old(at: Path) -> None:
    """All but the newest logs, with their outcomes. What still has a record is a living run's or another host's."""
    runs()
    for log in logs()[: -KEEP + 1]:
        if not (at / f"{log.stem}.json").exists():
            log.unlink(missing_ok=True)
            log.with_suffix(".outcome").unlink(missing_ok=True)
