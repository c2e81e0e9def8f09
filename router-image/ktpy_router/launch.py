"""PID 1: binds the ports, forks the processes that serve them, starts again what died, and passes the end on.

It imports everything before it forks, so that the others share its memory and are there in milliseconds; it runs no
event loop, and only waits. One socket per port is shared by all workers (no SO_REUSEPORT): what a killed worker had
not accepted yet, another one accepts.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import mmap
import os
import signal
import socket
import stat
import sys
import time
import traceback
from collections.abc import Callable, Collection
from pathlib import Path
from typing import NamedTuple

from ktpy_router.settings import Settings
from ktpy_router.store import BACKLOG, listening
from ktpy_router.table import BadTable, Table

SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGUSR1}
BACK_OFF_SECONDS = 1.0
HELPER_SECONDS = 3.0  # for control process and inspector to end once all workers have
_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15  # prctl(2)


class CannotStart(Exception):
    """The text is a sentence for whoever started it."""


class Role(NamedTuple):
    """A process that is to be there. Workers serve; the others help them."""

    name: str
    run: Callable[[], int]
    is_worker: bool = False


class Sockets(NamedTuple):
    """All that is bound. A process closes what is not its own."""

    ports: dict[int, socket.socket]
    control: socket.socket
    channel: socket.socket
    health: socket.socket | None
    reserved: tuple[socket.socket, ...]
    """The inspector's, which binds them again when it is wanted: nobody else takes them before."""

    def close_ports(self) -> None:
        """Only when every copy is closed are connections refused."""
        for bound in self.ports.values():
            bound.close()

    def close_control(self) -> None:
        """Whatever is the control process' alone."""
        for bound in (self.control, self.channel, self.health):
            if bound:
                bound.close()


def bind_all(settings: Settings, table: Table) -> Sockets:
    """Errors: CannotStart, naming the port."""
    ports = {port: _bound(settings.bind, port) for port in listening(table)}
    control = _bound("127.0.0.1", settings.control_port)
    health = _bound(settings.bind, settings.health_port) if settings.health_port else None
    path = settings.channel
    try:
        Path(path).unlink(missing_ok=True)
        channel = socket.socket(socket.AF_UNIX)
        before = os.umask(0o777 & ~(stat.S_IRUSR | stat.S_IWUSR))
        try:
            channel.bind(path)
        finally:
            os.umask(before)
        channel.listen()
    except OSError as error:
        raise CannotStart(f"The run directory cannot be used: {path}: {error.strerror or error}.") from error
    reserved = tuple(map(_reserved, (settings.inspect_port, settings.inspect_web_port)))
    return Sockets(ports, control, channel, health, reserved)


def _bound(host: str, port: int) -> socket.socket:
    """For IPv6 and IPv4 when no address is given, as far as this machine has them."""
    try:
        if not host and socket.has_dualstack_ipv6():
            with contextlib.suppress(OSError):  # IPv6 may be there and switched off
                return socket.create_server(("::", port), family=socket.AF_INET6, backlog=BACKLOG, dualstack_ipv6=True)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise CannotStart(f"Port {port} cannot be listened on: {error.strerror or error}.") from error


def _reserved(port: int) -> socket.socket:
    """Bound and not listening: with SO_REUSEADDR the kernel lets another socket bind it too, and listen."""
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind(("127.0.0.1", port))
    except OSError as error:
        raise CannotStart(f"Port {port} cannot be kept for the inspector: {error.strerror or error}.") from error
    return bound


class Wish:
    """One byte of shared memory by which the control process asks PID 1 for an inspector."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 1)

    def __bool__(self) -> bool:
        return self._memory[0] == 1

    def say(self, wanted: bool) -> None:
        """For the control process, PID 1's child. SIGUSR1 only says that there is something to read."""
        if bool(self) != wanted:
            self._memory[0] = int(wanted)
            os.kill(os.getppid(), signal.SIGUSR1)


class Family:
    """The children of PID 1, and when those that died are due again."""

    def __init__(self, roles: Collection[Role], inspector: Role, wish: Wish, *, on_end: Callable[[], None]) -> None:
        self._roles = tuple(roles)
        self._inspector = inspector
        self._wish = wish
        self._on_end = on_end
        self._living: dict[int, tuple[Role, float]] = {}
        self._due = dict.fromkeys(self._roles, 0.0)
        self._ending_at = 0.0
        self._code = 0

    def tend(self) -> int:
        """Until SIGTERM and the end of all workers; the exit code. Signals are held, and taken one by one here."""
        while True:
            now = time.monotonic()
            self._start_due(now)
            got = signal.sigtimedwait(SIGNALS, self._pause(now))
            if got is None:
                continue
            if got.si_signo == signal.SIGCHLD:
                self._reap()
            elif got.si_signo == signal.SIGUSR1:
                self._follow_wish()
            elif self._ending_at:
                self._kill(signal.SIGKILL, lambda _: True)
                return 128 + got.si_signo
            else:
                self._end()
            if self._ending_at and not any(role.is_worker for role, _ in self._living.values()):
                self._end_helpers()
                return self._code

    def _pause(self, now: float) -> float:
        return max(0.0, min(self._due.values(), default=now + 3600.0) - now)

    def _start_due(self, now: float) -> None:
        for role, at in tuple(self._due.items()):
            if at <= now and not self._ending_at:
                del self._due[role]
                self._living[fork(role)] = (role, now)

    def _reap(self) -> None:
        """Orphans of others come to PID 1 too; they are nobody's role."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            role, since = self._living.pop(pid, (None, 0.0))
            if role is not None:
                self._mourn(role, pid, status, since)

    def _mourn(self, role: Role, pid: int, status: int, since: float) -> None:
        if self._ending_at:
            if role.is_worker and status:
                self._code = 1
                say(f"{role.name} (pid {pid}) {how_it_ended(status)} while draining.")
        elif role == self._inspector and not self._wish:
            return
        else:
            now = time.monotonic()
            wait = back_off(now - since)
            when = f"in {wait:g} s" if wait else "now"
            say(f"{role.name} (pid {pid}) {how_it_ended(status)}; another one starts {when}.")
            self._due[role] = now + wait

    def _follow_wish(self) -> None:
        is_there = any(role == self._inspector for role, _ in self._living.values())
        if self._wish and not is_there:
            self._due.setdefault(self._inspector, 0.0)
        elif not self._wish:
            self._due.pop(self._inspector, None)
            self._kill(signal.SIGTERM, lambda role: role == self._inspector)

    def _end(self) -> None:
        self._ending_at = time.monotonic()
        self._due.clear()
        self._on_end()
        self._kill(signal.SIGTERM, lambda role: role.is_worker)

    def _end_helpers(self) -> None:
        self._kill(signal.SIGTERM, lambda _: True)
        until = time.monotonic() + HELPER_SECONDS
        while self._living and time.monotonic() < until:
            signal.sigtimedwait({signal.SIGCHLD}, max(0.0, until - time.monotonic()))
            self._reap()
        self._kill(signal.SIGKILL, lambda _: True)

    def _kill(self, number: signal.Signals, which: Callable[[Role], bool]) -> None:
        for pid, (role, _) in self._living.items():  # ours until we reap them, so no pid can be another's
            if which(role):
                os.kill(pid, number)


def hold_signals() -> None:
    """Keep what comes until `tend` takes it: what PID 1 neither holds nor handles, the kernel drops."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)


def fork(role: Role) -> int:
    """The pid of a new process that runs ROLE and nothing else of ours."""
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        name_process(role.name)
        _end_with(parent)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        code = role.run()
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    finally:
        if sys.exc_info()[0]:  # nobody is left to print it
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def name_process(name: str) -> None:
    """What ps and top show: fifteen bytes at most."""
    _prctl(_PR_SET_NAME, ctypes.c_char_p(f"router-{name}".encode()))


def _end_with(parent: int) -> None:
    """Die when PID 1 is killed: outside a container nobody else would end us."""
    _prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL))
    if os.getppid() != parent:
        os._exit(1)


def _prctl(option: int, value: object) -> None:
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:  # Linux only; the router runs without it
        prctl(option, value, 0, 0, 0)


def freeze() -> None:
    """Before the forks: what is there now is never looked at by the garbage collectors, and so stays shared."""
    gc.collect()
    gc.freeze()
    gc.enable()


def back_off(lived: float) -> float:
    """How long to wait before starting again what lived that long."""
    return 0.0 if lived >= BACK_OFF_SECONDS else BACK_OFF_SECONDS


def how_it_ended(status: int) -> str:
    """A wait status, as the end of a sentence."""
    code = os.waitstatus_to_exitcode(status)
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"


def say(sentence: str) -> None:
    """For whoever reads the pod's log."""
    print(f"ktpy_router: {sentence}", file=sys.stderr, flush=True)


def explain(error: BadTable | CannotStart) -> int:
    """The exit code when it cannot start at all."""
    say(str(error))
    return 2
