"""What every command that holds something has in common: signals, records, the child after `--`, ready, the end."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

from ktpy.cli.app import App
from ktpy.cli.signals import signals_ask
from ktpy.errors import Exit, KtError, LeftBehind
from ktpy.kt import Kt
from ktpy.laptop.child import Child, NoCommand
from ktpy.laptop.state import registered
from ktpy.model.events import Ended, Ready
from ktpy.model.ports import Route
from ktpy.model.ref import Object
from ktpy.modes import look
from ktpy.modes.first import report_first_request
from ktpy.modes.link import Link
from ktpy.net.probe import listens
from ktpy.stop import Stop
from ktpy.workers import Workers

Gate = Callable[[], None]  # comes back when what has to listen does
PID_FILE_SECONDS = 0.5
GATE_SECONDS = 0.05


class Held:
    """One invocation of a holding command. COMMAND is what follows `--`; WAIT: seconds it has to open its ports.

    INTERACTIVE: the command reads the terminal.
    """

    def __init__(
        self, app: App, name: str, command: Sequence[str], *, wait: float, check: bool, events: str | None,
        interactive: bool = False,
    ) -> None:  # fmt: skip
        self.app, self.name, self.command = app, name, tuple(command)
        self._interactive = interactive
        self._wait, self._check, self.events = wait, check, events
        self._child: Child | None = None
        self._is_over = False
        self._own_end: int | None = None  # the child's code, where its end is what ended the run
        self._started = time.monotonic()
        self._connections = 0

    @classmethod
    def of(cls, app: App, name: str, how: Mapping[str, Any]) -> Held:
        """From the `holding_options` that were typed."""
        return cls(
            app, name, how["command"], wait=how["wait"], check=how["check_ports"], events=how["events"],
            interactive=how["interactive"],
        )  # fmt: skip

    def in_background(self) -> int:
        from ktpy.cli.background import in_background

        return in_background(self.app, sys.argv[1:])

    def expect_listeners(self, routes: Sequence[Route]) -> None:
        if self._check:
            name = routes[0].service
            look.must_listen(routes, how=f"ktpy {self.name} … -- COMMAND that opens it (for port {name})")

    @contextlib.contextmanager
    def child(self, kt: Kt) -> Iterator[None]:
        """The command after `--`, if any: when it ends, so does the run."""
        if not self.command:
            yield
            return
        with Workers(Stop()) as workers, Child(self.command, interactive=self._interactive) as child:
            self._child = child
            workers.start("child", lambda: child.wait(lambda code: self._child_ended(kt.stop, code)))
            try:
                yield
            finally:
                self._is_over = True  # from here on it is we who end it

    def _child_ended(self, stop: Stop, code: int) -> None:
        if not stop.is_asked and not self._is_over:
            self._own_end = code
        stop.ask(f"{self.command[0]} ended with code {code}")

    def gate(self, kt: Kt, routes: Sequence[Route]) -> None:
        """With a command: wait until its ports listen. Raises KtError when it takes longer than --wait."""
        if not self.command or not self._check:
            return
        until = time.monotonic() + self._wait
        for route in routes:
            while not listens(route.host, route.laptop, 1.0):
                # A port that opens announces itself to nobody: this one wait has to ask again and again.
                if kt.stop.wait(GATE_SECONDS):
                    kt.stop.check()
                if time.monotonic() > until:
                    raise KtError(
                        f"{self.command[0]} does not listen on {route.host}:{route.laptop} after {self._wait:.0f} s; "
                        "nothing was switched.",
                        "--wait 5m, or --expose with the port that it opens",
                    )

    def ready(self, kt: Kt, link: Link, text: Ready, routes: Sequence[Route]) -> None:
        """Say that it is in force, and hold until the end is asked. Raises what ended it, if that was a failure."""
        session = link.session.id
        kt.tell(replace(text, session=session, seconds=time.monotonic() - self._started))
        kt.laptop.run.write(
            mode=self.name, target=text.target, namespace=text.namespace, session=session, state="ready",
            context=kt.settings.context or "", ports=tuple(map(str, routes)),
        )  # fmt: skip
        with Workers(kt.stop) as workers:
            workers.start("first-request", lambda: report_first_request(kt, link, workers.done))
            kt.stop.wait()
        kt.laptop.run.write(state="ending")
        self._started = time.monotonic()
        self._connections = link.stats().connections

    def through(
        self, kt: Kt, routes: Sequence[Route], run: Callable[[Gate], AbstractContextManager[Link]], text: Ready
    ) -> None:
        """The whole way: the command after `--`, its ports, RUN as long as it lasts, and TEXT when it is in force."""
        if not self.command:
            self.expect_listeners(routes)
        with self.child(kt), run(lambda: self.gate(kt, routes)) as link:
            self.ready(kt, link, text, routes)

    def print_plan(self, steps: Sequence[tuple[str, Object, Object]]) -> None:
        """Each deed with what undoes it."""
        for deed, thing, inverse in steps:
            if self.app.say.as_json:
                self.app.say.data(json.dumps({"do": deed, "object": thing, "undo": inverse}))
            else:
                self.app.say.data(
                    f"# {deed}\n{json.dumps(thing, indent=2)}\n# undone by\n{json.dumps(inverse, indent=2)}\n"
                )

    def exit_code(self, kt: Kt) -> int:
        """After a clean give-back: the child's own code, else 0."""
        kt.tell(Ended(kt.stop.reason, time.monotonic() - self._started, self._connections))
        if self._child is not None and self._child.code is not None:
            return self._child.code
        return int(Exit.DONE)

    def code_for(self, error: KtError) -> int:
        """With a command: its own code if it has ended by itself, a shell's for one that cannot start, else 125."""
        if not self.command:
            return int(error.code)
        if isinstance(error, NoCommand):
            return error.shell_code
        if self._own_end is not None and not isinstance(error, LeftBehind):
            return self._own_end
        return int(Exit.OURS_BESIDE_CHILD)


@contextlib.contextmanager
def holding(held: Held) -> Iterator[Kt]:
    """A run that signals and the pid file can end, known to `status` and `leave`.

    Errors: what ended the run, with the exit code that HELD gives it.
    """
    app = held.app
    with contextlib.ExitStack() as stack:
        _direct_events(held)
        stack.enter_context(signals_ask(app.stop))
        try:
            kt = app.kt(held.name)
            with registered(kt.laptop.run) as run:  # it hears of every failure: `leave` will want to know
                with Workers(app.stop) as workers:
                    workers.start("pid-file", lambda: _watch_pid_file(app, run.was_told_to_stop, workers.done))
                    yield kt
                if kt.stop.error is not None:
                    raise kt.stop.error
        except KtError as error:
            error.code = held.code_for(error)  # type: ignore[assignment]
            raise


def _watch_pid_file(app: App, is_gone: Any, done: Stop) -> None:
    while not done.wait(PID_FILE_SECONDS):
        if is_gone():
            app.stop.ask("pid file removed")
            return


def _appending(path: str) -> TextIO:
    return Path(path).open("a", encoding="utf-8")


def _direct_events(held: Held) -> None:
    """With a command after `--` stdout is the command's: events go to --events FILE, else to stderr.

    The file is the App's: the last event, why it failed, is told when the run is over.
    """
    if held.events:
        held.app.say.send_events_to(held.app.files.enter_context(_appending(held.events)))
    elif held.command and held.app.say.as_json:
        held.app.say.send_events_to(sys.stderr)
