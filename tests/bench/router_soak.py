"""The router's bench, what takes long: upstreams that fail, changes of routes, idle and slow clients, a late answer."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import uvloop

from tests.bench.router_open import Asked, OpenLoop, Origin, one_request
from tests.bench.router_rivals import BIG, LOAD_CORE, PROXY_CORE, ROOT, Bench, pin, router, row, table

Figures = dict[str, Any]
OUTAGES = ("refuses", "swallows", "closes")


def latencies(asked: list[Asked]) -> Figures:
    """In milliseconds."""
    took = sorted(one.took * 1e3 for one in asked)
    if len(took) < 2:
        return {"requests": len(took)}
    cut = statistics.quantiles(took, n=1000)
    return {"requests": len(took), "p50": cut[499], "p99": cut[989], "max": took[-1]}


@contextlib.contextmanager
def running(default: str, upstream: str, **flags: Any) -> Any:
    with router(table(default, [row("ana", upstream)]), **flags) as made:
        pin(made.pid, PROXY_CORE)
        yield made


async def outage(way: str, per_second: int, seconds: float) -> Figures:
    """Up for a sixth of the time, down for two thirds, up again. Every tenth request has a body of 64 KiB."""
    original, mine = Origin(b"original"), Origin(b"mine")
    await original.up()
    await mine.up()
    with running(original.address, mine.address) as made:
        load = OpenLoop(made.port, b"version: ana\r\n", per_second)
        task = asyncio.create_task(load.run(seconds))
        await asyncio.sleep(seconds / 6)
        down_at = time.perf_counter()
        await mine.down(way)
        await asyncio.sleep(seconds * 2 / 3)
        up_at = time.perf_counter()
        await mine.up()
        asked = await task
    await original.down("refuses")
    await mine.down("refuses")
    during = [one for one in asked if down_at <= one.at < up_at]
    back = min((one.at + one.took - up_at for one in asked if one.at >= up_at and one.who == b"mine"), default=None)
    return {
        "errors": [one.error for one in asked if one.error][:10],
        "failed": sum(bool(one.error) for one in asked),
        "failed of those under way when it went down": sum(
            bool(one.error) and one.at < down_at < one.at + one.took for one in asked
        ),
        "before": latencies([one for one in asked if one.at < down_at]),
        "first second of the outage": latencies([one for one in during if one.at < down_at + 1]),
        "first two seconds of the outage": latencies([one for one in during if one.at < down_at + 2]),
        "rest of the outage": latencies([one for one in during if one.at >= down_at + 2]),
        "slower than 10 ms in the outage": sum(one.took > 0.010 for one in during),
        "back after seconds": back,
    }


async def outages(made: Bench) -> Figures:
    return {way: await outage(way, 200, 30.0) for way in OUTAGES}


async def pushed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, table: bytes) -> float:
    """When the control port had answered, by time.perf_counter."""
    head = b"PUT /routes HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(table)
    writer.write(head + table)
    answer = await reader.readuntil(b"\r\n\r\n")
    await reader.readexactly(int(answer.lower().split(b"content-length:")[1].split(b"\r\n")[0]))
    assert answer.startswith(b"HTTP/1.1 200 "), answer
    return time.perf_counter()


async def routes(made: Bench, changes: int = 1000) -> Figures:
    """Load on 16 connections; each change must be seen by a connection that was open before.

    That one asks again as soon as it has its answer. What a question and its answer take is part of what is seen, and
    told beside it: the load, the origins and who asks share a core. Who pushes has a connection, too.
    """
    original, one, other = Origin(b"original"), Origin(b"one"), Origin(b"other")
    for origin in (original, one, other):
        await origin.up()
    seen: list[float] = []
    acked: list[float] = []
    asking: list[float] = []
    failed: list[str] = []
    with running(original.address, one.address) as started:
        load = OpenLoop(started.port, b"version: ana\r\n", 200)
        task = asyncio.create_task(load.run(3600))
        ends = await asyncio.open_connection("127.0.0.1", started.port)
        control = await asyncio.open_connection("127.0.0.1", started.control_port)
        for number in range(changes):
            target = one if number % 2 else other
            changed = json.dumps(started.table(version=number + 2, rows=[row("ana", target.address)])).encode()
            begun, who = time.perf_counter(), b""
            putting = asyncio.create_task(pushed(*control, changed))
            while who != target.name:
                asked = time.perf_counter()
                assert asked - begun < 20, "the change was not seen"
                status, who = await one_request(*ends, b"version: ana\r\n")
                asking.append(time.perf_counter() - asked)
                if status != 200 or ends[1].is_closing():
                    failed.append(f"{status} {who.decode()}")
                    ends = await asyncio.open_connection("127.0.0.1", started.port)
            seen.append(time.perf_counter() - begun)
            acked.append(await putting - begun)
        load.stop()
        asked_all = await task
        ends[1].close()
        control[1].close()
    for origin in (original, one, other):
        await origin.down("refuses")
    return {
        "changes": changes,
        "requests": len(asked_all),
        "failed": sum(bool(a.error) for a in asked_all) + len(failed),
        "errors": ([a.error for a in asked_all if a.error] + failed)[:10],
        "seen after ms, from the start of the PUT": spread(seen),
        "PUT answered after ms: all workers have it, and it is kept": spread(acked),
        "a question and its answer, ms": spread(asking),
        "load": latencies(asked_all),
    }


def spread(seconds: list[float]) -> Figures:
    cut = statistics.quantiles(seconds, n=100)
    return {"p50": cut[49] * 1e3, "p99": cut[98] * 1e3, "max": max(seconds) * 1e3}


async def paced(port: int, seconds: float, per_second: int = 400) -> Figures:
    words = ["taskset", "-c", str(LOAD_CORE), sys.executable, "-m", "tests.bench.router_peer", "paced", str(port)]
    done = await asyncio.create_subprocess_exec(
        *words, str(seconds), str(per_second), "4", stdout=subprocess.PIPE, cwd=ROOT
    )
    out, _ = await done.communicate()
    return json.loads(out) if done.returncode == 0 else {"failed": done.returncode}


async def idle(made: Bench, count: int = 10_000) -> Figures:
    """Each asked once and stays. Memory of the worker over what it was, when upstream connections are given back."""
    with running(f"127.0.0.1:{made.origins()['http']}", "127.0.0.1:1") as started:
        (worker,) = started.workers().values()
        alone = await paced(started.port, 5)
        before = started.kilobytes(worker)
        clients = []
        for _ in range(count):
            clients.append(await asyncio.open_connection("127.0.0.1", started.port))
            await one_request(*clients[-1])
        at_once = started.kilobytes(worker)
        await asyncio.sleep(8)
        after = started.kilobytes(worker)
        with_them = await paced(started.port, 5)
        for _, writer in clients:
            writer.transport.abort()
    return {
        "connections": count,
        "KB per connection": (after - before) / count,
        "KB per connection while each keeps its upstream connection": (at_once - before) / count,
        "worker KB before": before,
        "others' p99 ms alone": alone.get("p99"),
        "others' p99 ms with them": with_them.get("p99"),
    }


async def slow(made: Bench, count: int = 20, seconds: float = 20.0) -> Figures:
    """They ask for 100 MB and read a byte a second."""
    loop = asyncio.get_running_loop()
    with running(f"127.0.0.1:{made.origins()['http']}", "127.0.0.1:1") as started:
        (worker,) = started.workers().values()
        alone = await paced(started.port, 5)
        before = started.kilobytes(worker)
        readers = []
        for _ in range(count):
            s = socket.socket()
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            s.setblocking(False)
            await loop.sock_connect(s, ("127.0.0.1", started.port))
            await loop.sock_sendall(s, b"GET /big HTTP/1.1\r\nHost: shop\r\n\r\n")
            readers.append(s)
        others = asyncio.create_task(paced(started.port, seconds))
        most = before
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            for s in readers:
                await loop.sock_recv(s, 1)
            most = max(most, started.kilobytes(worker))
            await asyncio.sleep(1)
        with_them = await others
        for s in readers:
            s.close()
    return {
        "readers": count,
        "of bytes": BIG,
        "KB per reader at most": (most - before) / count,
        "others' p99 ms alone": alone.get("p99"),
        "others' p99 ms with them": with_them.get("p99"),
    }


async def long(minutes: float) -> Figures:
    """An answer that comes when a debugger lets it; others go on."""
    late = Origin(b"late")
    await late.up()
    late.delay = minutes * 60
    quick = Origin(b"quick")
    await quick.up()
    with running(quick.address, late.address) as started:
        reader, writer = await asyncio.open_connection("127.0.0.1", started.port)
        begun = time.perf_counter()
        asking = asyncio.create_task(one_request(reader, writer, b"version: ana\r\n"))
        load = OpenLoop(started.port, b"", 50)
        task = asyncio.create_task(load.run(86_400))
        status, who = await asking
        took = time.perf_counter() - begun
        load.stop()
        asked = await task
        writer.close()
    await late.down("refuses")
    await quick.down("refuses")
    failed = sum(bool(one.error) for one in asked)
    return {"after seconds": took, "answer": f"{status} {who.decode()}", "others": latencies(asked), "failed": failed}


def soak(made: Bench, wanted: str, minutes: float) -> Figures:
    """WANTED is `all` or names with commas."""
    parts: dict[str, Callable[[], Awaitable[Figures]]] = {
        "outages": lambda: outages(made),
        "routes": lambda: routes(made),
        "idle": lambda: idle(made),
        "slow": lambda: slow(made),
        "long": lambda: long(minutes),
    }
    names = list(parts) if wanted == "all" else wanted.split(",")
    figures: Figures = {}
    os.sched_setaffinity(0, {LOAD_CORE})
    for name in names:
        print(f"  {name} …", file=sys.stderr)
        figures[name] = uvloop.run(_awaited(parts[name]))
        print(json.dumps({name: figures[name]}, indent=1))
    return figures


async def _awaited(part: Callable[[], Awaitable[Figures]]) -> Figures:
    return await part()
