"""Programs of Debian packages that judge the router, and servers that run while a test does."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from harness import wait_for

HERE = Path(__file__).parent
POSTGRES = "/usr/lib/postgresql"
PACKAGES = {
    "curl": "curl",
    "h2load": "nghttp2-client",
    "nginx": "nginx-light",
    "pg_ctl": "postgresql",
    "psql": "postgresql",
    "redis-cli": "redis-server",
    "redis-server": "redis-server",
    "runuser": "util-linux",
    "wrk": "wrk",
}
SECONDS = 60.0


def program(name: str) -> str:
    """Its path. A judge that is not there fails the test: a skipped one would look like a passed one."""
    folders = [os.environ.get("PATH", ""), "/usr/sbin", *map(str, sorted(Path(POSTGRES).glob("*/bin"), reverse=True))]
    found = shutil.which(name, path=os.pathsep.join(folders))
    assert found, f"{name} is not installed: `apt-get install {PACKAGES[name]}` brings it (Debian)."
    return found


def output(*words: str, stdin: bytes | None = None, seconds: float = SECONDS) -> bytes:
    """What a program prints. It must end well."""
    ran = subprocess.run([program(words[0]), *words[1:]], input=stdin, capture_output=True, timeout=seconds)
    assert ran.returncode == 0, (words, ran.returncode, ran.stderr[-2000:])
    return ran.stdout


@contextlib.contextmanager
def serving(words: Sequence[str], port: int, *, folder: Path) -> Iterator[str]:
    """A server that runs meanwhile; gives its address when it accepts."""
    with (folder / f"log-{port}").open("wb") as log:
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=HERE)
    try:
        wait_for(lambda: accepts(port, process), f"{words[0]} on port {port}")
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def accepts(port: int, process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None, f"{process.args!r} ended with {process.returncode}"
    with socket.create_connection(("127.0.0.1", port), timeout=1):
        return True


@contextlib.contextmanager
def hypercorn(port: int, folder: Path) -> Iterator[str]:
    """app.py, by HTTP/1.1 and by HTTP/2 without TLS."""
    words = [sys.executable, "-m", "hypercorn", "--bind", f"127.0.0.1:{port}", "--log-level", "warning", "app:app"]
    with serving(words, port, folder=folder) as address:
        yield address


@contextlib.contextmanager
def nginx(port: int, folder: Path, body: bytes, *, h2: bool = False) -> Iterator[str]:
    """Files of FOLDER/www; `/` is BODY. By HTTP/2 without sendfile: with it nginx sends head and body apart, and one
    stream alone then waits for a delayed acknowledgement, with a router or without."""
    www = folder / f"www-{port}"
    www.mkdir(exist_ok=True)
    (www / "index.html").write_bytes(body)
    folder.chmod(0o755)
    (folder / f"nginx-{port}.conf").write_text(
        f"""
        daemon off; pid {folder}/nginx-{port}.pid; error_log stderr; worker_processes 1; user root;
        events {{ worker_connections 4096; }}
        http {{
            access_log off; sendfile {"off" if h2 else "on"}; keepalive_requests 1000000; include /etc/nginx/mime.types;
            http2_max_concurrent_streams 256;
            client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f;
            uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
            server {{ listen 127.0.0.1:{port} {"http2" if h2 else ""} backlog=4096; root {www}; }}
        }}"""
    )
    words = [program("nginx"), "-c", str(folder / f"nginx-{port}.conf"), "-p", str(folder)]
    with serving(words, port, folder=folder) as address:
        yield address
