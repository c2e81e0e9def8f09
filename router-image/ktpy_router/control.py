"""The control process: the table's way in and the counters' way out, as HTTP on loopback.

    PUT  /routes     the whole table; answered when every living worker has it, and it is kept
    GET  /routes     the table in force
    POST /heartbeat  {"session": ID, "seconds": N}: that session lives for N seconds from now at least; answered with
                     the counters of its rows. Rows of one that has said so, is silent for ten minutes more, and whose
                     upstream takes no connection, are passed over until it says so again
    GET  /stats      counters, summed over the workers, and the workers themselves; ?format=prometheus for the text
    GET  /metrics    the same for Prometheus
    GET  /healthz    200 while this process lives
    GET  /readyz     200 when every worker has the table and has reached the originals, else 503 and why not;
                     ?wait=4 answers as soon as it is so, and after 4 s in any case: a probe that asks once a second
                     would tell of it half a second late
    POST /drain      serve on, but ask every client to go

Kubelet and Prometheus do not reach loopback: --health-port opens the three that change nothing (healthz, readyz,
metrics) to all.

Nobody logs in: it is the pod's loopback, which `kubectl port-forward` and the pod's own containers reach. A browser is
kept out by its Host and Origin headers, so that no web page can use a developer's port-forward.
"""

from __future__ import annotations

import asyncio
import re
import signal
import socket
from collections.abc import Mapping
from typing import Any

import tornado.httpserver
import tornado.web

from ktpy_router import launch, stats, store
from ktpy_router.desk import Desk, Refused
from ktpy_router.leases import BadHeartbeat, heartbeat
from ktpy_router.settings import Settings
from ktpy_router.table import BadTable, Table

MOST_BYTES = 1024 * 1024
READ_BYTES = 8 * MOST_BYTES  # so much is read to be able to answer that it is too much
IDLE_SECONDS = 60.0
BODY_SECONDS = 10.0
MOST_WAIT_SECONDS = 10.0

_LOOPBACK = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:[0-9]{1,5})?", re.IGNORECASE)


def is_local(host: str, origin: str | None) -> bool:
    """Whether a request is for loopback, and no web page's: a page's name may resolve to 127.0.0.1 (DNS rebinding)."""
    return _LOOPBACK.fullmatch(host) is not None and origin is None


class Handler(tornado.web.RequestHandler):
    """One answer. Errors are one sentence of plain text."""

    def initialize(self, desk: Desk, local: bool) -> None:
        self.desk = desk
        self.local = local

    def prepare(self) -> None:
        if self.local and not is_local(self.request.headers.get("Host", ""), self.request.headers.get("Origin")):
            self.say(403, "This port answers programs that ask for localhost or 127.0.0.1, and no web pages.")
            self.finish()

    def set_default_headers(self) -> None:
        self.set_header("Server", "ktpy_router")
        self.set_header("X-Content-Type-Options", "nosniff")

    def say(self, status: int, sentence: str) -> None:
        self.set_status(status)
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.write(sentence + "\n")

    def write_error(self, status_code: int, **_: Any) -> None:
        self.say(status_code, f"{self.request.method} {self.request.path}: {self._reason}.")


class Routes(Handler):
    def get(self) -> None:
        self.set_header("Content-Type", "application/json")
        self.write(self.desk.table.to_json())

    async def put(self) -> None:
        try:
            if len(self.request.body) > MOST_BYTES:
                raise Refused(413, f"A table has {MOST_BYTES} bytes at most, and this one {len(self.request.body)}.")
            done = await self.desk.push(Table.from_json(self.request.body))
        except BadTable as error:
            self.say(400, str(error))
        except Refused as error:
            self.say(error.status, str(error))
        else:
            self.write({"version": self.desk.table.version, "workers": len(self.desk.hub.peers), "said": done})


class Stats(Handler):
    async def get(self) -> None:
        reports = await self.desk.reports()
        table, hub = self.desk.table, self.desk.hub
        if self.get_argument("format", "") == "prometheus" or self.request.path == "/metrics":
            self.set_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.write(stats.prometheus(reports, {row.id: row.mark for row in table.rows}, table.version))
        else:
            workers = [{**peer._asdict(), "answered": peer.worker in reports} for peer in sorted(hub.peers.values())]
            facts = {"version": table.version, "workers": workers, "passed_over": sorted(self.desk.passed_over)}
            self.write({**facts, **stats.merge(reports.values())})


class Heartbeat(Handler):
    async def post(self) -> None:
        try:
            beat = heartbeat(self.request.body)
        except BadHeartbeat as error:
            self.say(400, str(error))
        else:
            self.write({"version": self.desk.table.version, "rows": await self.desk.hear(beat)})


class Health(Handler):
    def get(self) -> None:
        self.say(200, "alive")


class Ready(Handler):
    async def get(self) -> None:
        try:
            wait = float(self.get_argument("wait", "0"))
        except ValueError:
            raise tornado.web.HTTPError(400, reason="wait is a number of seconds") from None
        why = await self.desk.not_ready_after(max(0.0, min(wait, MOST_WAIT_SECONDS)))
        self.say(503 if why else 200, why or "ready")


class Drain(Handler):
    def post(self) -> None:
        self.desk.drain()
        self.say(200, "Clients are asked to go.")


class Nothing(Handler):
    def prepare(self) -> None:
        self.say(404, f"There is no {self.request.path}.")
        self.finish()


OPEN: dict[str, type[Handler]] = {"/healthz": Health, "/readyz": Ready, "/metrics": Stats}
LOCAL: dict[str, type[Handler]] = {"/routes": Routes, "/heartbeat": Heartbeat, "/stats": Stats, "/drain": Drain}


def run(settings: Settings, first: Table, wish: launch.Wish, sockets: launch.Sockets) -> int:
    """The process: until SIGTERM. It can die at any time, since workers serve without it and know the table."""
    asyncio.run(_serve(settings, first, wish, sockets))
    return 0


async def _serve(settings: Settings, first: Table, wish: launch.Wish, sockets: launch.Sockets) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGINT, lambda: None)  # a terminal's; PID 1 decides
    desk = Desk(settings, store.at_start(settings.store, first, warn=launch.say), wish)
    await loop.create_unix_server(desk.hub.protocol, sock=sockets.channel)
    _listen(sockets.control, desk, {**OPEN, **LOCAL}, local=True)
    if sockets.health:
        _listen(sockets.health, desk, OPEN, local=False)
    looking = loop.create_task(desk.look_after_rows())
    await stop.wait()
    looking.cancel()


def _listen(bound: socket.socket, desk: Desk, kinds: Mapping[str, type[Handler]], *, local: bool) -> None:
    app = tornado.web.Application(
        [(path, kind, {"desk": desk, "local": local}) for path, kind in kinds.items()],
        default_handler_class=Nothing,
        default_handler_args={"desk": desk, "local": local},
        log_function=lambda _: None,
    )
    server = tornado.httpserver.HTTPServer(
        app, max_body_size=READ_BYTES, idle_connection_timeout=IDLE_SECONDS, body_timeout=BODY_SECONDS
    )
    bound.setblocking(False)
    server.add_socket(bound)
