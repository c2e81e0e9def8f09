"""Starts a real router for tests: from this interpreter's packages, or from the built image when KTPY_ROUTER=image.

    from harness import origin, router, table          # conftest.py beside this file puts it on the path

    def test_a_row_takes_its_requests():
        with origin(b"original") as default, origin(b"mine") as mine:
            with router(table(default, rows=[row("ana", mine)])) as running:
                assert fetch(running.port, headers={"version": "ana"}).body == b"mine"
                running.put(running.table(version=2, rows=[]))      # a new table; PUT answers when all workers have it
                running.control("GET", "/stats").json()

`router(table, workers=2, flags=("--drain-seconds", "3"), ready=False)` takes further flags of `python -m ktpy_router`;
`running.port` is the table's first listening port, `.ports` all of them, `.pid` PID 1's, `.workers()` the workers' pids
by number, `.helper("control")` the control process's, `.signal(SIGTERM)`, `.wait()` the exit code, `.log()` what it
wrote. Leaving the block ends it, by pid. `wait_for(condition)` is the one way to wait: it has a deadline.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from processes import descendants, pid_inside, title

ROOT = Path(__file__).parents[2]
IN_IMAGE = os.environ.get("KTPY_ROUTER") == "image"
SECONDS = 20.0

T = TypeVar("T")


class Answer(NamedTuple):
    """An HTTP answer, read whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def wait_for(condition: Callable[[], T], what: str = "the condition", seconds: float = SECONDS) -> T:
    """The first true value of CONDITION; an OSError or HTTP error of it counts as not yet."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while True:
        seen: object = None
        try:
            if found := condition():
                return found
        except (OSError, http.client.HTTPException) as error:
            seen = error
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} was not there within {seconds:g} s ({seen!r})")
        pause.wait(0.01)


def free_port() -> int:
    """A port that nothing listens on, and that no outgoing connection is given: those start at 32768."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def fetch(
    port: int,
    path: str = "/",
    *,
    method: str = "GET",
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    seconds: float = SECONDS,
) -> Answer:
    """One request on a connection of its own."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)) as connection:
        connection.request(method, path, body, dict(headers or {}))
        answer = connection.getresponse()
        return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())


@contextlib.contextmanager
def origin(body: bytes = b"original", *, hold: threading.Event | None = None) -> Iterator[str]:
    """An HTTP/1.1 server that answers everything with BODY (/slow when HOLD is set); gives its address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            if self.path == "/slow" and hold:
                hold.wait(SECONDS)
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_PUT = do_GET

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """A client that went away is part of many tests."""

    with Server(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def row(mark: str, to: str, *, listen: int | None = None, header: str = "version", **more: Any) -> dict[str, Any]:
    """A row for `HEADER: MARK`; without LISTEN `table` fills in its first port."""
    match = [{"in": "header", "name": header, "exact": mark}]
    return {"id": mark, "mark": mark, "owner": "test", "since": 1, "match": match, "to": {str(listen or 0): to}} | more


def table(
    default: str, rows: Sequence[dict[str, Any]] = (), *, listen: int | None = None, raw: bool = False, version: int = 1
) -> dict[str, Any]:
    """A table of one port, a free one unless LISTEN says which."""
    listen = listen or free_port()
    made = [one | {"to": {str(listen) if port == "0" else port: to for port, to in one["to"].items()}} for one in rows]
    ports = [{"listen": listen, "default": default, "raw": raw}]
    return {"format": 1, "version": version, "ports": ports, "rows": made}


class Router:
    """A running router."""

    def __init__(
        self, process: subprocess.Popen[bytes], first: dict[str, Any], control_port: int, folder: Path
    ) -> None:
        self.process = process
        self.first = first
        self.ports: tuple[int, ...] = tuple(port["listen"] for port in first["ports"])
        self.port = self.ports[0]
        self.control_port = control_port
        self.folder = folder
        self.state = folder / "run" / "routes.json"

    @property
    def pid(self) -> int:
        """Of PID 1; in the image's case as this machine numbers it."""
        inside = (pid for pid in descendants(self.process.pid) if title(pid) == "main")
        return self.process.pid if title(self.process.pid) == "main" else next(inside)

    def table(self, **changed: Any) -> dict[str, Any]:
        """The first table with other values; rows may leave their listening port to us."""
        made = table(self.first["ports"][0]["default"], changed.pop("rows", self.first["rows"]), listen=self.port)
        return made | {"ports": self.first["ports"]} | changed

    def control(self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None) -> Answer:
        """Ask the control port; BODY is sent as JSON unless it is bytes."""
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        return fetch(self.control_port, path, method=method, body=data, headers=headers)

    def put(self, changed: dict[str, Any]) -> Answer:
        """Push a table that must be taken."""
        answer = self.control("PUT", "/routes", changed)
        assert answer.status == 200, answer
        return answer

    def is_ready(self) -> bool:
        return self.control("GET", "/readyz").status == 200

    def workers(self) -> dict[int, int]:
        """Pid by number."""
        told = {worker["worker"]: worker["pid"] for worker in self.control("GET", "/stats").json()["workers"]}
        here = {pid_inside(pid): pid for pid in descendants(self.pid)}
        return {number: here[pid] for number, pid in told.items() if pid in here}

    def helper(self, name: str) -> int:
        """The pid of the process that the router calls NAME: control, inspect, worker0 …"""
        return wait_for(lambda: next((p for p in descendants(self.pid) if title(p) == name), 0), f"process {name}")

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def wait(self, seconds: float = SECONDS) -> int:
        """Its exit code."""
        return self.process.wait(seconds)

    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def kilobytes(self, pid: int, what: str = "Pss") -> int:
        """Of /proc/PID/smaps_rollup: Rss, Pss …"""
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(f"{what}:"))


@contextlib.contextmanager
def router(
    routes: dict[str, Any],
    *,
    workers: int = 1,
    flags: Sequence[str] = (),
    options: Sequence[str] = (),
    ready: bool = True,
    folder: Path | None = None,
    in_image: bool = IN_IMAGE,
) -> Iterator[Router]:
    """A router with that table, OPTIONS being mitmproxy's own. FOLDER keeps its state beyond the block."""
    with contextlib.ExitStack() as stack:
        folder = folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ktpy-router-")))
        (folder / "routes.json").write_text(json.dumps(routes))
        control_port = free_port()
        (folder / "run").mkdir(exist_ok=True)
        words = ["--workers", str(workers), "--control-port", str(control_port), "--bind", "127.0.0.1"]
        words += ["--inspect-port", str(free_port()), "--inspect-web-port", str(free_port()), *flags]
        started = stack.enter_context(_started(folder, words, options, in_image))
        running = Router(started, routes, control_port, folder)
        try:
            if ready:
                wait_for(lambda: still_runs(started) and running.is_ready(), "readiness")
            yield running
        finally:
            log = running.log()
            if log and sys.exc_info()[0]:
                print(log, file=sys.stderr)


@contextlib.contextmanager
def _started(
    folder: Path, words: Sequence[str], options: Sequence[str], in_image: bool
) -> Iterator[subprocess.Popen[bytes]]:
    if in_image:
        from container import container  # beside this file

        command, end = container(folder, words, options)
    else:
        files = ["--table", str(folder / "routes.json"), "--run-dir", str(folder / "run")]
        command = [sys.executable, "-m", "ktpy_router", *files, *words]
        command += ["--", *options] if options else []
        end = None
    path = os.pathsep.join(filter(None, (str(ROOT / "router-image"), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": path}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)
    try:
        yield process
    finally:
        if end:
            end()
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """PID 1 first; its children are made to end with it, and are looked after all the same."""
    children = descendants(process.pid)
    process.kill()
    process.wait()
    for pid in children:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def still_runs(process: subprocess.Popen[bytes]) -> bool:
    """True, or the end of waiting."""
    assert process.poll() is None, f"the router ended with {process.returncode}"
    return True
