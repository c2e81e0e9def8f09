"""What control process and workers tell each other: one JSON object a line, over a Unix socket of the run directory.

    from a worker    hello {worker, pid, version, table, why, passed_over}   ack {version}   refused {why}
                     ready {why}   stats {id, report}
    to a worker      table {table}   pass-over {rows}   drain {}   stats {id}

A table travels as the text that Table.to_json made. A worker's hello brings the table that it has: the control process
may be the younger one. WHY is a sentence about not being ready; an empty one means ready.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, NamedTuple, cast

MOST_BYTES = 16 * 1024 * 1024
"""Of one line: a table of 1 MiB twice escaped. Also of what may wait to be written to a peer that does not read."""
FIRST_WAIT, LONGEST_WAIT = 0.05, 1.0

Message = dict[str, Any]


class Nonsense(ValueError):
    """The other side speaks something else."""


class Lines:
    """Bytes to messages, without I/O."""

    def __init__(self, most: int = MOST_BYTES) -> None:
        self._rest = bytearray()
        self._most = most

    def feed(self, data: bytes) -> list[Message]:
        """The messages that are whole now.

        Errors: Nonsense for a line that is too long or no JSON object with a `type`.
        """
        start = len(self._rest)
        self._rest += data
        if b"\n" not in data:
            whole: list[bytearray] = []
        else:
            end = self._rest.rindex(b"\n", start)
            whole = self._rest[:end].split(b"\n")
            del self._rest[: end + 1]
        if max(map(len, [*whole, self._rest])) > self._most:
            raise Nonsense(f"a line of more than {self._most} bytes")
        return [_message(line) for line in whole]


def line(kind: str, **values: object) -> bytes:
    """A message as it is sent."""
    return json.dumps({"type": kind, **values}, separators=(",", ":")).encode() + b"\n"


def _message(text: bytes | bytearray) -> Message:
    try:
        message = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Nonsense(f"{bytes(text[:40])!r}") from error
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        raise Nonsense(f"{bytes(text[:40])!r}")
    return message


class Wire(asyncio.Protocol):
    """One end of a connection. The other end is cut off when it talks nonsense, or does not read."""

    def __init__(self, on_message: Callable[[Wire, Message], None], on_lost: Callable[[Wire], None]) -> None:
        self._on_message = on_message
        self._on_lost = on_lost
        self._lines = Lines()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        try:
            messages = self._lines.feed(data)
        except Nonsense:
            self.cut()
            return
        for message in messages:
            self._on_message(self, message)

    def connection_lost(self, error: Exception | None) -> None:
        self._on_lost(self)

    def send(self, kind: str, **values: object) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        self._transport.write(line(kind, **values))
        if self._transport.get_write_buffer_size() > 2 * MOST_BYTES:
            self.cut()

    def cut(self) -> None:
        if self._transport is not None:
            self._transport.abort()


class Link:
    """A worker's end: connects again, with growing pauses, for as long as the worker lives."""

    def __init__(
        self, path: str, *, hello: Callable[[Wire], None], on_message: Callable[[Wire, Message], None]
    ) -> None:
        self._path = path
        self._hello = hello
        self._on_message = on_message
        self._wire: Wire | None = None

    async def stay(self) -> None:
        """Until cancelled."""
        loop = asyncio.get_running_loop()
        wait = FIRST_WAIT
        while True:
            lost = loop.create_future()
            try:
                _, wire = await loop.create_unix_connection(
                    lambda lost=lost: Wire(self._on_message, lambda _: lost.done() or lost.set_result(None)),  # type: ignore[misc]
                    self._path,
                )
            except OSError:
                await asyncio.sleep(wait)
                wait = min(2 * wait, LONGEST_WAIT)
                continue
            self._wire, since = wire, loop.time()
            try:
                self._hello(wire)
                await lost
            finally:
                self._wire = None
                wire.cut()
            if loop.time() - since > LONGEST_WAIT:  # else one that cuts us off would be asked without a pause
                wait = FIRST_WAIT
            await asyncio.sleep(wait)
            wait = min(2 * wait, LONGEST_WAIT)

    def send(self, kind: str, **values: object) -> None:
        """To the control process; nobody hears it while there is none, and it asks what it wants to know."""
        if self._wire:
            self._wire.send(kind, **values)


class Peer(NamedTuple):
    """What the control process knows of a connected worker."""

    worker: int
    pid: int
    version: int
    why_not_ready: str
    refused: str = ""


class Hub:
    """The control process' end: who is connected, and what they said."""

    def __init__(self, on_hello: Callable[[Wire, Message], None]) -> None:
        self.peers: dict[Wire, Peer] = {}
        self.reports: dict[Wire, Message] = {}
        self._on_hello = on_hello
        self._changed = asyncio.Event()

    def protocol(self) -> Wire:
        """For each worker that connects."""
        return Wire(self._said, self._lost)

    def tell(self, kind: str, **values: object) -> None:
        """All of them."""
        for wire in tuple(self.peers):
            wire.send(kind, **values)

    async def until(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Whether CONDITION came true in time; looked at after each message."""
        try:
            async with asyncio.timeout(seconds):
                while not condition():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return condition()
        return True

    def behind(self, version: int) -> list[Peer]:
        """Connected workers that have neither taken nor refused that table."""
        return [peer for peer in self.peers.values() if peer.version < version and not peer.refused]

    def _said(self, wire: Wire, message: Message) -> None:
        kind = message["type"]
        if kind == "hello":
            worker, pid = int(message["worker"]), int(message["pid"])
            for old in [other for other, peer in self.peers.items() if peer.worker == worker]:
                self._lost(old)  # its process is dead, and the kernel will say so
            self.peers[wire] = Peer(worker, pid, int(message["version"]), str(message["why"]))
            self._on_hello(wire, message)
        elif wire in self.peers:
            peer = self.peers[wire]
            if kind == "ack":
                self.peers[wire] = peer._replace(version=int(message["version"]), refused="")
            elif kind == "refused":
                self.peers[wire] = peer._replace(refused=str(message["why"]))
            elif kind == "ready":
                self.peers[wire] = peer._replace(why_not_ready=str(message["why"]))
            elif kind == "stats":
                self.reports[wire] = message
        self._changed.set()

    def _lost(self, wire: Wire) -> None:
        self.peers.pop(wire, None)
        self.reports.pop(wire, None)
        self._changed.set()
