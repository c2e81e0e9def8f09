"""The only place that prints: data to stdout, words to stderr, events as words or as one JSON object per line."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, TextIO

from ktpy.errors import KtError
from ktpy.model.events import (
    Ended,
    Event,
    Failed,
    FellBack,
    FirstRequest,
    Note,
    Ready,
    Rules,
    Step,
    Tunnel,
    Waiting,
    to_json,
)

GREEN, RED, YELLOW, DIM, BOLD, PLAIN = "\x1b[32m", "\x1b[31m", "\x1b[33m", "\x1b[2m", "\x1b[1m", "\x1b[0m"
# C0 but newline and tab, C1, line and direction marks, and surrogates, which no encoding takes.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def harmless(text: str) -> str:
    """TEXT with its control characters spelled out, e.g. \\x1b: what a pod or an annotation says must not move the
    cursor, fill the clipboard (OSC 52) or fake a line on whatever terminal shows it."""
    return _CONTROLS.sub(lambda found: found.group().encode("unicode_escape").decode(), text)


class Say:
    """AS_JSON: events go to EVENTS as JSON lines. A closed terminal is no error: the run must still give back."""

    def __init__(self, *, as_json: bool = False, quiet: bool = False, events: TextIO | None = None) -> None:
        self.as_json = as_json
        self.quiet = quiet
        self._events = events or sys.stdout
        self._lock = threading.Lock()
        self._coloured = _is_terminal(sys.stderr)

    def send_events_to(self, stream: TextIO) -> None:
        """Events as JSON go to STREAM from here on."""
        self._events = stream

    def tell(self, event: Event) -> None:
        """One event, in the form that was asked for."""
        if self.as_json:
            self._write(self._events, json.dumps(to_json(event), ensure_ascii=False))
        elif text := self._words(_harmless(event)):
            self._write(sys.stderr, text)  # with colours of our own

    def words(self, text: str) -> None:
        """For people, on stderr."""
        self._write(sys.stderr, harmless(text))

    def data(self, text: str) -> None:
        """What was asked for, on stdout."""
        self._write(sys.stdout, harmless(text))

    def rows(self, rows: Sequence[Mapping[str, Any]], *, empty: str) -> None:
        """A listing: a table on stdout, or JSON with the same names."""
        if self.as_json:
            self._write(sys.stdout, json.dumps(list(rows), ensure_ascii=False))
        elif not rows:
            self.words(empty)
        else:
            for line in table(rows):
                self.data(line)

    def error(self, error: KtError, code: int, log: str) -> None:
        """What happened, and what to type next."""
        self.tell(Failed(error.what, error.try_, code, log))

    def _words(self, event: Event) -> str:
        if isinstance(event, Failed):
            return self._failed(event)
        if isinstance(event, Ready):
            return self._ready(event)
        if isinstance(event, Rules):
            return "\n".join(event.lines)
        if isinstance(event, Tunnel):
            return self._tunnel(event.state, event.why)
        return "" if self.quiet else self._progress(event)

    def _progress(self, event: Step | Waiting | Note | FirstRequest | FellBack | Ended) -> str:
        match event:
            case Step(name, detail, seconds):
                time = "" if seconds is None else f"{seconds:5.2f} s"
                return f"  {self._colour(GREEN, '✓')} {name:<11} {time:>8}  {self._colour(DIM, detail)}".rstrip()
            case Waiting(_, detail):
                return f"  {self._colour(YELLOW, '…')} waiting for {detail}"
            case Note(text):
                return f"  {self._colour(YELLOW, '!')} {text}"
            case FirstRequest():
                return f"  {self._colour(GREEN, '✓')} {_first(event)}"
            case FellBack():
                return f"  {self._colour(YELLOW, '!')} {_fallen(event)}"
            case Ended(reason, seconds, connections):
                plural = "" if connections == 1 else "s"
                return f"Given back in {seconds:.1f} s after {connections} connection{plural} ({reason})."

    def _failed(self, event: Failed) -> str:
        lines = [self._colour(RED, "Error: ") + event.what]
        lines += [("Try:   " if number == 0 else "       ") + line for number, line in enumerate(event.try_)]
        return "\n".join(lines + ([self._colour(DIM, f"Log:   {event.log}")] if event.log else []))

    def _tunnel(self, state: str, why: str) -> str:
        if state == "up":
            return "" if not why and self.quiet else f"  {self._colour(GREEN, '✓')} tunnel is up again" if why else ""
        return f"  {self._colour(YELLOW, '!')} tunnel {state}: {why}"

    def _ready(self, event: Ready) -> str:
        here = f"you and {', '.join(event.others)}" if event.others else "nobody else"
        what = event.what or f"{event.target} is"
        lines = [
            self._colour(BOLD, f"Ready after {event.seconds:.1f} s: {what} answered by this laptop."),
            f"  taken     {'; '.join(event.taken)}",
            f"  affects   {event.affected}",
            f"  here      {here}",
            f"  try       {event.try_}",
            *([f"  link      {event.link}"] if event.link else []),
            f"  stop      {event.stop}",
        ]
        return "\n".join(lines)

    def _colour(self, colour: str, text: str) -> str:
        return f"{colour}{text}{PLAIN}" if self._coloured else text

    def _write(self, stream: TextIO, text: str) -> None:
        with self._lock:
            try:
                stream.write(f"{text}\n")
                stream.flush()
            except (OSError, ValueError):
                _give_up(stream)


def _first(event: FirstRequest) -> str:
    line = f"first {'marked ' * event.marked}request after {event.seconds:.0f} s"
    if not event.method:
        return line
    answer = "not answered yet" if event.status is None else f"{event.status} {event.milliseconds} ms"
    return f"{line}: {event.method} {event.path} {answer}"


def _fallen(event: FellBack) -> str:
    """The first time the reason, later the count alone."""
    marked = "marked " * event.marked
    if event.count == event.total:
        what = f"a {marked}request was" if event.count == 1 else f"{event.count} {marked}requests were"
        return f"{what} answered by the cluster, because this laptop did not answer"
    what = "request was" if event.count == 1 else "requests were"
    return f"{event.count} more {marked}{what} answered by the cluster ({event.total} by now)"


def _harmless(event: Event) -> Event:
    texts = {item.name: getattr(event, item.name) for item in fields(event)}
    clean: Event = replace(event, **{name: _harmless_value(value) for name, value in texts.items()})
    return clean


def _harmless_value(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_harmless_value(item) for item in value)
    return _indented(value) if isinstance(value, str) else value


def _indented(text: str) -> str:
    """Further lines of a text are set off: at the margin they could pass for lines of ours."""
    return harmless(text).replace("\n", "\n       ")


def _give_up(stream: TextIO) -> None:
    """A terminal that is closed stays closed: what is still buffered goes nowhere, or Python would exit with 120."""
    with contextlib.suppress(OSError, ValueError), open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), stream.fileno())


def table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """ROWS as aligned columns under their names in capitals."""
    names = list(rows[0])
    cells = [[name.upper().replace("_", " ") for name in names]]
    cells += [[_cell(row.get(name)) for name in names] for row in rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(names))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]


def _cell(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_cell, value)) or "-"
    return "-" if value is None or value == "" else harmless(str(value).replace("\n", " "))


def _is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except ValueError:
        return False
