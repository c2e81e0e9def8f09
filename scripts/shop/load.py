"""Sends requests from inside the cluster and tells who answered each of them.

    load.py URL --count 1000 [--at-once 16]       so many, each on a new connection
    load.py URL --rate 200 --seconds 10           new connections at a steady pace
    load.py URL --keep 20 --seconds 10            so many kept connections, a request on each every 0.1 s
    load.py URL URL … --rate 50 --seconds 10      to each of them in turn; with --keep too
    load.py URL --echo 100000000 [--half-close]   so many random bytes there and back, compared

--until-told instead of --seconds: until stdin ends. --http 1.0, and --close client (who closes first), for --count.
--header 'version: ana': sent with each request.
The last line is JSON: {"answers": {"<service>@<host>": n}, "failed": {"<reason>": n}, "first_failure": …, "slowest": s}
With --each a line per answer before it: seconds since 1970 when it began, who, and the seconds it took.
A status that is no success is a failure, with its number for a reason.
"""

import argparse
import asyncio
import collections
import hashlib
import itertools
import json
import random
import re
import sys
import threading
import time
import typing
from urllib.parse import urlsplit

CHUNK = 65536


class Place(typing.NamedTuple):
    host: str
    port: int
    path: str

    @classmethod
    def of(cls, url):
        where = urlsplit(url)
        query = f"?{where.query}" if where.query else ""
        return cls(where.hostname, where.port or 80, (where.path or "/") + query)


class Refused(ValueError):
    """The status, and the router's reason where it was that."""


class Load:
    def __init__(self, chosen):
        self.places = [Place.of(url) for url in chosen.url]
        self.place = self.places[0]
        self.timeout, self.version, self.each = chosen.timeout, chosen.http, chosen.each
        self.client_closes = chosen.close == "client"
        self.headers = "".join(f"{header}\r\n" for header in chosen.header)
        self.asked_to_reopen = set()
        self.answers, self.failed = collections.Counter(), collections.Counter()
        self.first_failure, self.slowest = None, 0.0
        self.told = asyncio.Event()

    async def once(self, place, streams=None):
        started = time.time()
        try:
            who = await asyncio.wait_for(self.ask(place, streams), self.timeout)
            self.answers[who] += 1
            self.slowest = max(self.slowest, time.time() - started)
            if self.each:
                print(f"{started:.4f} {who} {time.time() - started:.4f}", flush=True)
        except (OSError, ValueError, EOFError, TimeoutError) as error:
            reason = error.args[0] if isinstance(error, Refused) else type(error).__name__
            self.failed[reason] += 1
            self.first_failure = self.first_failure or [started, reason, str(error), place.host]
            if self.each:
                print(f"{started:.4f} !{reason} {time.time() - started:.4f}", flush=True)
            return False
        return True

    async def ask(self, place, streams):
        reader, writer = streams or await asyncio.open_connection(place.host, place.port)
        try:
            close = "" if streams or self.client_closes else "Connection: close\r\n"
            writer.write(
                f"GET {place.path} HTTP/{self.version}\r\nHost: {place.host}\r\n{self.headers}{close}\r\n".encode()
            )
            head = await reader.readuntil(b"\r\n\r\n")
            length = body_length(head)
            body = await reader.readexactly(length)
            if not streams and not self.client_closes and await reader.read():
                raise ValueError("bytes after the answer")
            if b" 200 " not in head[:13]:
                reason = re.search(rb"\r\nktpy-router: ([^\r]*)", head)
                raise Refused(head.split(b" ")[1].decode(), reason[1].decode() if reason else "")
            told = json.loads(body)
            if b"\r\nconnection: close\r\n" in head.lower():
                self.asked_to_reopen.add(writer)
            return f"{told['service']}@{told['host']}"
        finally:
            if not streams:
                self.asked_to_reopen.discard(writer)
                writer.close()

    async def count(self, number, at_once):
        places = asyncio.Semaphore(at_once)

        async def one():
            async with places:
                await self.once(self.place)

        await asyncio.gather(*(one() for _ in range(number)))

    async def pace(self, rate, seconds):
        started, running, number = time.monotonic(), set(), 0
        while number < rate * seconds and not self.told.is_set():
            await asyncio.sleep(max(0.0, started + number / rate - time.monotonic()))
            task = asyncio.create_task(self.once(self.places[number % len(self.places)]))
            running.add(task)
            task.add_done_callback(running.discard)
            number += 1
        await asyncio.gather(*running)

    async def keep(self, number, seconds):
        until = time.monotonic() + seconds

        async def one(place):
            streams = await asyncio.open_connection(place.host, place.port)
            while time.monotonic() < until and not self.told.is_set() and await self.once(place, streams):
                if streams[1] in self.asked_to_reopen:  # by the server: no failure
                    self.asked_to_reopen.discard(streams[1])
                    streams[1].close()
                    streams = await asyncio.open_connection(place.host, place.port)
                await asyncio.sleep(0.1)
            streams[1].close()

        await asyncio.gather(*(one(place) for place in itertools.islice(itertools.cycle(self.places), number)))

    async def echo(self, length, half_close):
        """LENGTH random bytes to /echo, or after the line `echo` with our FIN before their last byte came back."""
        host, port, _ = self.place
        reader, writer = await asyncio.open_connection(host, port)
        sent, came = hashlib.sha256(), hashlib.sha256()
        head = f"POST /echo HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
        writer.write(b"echo\n" if half_close else head.encode())

        async def send():
            left = length
            while left:
                data = random.randbytes(min(CHUNK, left))
                left -= len(data)
                sent.update(data)
                writer.write(data)
                await writer.drain()
            if half_close:
                writer.write_eof()

        sending = asyncio.create_task(send())
        left = length if half_close else body_length(await reader.readuntil(b"\r\n\r\n"))
        while data := await reader.read(CHUNK):
            came.update(data)
            left -= len(data)
        await sending
        writer.close()
        self.answers["same@" if not left and sent.digest() == came.digest() else "different@"] += 1

    def listen_to_stdin(self, loop):
        def wait():
            sys.stdin.read()
            loop.call_soon_threadsafe(self.told.set)

        threading.Thread(target=wait, daemon=True).start()


def body_length(head):
    return next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length"))


def words():
    parser = argparse.ArgumentParser()
    parser.add_argument("url", nargs="+")
    parser.add_argument("--count", type=int)
    parser.add_argument("--at-once", type=int, default=16)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--keep", type=int)
    parser.add_argument("--echo", type=int)
    parser.add_argument("--half-close", action="store_true")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--until-told", action="store_true")
    parser.add_argument("--timeout", type=float, default=3)
    parser.add_argument("--http", default="1.1")
    parser.add_argument("--close", choices=["server", "client"], default="server")
    parser.add_argument("--each", action="store_true")
    parser.add_argument("--header", action="append", default=[])
    return parser.parse_args()


async def main():
    chosen = words()
    load = Load(chosen)
    if chosen.until_told:
        chosen.seconds = float("inf")
        load.listen_to_stdin(asyncio.get_running_loop())
    if chosen.count:
        await load.count(chosen.count, chosen.at_once)
    elif chosen.keep:
        await load.keep(chosen.keep, chosen.seconds)
    elif chosen.echo:
        await load.echo(chosen.echo, chosen.half_close)
    else:
        await load.pace(chosen.rate or 1, chosen.seconds)
    result = {
        "answers": load.answers,
        "failed": load.failed,
        "first_failure": load.first_failure,
        "slowest": load.slowest,
    }
    print(json.dumps(result), flush=True)


asyncio.run(main())
