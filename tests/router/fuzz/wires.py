"""A world without sockets and without time: a loop that is stepped, wires as strict as uvloop's, and upstreams."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from ktpy_router.config import Config
from ktpy_router.core import Core
from ktpy_router.table import Table
from ktpy_router.upstream import Upstream

LISTEN = 8080
ANA = "10.0.0.9:80"
ORIGINAL = "10.0.0.1:80"
EOF = None


class SteppedLoop(asyncio.BaseEventLoop):
    """Runs what is ready and nothing else; its clock goes when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = 1000.0
        self.escaped: list[str] = []
        self._selector = self  # what BaseEventLoop asks for events
        self.set_exception_handler(lambda _, context: self.escaped.append(repr(context)))

    def time(self) -> float:
        return self.clock

    def select(self, timeout: float | None) -> list[Any]:
        return []

    def _process_events(self, events: list[Any]) -> None:
        pass

    def step(self) -> bool:
        """Whether anything was ready."""
        ready = bool(self._ready)  # type: ignore[attr-defined]
        if ready or self._scheduled:  # type: ignore[attr-defined]
            self._run_once()  # type: ignore[attr-defined]
        return ready

    def __enter__(self) -> SteppedLoop:
        asyncio._set_running_loop(self)
        return self

    def __exit__(self, *_: object) -> None:
        for task in asyncio.all_tasks(self):
            task.cancel()
        while self.step():
            pass
        asyncio._set_running_loop(None)
        self.close()


class NoSocket:
    def setsockopt(self, *_: object) -> None:
        pass


class Wire(asyncio.Transport):
    """The router's end of a connection; the other end is `inbox` and `out`.

    As uvloop does: writing after write_eof or after connection_lost raises; an EOF stops reading, and who resumes
    reading gets it once more; close() waits for what is written.
    """

    def __init__(self, loop: SteppedLoop, protocol: asyncio.Protocol | None) -> None:
        self.loop = loop
        self.protocol = protocol
        self.inbox: deque[bytes | None] = deque()
        self.out = bytearray()
        self.most_out = 0
        self.reading = True
        self.closing = self.lost = self.cut = False
        self.ended = False
        """The router's FIN: nothing comes after `out`."""
        self.reset = False
        """The router's RST: `out` was thrown away, as far as it was not taken."""
        self._eof_read = False
        self._high, self._low = 65536, 16384
        self._full = False

    # The router's side

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._alive()
        if self.ended:
            raise RuntimeError("Cannot call write() after write_eof()")
        if not data or self.cut:
            return
        self.out += data
        self.most_out = max(self.most_out, len(self.out))
        if len(self.out) > self._high and not self._full:
            self._full = True
            self._call("pause_writing")

    def write_eof(self) -> None:
        self._alive()
        self.ended = True

    def can_write_eof(self) -> bool:
        return True

    def close(self) -> None:
        if not self.closing:
            self.closing = True
            self.reading = False
            if not self.out:
                self._lose(None)

    def abort(self) -> None:
        if not self.cut and not self.lost:
            self.closing = self.reset = True
            self.reading = False
            self.out.clear()
            self._lose(None)

    def is_closing(self) -> bool:
        return self.closing

    def pause_reading(self) -> None:
        if not self.closing:
            self.reading = False

    def resume_reading(self) -> None:
        if not (self.reading or self.closing):
            self._alive()
            self.reading = True
            if self._eof_read:
                self.inbox.append(EOF)

    def is_reading(self) -> bool:
        return self.reading

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._alive()
        self._high = 65536 if high is None else high
        self._low = self._high // 4 if low is None else low

    def get_write_buffer_size(self) -> int:
        return len(self.out)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        assert isinstance(protocol, asyncio.Protocol)
        self.protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol | None:
        return self.protocol

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"socket": NoSocket(), "peername": ("10.1.1.1", 999)}.get(name, default)

    # The other side

    def pump(self) -> bool:
        """Deliver the next of the inbox, if the router reads. Whether anything was done."""
        if not self.inbox or not self.reading or self.closing:
            return False
        data = self.inbox.popleft()
        if data is EOF:
            self.reading = False
            self._eof_read = True
            if not self._call("eof_received"):
                self.close()
        else:
            self._call("data_received", data)
        return True

    def take(self, most: int = 1 << 30) -> bytes:
        """What the router wrote."""
        data = bytes(self.out[:most])
        if data:
            del self.out[:most]
            if self._full and len(self.out) <= self._low:
                self._full = False
                if not self.lost:
                    self._call("resume_writing")
            if self.closing and not self.out and not self.cut:
                self._lose(None)
        return data

    def break_off(self) -> None:
        """The peer's RST."""
        if not self.lost and not self.cut:
            self.closing = True
            self.reading = False
            self._lose(ConnectionResetError(104, "reset"))

    def _alive(self) -> None:
        if self.lost:
            raise RuntimeError("unable to perform operation; the handler is closed")

    def _lose(self, error: Exception | None) -> None:
        self.cut = True
        self.loop.call_soon(self._connection_lost, error)

    def _connection_lost(self, error: Exception | None) -> None:
        self.lost = True
        self._call("connection_lost", error)

    def _call(self, name: str, *words: Any) -> Any:
        return getattr(self.protocol, name)(*words)


class MemoryUpstream(Upstream):
    """Connects to whoever ANSWERS takes the wire; None is a refusal."""

    accept: Callable[[Wire], bool]

    async def _reach(self, factory: Callable[[], Any]) -> tuple[Any, Any]:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SteppedLoop)
        await asyncio.sleep(0)
        wire = Wire(loop, None)
        if not self.accept(wire):
            raise ConnectionRefusedError
        wire.protocol = protocol = factory()
        protocol.connection_made(wire)
        return wire, protocol


class MemoryCore(Core):
    """The worker's, with upstreams in memory. ACCEPT gets the upstream's address and the wire to it."""

    def __init__(self, config: Config, table: Table, accept: Callable[[str, Wire], bool]) -> None:
        self._accept = accept
        self._memory: dict[str, MemoryUpstream] = {}
        super().__init__(config, table)

    def upstream(self, address: str, *, inspect: bool) -> Upstream:
        found = self._memory.get(address)
        if found is None:
            found = self._memory[address] = MemoryUpstream(address, self.config)
            found.accept = lambda wire: self._accept(address, wire)
        return found


def table(*, strict: bool = False, hold: float = 0.0) -> Table:
    """Requests with the header `version: ana` go to ANA, others to ORIGINAL."""
    row = {
        "id": "s1",
        "mark": "ana",
        "owner": "o",
        "since": 1,
        "to": {str(LISTEN): ANA},
        "strict": strict,
        "hold": hold,
    }
    row["match"] = [{"in": "header", "name": "version", "exact": "ana"}]
    import json

    return Table.from_json(
        json.dumps({"format": 1, "version": 1, "ports": [{"listen": LISTEN, "default": ORIGINAL}], "rows": [row]})
    )
