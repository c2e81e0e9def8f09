"""The table's files: the one that is mounted, and the one that keeps what was pushed last."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import NamedTuple

from ktpy_router.table import BadTable, Table

BACKLOG = 4096
"""Of a listening socket: connections that wait for a worker to accept them."""


class Store(NamedTuple):
    """MOUNTED is the truth of the cluster, a ConfigMap's file. STATE is ours: it bridges the minute or two that a
    ConfigMap needs to reach the pod, when a process of the pod starts anew meanwhile."""

    mounted: Path
    state: Path | None = None

    def newest(self, *, listens: Collection[int] = (), warn: Callable[[str], None]) -> Table:
        """The newer of both. One that is bad, or for other LISTENS than are bound, is passed over with a warning.

        Errors: BadTable when none is left.
        """
        found: list[Table] = []
        reasons: list[str] = []
        for path in filter(None, (self.mounted, self.state)):
            try:
                table = read(path)
                if table is not None:
                    expect_ports(table, listens or listening(table))
                    found.append(table)
                elif path == self.mounted:
                    raise BadTable("it is not there.")
            except BadTable as error:
                reasons.append(f"{path}: {error}")
        for reason in reasons if found else ():
            warn(reason)
        if not found:
            raise BadTable(" ".join(reasons))
        return newer(*found)

    def begin(self, text: str) -> Callable[[], None]:
        """Write TEXT beside the state file. What is returned makes it the state file, and lasting, whole or not at all:
        that waits for the disk, some milliseconds, and nearly always works where writing did.

        Errors: OSError, of either.
        """
        state = self.state
        if state is None:
            return _nothing
        handle, part = tempfile.mkstemp(prefix=f".{state.name}-", dir=state.parent)
        with _or_unlink(part), os.fdopen(handle, "w") as file:
            file.write(text)

        def settle() -> None:
            with _or_unlink(part), open(part) as file:
                os.fsync(file.fileno())
                os.replace(part, state)

        return settle


def _nothing() -> None:
    """There is no state file."""


@contextlib.contextmanager
def _or_unlink(part: str) -> Iterator[None]:
    try:
        yield
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(part)
        raise


def at_start(files: Store, first: Table, *, warn: Callable[[str], None]) -> Table:
    """The newest of the files and FIRST, which PID 1 has read, for a process that starts, perhaps much later."""
    try:
        return newer(first, files.newest(listens=listening(first), warn=warn))
    except BadTable as error:
        warn(str(error))
        return first


def read(path: Path) -> Table | None:
    """The table of a file; None when there is no such file.

    Errors: BadTable, also when it cannot be read.
    """
    try:
        return Table.from_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BadTable(f"it cannot be read: {error.strerror}.") from error


def newer(*tables: Table) -> Table:
    """The one with the greatest version; the first of equals."""
    return max(tables, key=lambda table: table.version)


def listening(table: Table) -> tuple[int, ...]:
    """The ports that a table wants bound."""
    return tuple(port.listen for port in table.ports)


def expect_ports(table: Table, bound: Collection[int]) -> None:
    """Errors: BadTable when the table is for other ports. They are bound once, at start."""
    wanted = set(listening(table))
    if wanted != set(bound):
        raise BadTable(
            f"The table is for listening port {_listed(wanted)}, and this router has bound {_listed(bound)} at its"
            " start; ports change by starting it anew."
        )


def _listed(ports: Collection[int]) -> str:
    return " and ".join(map(str, sorted(ports)))
