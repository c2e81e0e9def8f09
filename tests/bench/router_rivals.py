"""The router's bench: origins, and the proxies that are compared, each pinned to one core with all its threads."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests" / "router"), str(ROOT / "tests" / "router" / "peers"), str(ROOT / "router-image")]

from harness import free_port, router, row, table, wait_for  # noqa: E402
from programs import accepts, program  # noqa: E402

PROXY_CORE, LOAD_CORE = 0, (1 if (os.cpu_count() or 1) > 1 else 0)
MARK = ("version", "ana")
BODY = "x" * 1024
BIG = 100_000_000


@dataclass
class Rival:
    """A proxy under load; `ports` by what is spoken: http, h2, ws, sink, tcp."""

    name: str
    pid: int
    ports: dict[str, int]

    def cpu_seconds(self) -> float:
        """Of its whole process tree so far."""
        ticks = 0
        for pid in tree(self.pid):
            with contextlib.suppress(OSError):
                after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                ticks += int(after_name[11]) + int(after_name[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def resident_kilobytes(self) -> int:
        found = 0
        for pid in tree(self.pid):
            with contextlib.suppress(OSError):
                lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
                found += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
        return found


def tree(pid: int) -> list[int]:
    found = [pid]
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += tree(int(child))
    return found


def pin(pid: int, core: int) -> None:
    for one in tree(pid):
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{one}/task").iterdir():
                os.sched_setaffinity(int(task.name), {core})


def on_load_core(*words: str) -> list[str]:
    return ["taskset", "-c", str(LOAD_CORE), *words]


def raise_limits() -> None:
    """Open files, for 10,000 connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 65536)), hard))


@dataclass
class Bench:
    """Starts origins and proxies, and ends them, by pid."""

    folder: Path
    stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def start(self, words: list[str], port: int, core: int, name: str) -> int:
        log = self.stack.enter_context((self.folder / f"{name}.log").open("wb"))
        command = ["taskset", "-c", str(core), *words]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=ROOT)
        self.stack.callback(_end, process)
        try:
            wait_for(lambda: accepts(port, process), f"{name} on port {port}", 30)
        except AssertionError as failed:
            raise SystemExit(f"{failed}\n{Path(log.name).read_text(errors='replace')[-2000:]}") from None
        return process.pid

    def file(self, name: str, text: str) -> str:
        (self.folder / name).write_text(textwrap.dedent(text))
        return str(self.folder / name)

    def nginx(self, name: str, core: int, port: int, http: str, *, connections: int = 20_000) -> int:
        temporary = " ".join(
            f"{kind}_temp_path {self.folder}/{name}-{kind};"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        text = f"""
        daemon off; worker_processes 1; worker_rlimit_nofile 65536; user root; pid {self.folder}/{name}.pid;
        error_log stderr crit;
        events {{ worker_connections {connections}; }}
        http {{ access_log off; {temporary} keepalive_requests 100000000; keepalive_timeout 600s; {http} }}
        """
        words = [program("nginx"), "-e", "stderr", "-p", str(self.folder), "-c", self.file(f"{name}.conf", text)]
        return self.start(words, port, core, name)

    def origins(self) -> dict[str, int]:
        """http and shadow, by HTTP/1; h2 and h2-shadow; ws and sink, by Python; redis."""
        (self.folder / "www").mkdir(exist_ok=True)
        with (self.folder / "www" / "big").open("wb") as big:
            big.truncate(BIG)
        ports = {name: free_port() for name in ("http", "shadow", "h2", "h2-shadow", "ws", "sink", "redis")}
        answer = f'location / {{ return 200 "{BODY}"; }} location /big {{ sendfile on; }} root {self.folder}/www;'
        servers = "".join(
            f"server {{ listen 127.0.0.1:{ports[name]} backlog=8192 {'http2' if name.startswith('h2') else ''};"
            f" http2_max_concurrent_streams 1024; {answer} }}"
            for name in ("http", "shadow", "h2", "h2-shadow")
        )
        self.nginx("origin", LOAD_CORE, ports["http"], servers)
        for name in ("ws", "sink"):
            words = [sys.executable, "-m", "tests.bench.router_peer", name, str(ports[name])]
            self.start(words, ports[name], LOAD_CORE, name)
        words = [program("redis-server"), "--port", str(ports["redis"]), "--bind", "127.0.0.1", "--save", ""]
        self.start(words, ports["redis"], LOAD_CORE, "redis")
        return ports

    def tuned(self, to: dict[str, int]) -> Rival:
        """What somebody who knows nginx would write for this: the bar."""
        ports = {kind: free_port() for kind in ("http", "h2", "ws", "sink")}
        upstreams = "".join(
            f"upstream {n.replace('-', '_')} {{ server 127.0.0.1:{p}; keepalive 256; }}" for n, p in to.items()
        )
        common = "proxy_buffering off; proxy_request_buffering off; client_max_body_size 0;"
        http = f"""
        map $http_version $to {{ default http; ana shadow; }}
        map $http_version $to_h2 {{ default h2; ana h2_shadow; }}
        map $http_upgrade $going {{ default upgrade; "" ""; }}
        {upstreams} {common} proxy_http_version 1.1; http2_max_concurrent_streams 1024;
        proxy_set_header Host $http_host;
        proxy_set_header Connection $going; proxy_set_header Upgrade $http_upgrade;
        server {{ listen 127.0.0.1:{ports["http"]} backlog=8192; location / {{ proxy_pass http://$to; }} }}
        server {{ listen 127.0.0.1:{ports["ws"]}; location / {{ proxy_pass http://ws; }} }}
        server {{ listen 127.0.0.1:{ports["sink"]}; location / {{ proxy_pass http://sink; }} }}
        server {{ listen 127.0.0.1:{ports["h2"]} http2; location / {{ grpc_pass grpc://$to_h2; }} }}
        """
        return Rival("nginx", self.nginx("tuned", PROXY_CORE, ports["http"], http), ports)

    def ktlike(self, to: dict[str, int]) -> Rival:
        """As KT-Connect's router behaves: an `if` for each version, no kept upstream connections, Host of the
        upstream, nginx's defaults else."""
        port = free_port()
        http = f"""
        upstream original {{ server 127.0.0.1:{to["http"]}; }}
        upstream version_ana {{ server 127.0.0.1:{to["shadow"]}; }}
        server {{
            listen 127.0.0.1:{port};
            location / {{
                proxy_http_version 1.1;
                if ($http_version = "ana") {{ proxy_pass http://version_ana; break; }}
                proxy_pass http://original;
            }}
        }}"""
        return Rival("kt-like", self.nginx("ktlike", PROXY_CORE, port, http, connections=1024), {"http": port})

    def mitmdump(self, to: dict[str, int]) -> Rival:
        port = free_port()
        addon = self.file(
            "addon.py",
            f"""
            def request(flow):
                if flow.request.headers.get("version") == "ana":
                    flow.request.port = {to["shadow"]}
            """,
        )
        words = [str(Path(sys.executable).with_name("mitmdump")), "-q", "--set", "flow_detail=0", "-s", addon]
        words += ["--mode", f"reverse:http://127.0.0.1:{to['http']}@127.0.0.1:{port}"]
        return Rival("mitmdump", self.start(words, port, PROXY_CORE, "mitmdump"), {"http": port})

    def haproxy(self, to: dict[str, int]) -> Rival:
        ports = {kind: free_port() for kind in ("http", "h2", "tcp", "ws", "sink")}
        config = f"""
        global
            nbthread 1
            maxconn 8000
        defaults
            mode http
            http-reuse always
            timeout connect 1s
            timeout client 1h
            timeout server 1h
            option http-no-delay
        frontend http
            bind 127.0.0.1:{ports["http"]} backlog 8192
            use_backend shadow if {{ req.hdr(version) ana }}
            default_backend http
        frontend h2
            bind 127.0.0.1:{ports["h2"]} proto h2
            use_backend h2-shadow if {{ req.hdr(version) ana }}
            default_backend h2
        frontend ws
            bind 127.0.0.1:{ports["ws"]}
            default_backend ws
        frontend sink
            bind 127.0.0.1:{ports["sink"]}
            default_backend sink
        listen redis
            mode tcp
            bind 127.0.0.1:{ports["tcp"]}
            server s 127.0.0.1:{to["redis"]}
        """
        for name in ("http", "shadow", "h2", "h2-shadow", "ws", "sink"):
            config += f"""
        backend {name}
            server s 127.0.0.1:{to[name]} {"proto h2" if name.startswith("h2") else ""}
        """
        words = [program("haproxy"), "-f", self.file("haproxy.cfg", config)]
        return Rival("haproxy", self.start(words, ports["http"], PROXY_CORE, "haproxy"), ports)

    def ours(self, to: dict[str, int]) -> Rival:
        """One worker, in mitmdump as it ships; KTPY_ROUTER=image measures the built image."""
        kinds = {"http": "http", "h2": "h2", "tcp": "redis", "ws": "ws", "sink": "sink"}
        ports = {kind: free_port() for kind in kinds}
        listening = [{"listen": ports[kind], "default": f"127.0.0.1:{to[name]}"} for kind, name in kinds.items()]
        goes = {str(ports["http"]): f"127.0.0.1:{to['shadow']}", str(ports["h2"]): f"127.0.0.1:{to['h2-shadow']}"}
        routes = table("127.0.0.1:1", listen=1) | {"ports": listening, "rows": [row(MARK[1], "") | {"to": goes}]}
        running = self.stack.enter_context(router(routes, workers=1))
        pin(running.pid, PROXY_CORE)
        return Rival("ktpy", running.pid, ports)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextlib.contextmanager
def bench(folder: Path) -> Iterator[Bench]:
    raise_limits()
    made = Bench(folder)
    with made.stack:
        yield made
