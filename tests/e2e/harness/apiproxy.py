"""A proxy before the API server that counts each call, and kills, holds, answers or cuts at any of them.

Plain HTTP on loopback (of a network namespace, where one is given); beyond it TLS to the real API server. The caller's
own bearer token passes through; watches and upgraded streams pass byte for byte.
"""

from __future__ import annotations

import asyncio
import base64
import concurrent.futures
import contextlib
import ctypes
import json
import os
import signal
import socket
import ssl
import struct
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import yaml

CLONE_NEWNET = 0x40000000
LIMIT = 1 << 20


class Call(NamedTuple):
    """One request as it arrived; NUMBER counts from 1."""

    number: int
    method: str
    path: str
    query: str

    @property
    def is_write(self) -> bool:
        """Whether it can change the cluster."""
        return self.method != "GET" and "dryRun" not in self.query and "/selfsubject" not in self.path

    def __str__(self) -> str:
        return f"{self.number:3} {self.method} {self.path}{'?' + self.query if self.query else ''}"


Match = Callable[[Call], bool]
# A fault before the call: None lets it pass, bytes are the answer in its stead. After it: None.
Deed = Callable[[Call], Awaitable[bytes | None]]


def nth(number: int) -> Match:
    """The call with that NUMBER."""
    return lambda call: call.number == number


def of(method: str, part: str) -> Match:
    """A call with METHOD whose path holds PART, and that is no rehearsal."""
    return lambda call: call.method == method and part in call.path and "dryRun" not in call.query


def anything(_: Call) -> bool:
    return True


@dataclass
class _Fault:
    match: Match
    deed: Deed
    times: float


class Hold:
    """A call that stands before the API server until `release`."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop, self._released = loop, asyncio.Event()
        self.reached: concurrent.futures.Future[Call] = concurrent.futures.Future()

    def release(self) -> None:
        self._loop.call_soon_threadsafe(self._released.set)

    async def wait(self, call: Call) -> None:
        self.reached.set_result(call)
        await self._released.wait()


class ApiProxy:
    """Made by `api_proxies`. All its methods may be called from any thread.

    CALLS in the order of their arrival; STATUSES: what the API server answered, by the call's number.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, upstream: str, tls: ssl.SSLContext | None) -> None:
        self._loop, self._tls = loop, tls
        url = urlsplit(upstream)
        self._host, self._port = url.hostname or "", url.port or (443 if tls else 80)
        self._before: list[_Fault] = []
        self._after: list[_Fault] = []
        self._streams: set[asyncio.StreamWriter] = set()
        self._clients: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._victim: concurrent.futures.Future[int] = concurrent.futures.Future()
        self.killed: concurrent.futures.Future[Call] = concurrent.futures.Future()
        self.calls: list[Call] = []
        self.statuses: dict[int, int] = {}
        self.address = ""

    def kubeconfig(self, user: Path, into: Path) -> Path:
        """USER's kubeconfig, pointed here, as the file INTO."""
        config = yaml.safe_load(user.read_text())
        for entry in config["clusters"]:
            entry["cluster"] = {"server": self.address}
        into.write_text(yaml.safe_dump(config))
        into.chmod(0o644)
        return into

    # faults

    def victim(self, pid: int) -> None:
        """Whom `kill_before` and `kill_after` mean."""
        self._victim.set_result(pid)

    def kill_before(self, match: Match) -> None:
        """kill -9 when the call has arrived; it never reaches the API server."""

        async def deed(call: Call) -> bytes | None:
            await self._kill(call)
            raise ConnectionResetError

        self._before.append(_Fault(match, deed, 1))

    def kill_after(self, match: Match) -> None:
        """kill -9 when the API server has answered; the answer is never delivered."""

        async def deed(call: Call) -> bytes | None:
            await self._kill(call)
            raise ConnectionResetError

        self._after.append(_Fault(match, deed, 1))

    def hold(self, match: Match) -> Hold:
        """The next such call waits before the API server."""
        hold = Hold(self._loop)

        async def deed(call: Call) -> None:
            await hold.wait(call)

        self._before.append(_Fault(match, deed, 1))
        return hold

    def hold_answer(self, match: Match) -> Hold:
        """The next such call reaches the API server, but its answer waits here."""
        hold = Hold(self._loop)

        async def deed(call: Call) -> None:
            await hold.wait(call)

        self._after.append(_Fault(match, deed, 1))
        return hold

    def answer(self, match: Match, status: int, *, times: float = 1) -> None:
        """STATUS in the API server's stead."""
        body = json.dumps({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": status}).encode()
        head = f"HTTP/1.1 {status} Fault\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"

        async def deed(_: Call) -> bytes:
            return head.encode() + body

        self._before.append(_Fault(match, deed, times))

    def reset(self, match: Match, *, times: float = 1) -> None:
        """The connection is reset instead of an answer; the call never reaches the API server."""

        async def deed(_: Call) -> None:
            raise ConnectionResetError

        self._before.append(_Fault(match, deed, times))

    def cut_streams(self) -> int:
        """Reset every port-forward; how many there were."""
        streams = list(self._streams)

        def cut() -> None:
            for writer in streams:
                _reset(writer)

        self._loop.call_soon_threadsafe(cut)
        return len(streams) // 2

    async def _kill(self, call: Call) -> None:
        os.kill(await asyncio.wrap_future(self._victim), signal.SIGKILL)
        self.killed.set_result(call)

    # the relay

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A client has connected."""
        task = self._loop.create_task(self._serve(reader, writer))
        self._clients[task] = writer
        task.add_done_callback(self._clients.pop)

    async def end(self) -> None:
        clients = dict(self._clients)
        for task in clients:
            task.cancel()
        if clients:
            await asyncio.wait(clients)
        for writer in clients.values():
            writer.close()  # a task that never began closed nothing

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of a client, and its own one to the API server."""
        upstream: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        try:
            while head := await _head(reader):
                body = await _body(reader, head)
                call = self._counted(head)
                instead = await self._fault(self._before, call)
                if instead is not None:
                    writer.write(instead)
                    continue
                upstream = upstream or await asyncio.open_connection(self._host, self._port, ssl=self._tls, limit=LIMIT)
                if not await self._forward(call, head + body, (reader, writer), upstream):
                    return
        except (OSError, EOFError, asyncio.IncompleteReadError):
            _reset(writer)
        finally:
            writer.close()
            if upstream:
                upstream[1].transport.abort()

    def _counted(self, head: bytes) -> Call:
        method, target, _ = head.split(b"\r\n", 1)[0].decode().split(" ", 2)
        path, _, query = target.partition("?")
        call = Call(len(self.calls) + 1, method, path, query)
        self.calls.append(call)
        return call

    async def _fault(self, faults: list[_Fault], call: Call) -> bytes | None:
        for fault in list(faults):
            if fault.match(call):
                fault.times -= 1
                if fault.times <= 0:
                    faults.remove(fault)
                return await fault.deed(call)
        return None

    async def _forward(
        self, call: Call, request: bytes, client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        upstream: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> bool:  # fmt: skip
        """Whether the client's connection is fit for another call."""
        upstream[1].write(request)
        head = await _head(upstream[0])
        if not head:
            raise ConnectionResetError
        status = self.statuses[call.number] = int(head.split(b" ", 2)[1])
        if status == 101 or "watch=true" in call.query:
            await self._fault(self._after, call)
            client[1].write(head)
            await self._splice(client, upstream, is_stream=status == 101)
            return False
        answer = head + await _body(upstream[0], head)
        await self._fault(self._after, call)
        client[1].write(answer)
        await client[1].drain()
        return True

    async def _splice(
        self, client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        upstream: tuple[asyncio.StreamReader, asyncio.StreamWriter], *, is_stream: bool,
    ) -> None:  # fmt: skip
        """Bytes both ways until either side ends. A watch's connection is not used again."""
        if is_stream:
            self._streams |= {client[1], upstream[1]}
        ways = [asyncio.create_task(_pipe(client[0], upstream[1])), asyncio.create_task(_pipe(upstream[0], client[1]))]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.wait(ways)
            self._streams -= {client[1], upstream[1]}


async def _rounds() -> None:
    """A few rounds of the loop: what was just accepted or closed is through."""
    for _ in range(5):
        await asyncio.sleep(0)


async def _head(reader: asyncio.StreamReader) -> bytes:
    """A message's first line and headers with the empty line; nothing at the end of the connection."""
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise
        return b""


async def _body(reader: asyncio.StreamReader, head: bytes) -> bytes:
    """The bytes behind HEAD as they are on the wire (RFC 9112 §6)."""
    fields = {
        name.strip().lower(): value.strip()
        for name, _, value in (line.partition(b":") for line in head.split(b"\r\n")[1:] if line)
    }
    if fields.get(b"transfer-encoding", b"").lower() == b"chunked":
        return b"".join([chunk async for chunk in _chunks(reader)])
    return await reader.readexactly(int(fields.get(b"content-length", b"0")))


async def _chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while True:
        line = await reader.readuntil(b"\r\n")
        size = int(line.split(b";")[0], 16)
        yield line + await reader.readexactly(size + 2)  # the last one is empty and without trailers
        if size == 0:
            return


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(LIMIT):
            writer.write(data)
            await writer.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    """RST, not FIN: what a broken way looks like."""
    plain: socket.socket | None = writer.get_extra_info("socket")
    if plain is not None and plain.fileno() >= 0:
        with contextlib.suppress(OSError):
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def server_of(kubeconfig: Path) -> tuple[str, ssl.SSLContext | None]:
    """The API server's address and how to trust it."""
    config = yaml.safe_load(kubeconfig.read_text())
    context = next(c["context"] for c in config["contexts"] if c["name"] == config["current-context"])
    cluster = next(c["cluster"] for c in config["clusters"] if c["name"] == context["cluster"])
    if not cluster["server"].startswith("https"):
        return cluster["server"], None
    data = cluster.get("certificate-authority-data")
    trust = base64.b64decode(data).decode() if data else None
    return cluster["server"], ssl.create_default_context(cafile=cluster.get("certificate-authority"), cadata=trust)


@contextlib.contextmanager
def api_proxies(kubeconfig: Path, count: int, *, network: int | None = None) -> Iterator[list[ApiProxy]]:
    """COUNT proxies, each with its own calls and faults. NETWORK: descriptor of the namespace in which they live."""
    made: concurrent.futures.Future[list[ApiProxy]] = concurrent.futures.Future()
    done = concurrent.futures.Future[None]()

    async def main() -> None:
        server, tls = server_of(kubeconfig)
        async with contextlib.AsyncExitStack() as stack:
            proxies = []
            for _ in range(count):
                proxy = ApiProxy(asyncio.get_running_loop(), server, tls)
                listener = await asyncio.start_server(proxy.accept, "127.0.0.1", 0, limit=LIMIT)
                stack.push_async_callback(_rounds)
                stack.push_async_callback(proxy.end)
                stack.callback(listener.close)
                stack.push_async_callback(_rounds)
                proxy.address = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
                proxies.append(proxy)
            made.set_result(proxies)
            await asyncio.wrap_future(done)

    def run() -> None:
        try:
            if network is not None and ctypes.CDLL(None, use_errno=True).setns(network, CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")  # of this thread alone
            asyncio.run(main())
        except BaseException as error:
            if made.done():
                raise
            made.set_exception(error)

    thread = threading.Thread(target=run, name="api-proxy")
    thread.start()
    try:
        yield made.result()
    finally:
        done.set_result(None)
        thread.join()
