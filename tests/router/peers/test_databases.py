"""Redis and PostgreSQL through a port that was made for HTTP, and through one that is declared raw."""

from __future__ import annotations

import contextlib
import os
import pwd
import socket
import socketserver
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import free_port, router, table, wait_for
from programs import accepts, output, program, serving


@pytest.fixture(scope="module")
def redis(tmp_path_factory) -> Iterator[str]:
    folder: Path = tmp_path_factory.mktemp("redis")
    port = free_port()
    words = [program("redis-server"), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    with serving(words, port, folder=folder) as address:
        yield address


@contextlib.contextmanager
def postgres_folder() -> Iterator[Path]:
    """PostgreSQL does not run as root, and its user must be able to reach its files."""
    with tempfile.TemporaryDirectory(prefix="ktpy-postgres-") as name:
        folder = Path(name)
        if os.getuid() == 0:
            user = pwd.getpwnam("postgres")
            os.chown(folder, user.pw_uid, user.pw_gid)
        yield folder


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    as_user = [program("runuser"), "-u", "postgres", "--"] if os.getuid() == 0 else []
    port = free_port()
    with postgres_folder() as folder:
        data = str(folder / "data")
        initdb = str(Path(program("pg_ctl")).resolve().with_name("initdb"))
        words = [*as_user, initdb, "-D", data, "-U", "shop", "--auth", "trust", "--no-sync"]
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL, timeout=60, cwd=folder)
        server = Path(initdb).with_name("postgres")
        words = [*as_user, str(server), "-D", data, "-p", str(port), "-h", "127.0.0.1", "-k", "", "-F"]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(words, stdout=log, stderr=log, cwd=folder)
        try:
            wait_for(lambda: accepts(port, process), "PostgreSQL")
            yield f"127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(20)


def psql(port: int, sql: str, stdin: bytes | None = None) -> bytes:
    url = f"postgresql://shop@127.0.0.1:{port}/postgres?connect_timeout=10"
    return output("psql", "-X", "-qAt", "-v", "ON_ERROR_STOP=1", "-d", url, "-c", sql, stdin=stdin)


def test_redis_answers(redis: str, through) -> None:
    with through(redis, raw=True) as routed:

        def cli(*words: str, stdin: bytes | None = None) -> bytes:
            return output("redis-cli", "-h", "127.0.0.1", "-p", str(routed.port), *words, stdin=stdin).strip()

        assert cli("ping") == b"PONG"
        assert cli("-x", "set", "big", stdin=b"x" * 1_000_000) == b"OK"
        assert cli("strlen", "big") == b"1000000"
        assert len(cli("get", "big")) == 1_000_000
        assert b"errors: 0, replies: 2000" in cli("--pipe", stdin=b"INCR n\r\n" * 2000)
        assert cli("get", "n") == b"2000"
        cli("flushall")


def test_postgresql_answers(postgres: str, through) -> None:
    with through(postgres, raw=True) as routed:
        assert psql(routed.port, "select 6 * 7") == b"42\n"
        psql(routed.port, "create table if not exists t (n int, s text); truncate t")
        rows = b"".join(b"%d\t%s\n" % (number, b"x" * 100) for number in range(20_000))
        psql(routed.port, "copy t from stdin", stdin=rows)
        assert psql(routed.port, "select count(*), sum(n), sum(length(s)) from t") == b"20000|199990000|2000000\n"
        assert psql(routed.port, "copy (select * from t order by n) to stdout") == rows


def test_a_port_that_is_declared_raw_serves_both(redis: str, postgres: str) -> None:
    with router(table(redis, raw=True)) as running:
        assert output("redis-cli", "-h", "127.0.0.1", "-p", str(running.port), "ping") == b"PONG\n"
    with router(table(postgres, raw=True)) as running:
        assert psql(running.port, "select 1") == b"1\n"


class Mail(socketserver.StreamRequestHandler):
    """Speaks first, as SMTP does."""

    def handle(self) -> None:
        self.wfile.write(b"220 shop ready\r\n")
        for line in self.rfile:
            self.wfile.write(b"250 " + line)
        self.wfile.write(b"221 bye\r\n")


def test_a_server_that_speaks_first(through) -> None:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Mail) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            with (
                through(f"127.0.0.1:{server.server_address[1]}", raw=True) as routed,
                socket.create_connection(("127.0.0.1", routed.port), timeout=20) as client,
                client.makefile("rb") as lines,
            ):
                assert lines.readline() == b"220 shop ready\r\n"
                client.sendall(b"EHLO me\r\n")
                assert lines.readline() == b"250 EHLO me\r\n"
                client.shutdown(socket.SHUT_WR)
                assert lines.read() == b"221 bye\r\n"
        finally:
            server.shutdown()
            thread.join()
