"""The router as a whole: it starts, says when it is ready, lives mitmproxy's life, and starts again what died."""

from __future__ import annotations

import http.server
import json
import signal
import socket
import subprocess
import sys
import threading

from harness import ROOT, fetch, free_port, origin, router, row, table, wait_for


def test_it_serves_the_original_and_rows():
    with origin() as default, origin(b"mine") as mine, router(table(default, [row("ana", mine)])) as running:
        assert fetch(running.port).body == b"original"
        assert fetch(running.port, headers={"version": "ana"}).body == b"mine"
        assert fetch(running.port, headers={"version": "bob"}).body == b"original"


def test_it_is_ready_only_when_the_original_answers():
    port = free_port()
    with router(table(f"127.0.0.1:{port}"), ready=False) as running:
        told = wait_for(lambda: answered(running, "The original"))
        assert told.status == 503
        assert f"The original 127.0.0.1:{port} cannot be reached" in told.body.decode()

        assert running.control("GET", "/readyz?wait=0.01").status == 503
        assert running.control("GET", "/readyz?wait=soon").status == 400
        late = http.server.ThreadingHTTPServer(("127.0.0.1", port), http.server.BaseHTTPRequestHandler)
        threading.Thread(target=late.serve_forever, args=(0.02,)).start()
        try:
            assert running.control("GET", "/readyz?wait=5").status == 200, "told as soon as it is so"
        finally:
            late.shutdown()
            late.server_close()
        assert running.is_ready(), "what happens to the original later is not the router's to hide"


def answered(running, word):
    answer = running.control("GET", "/readyz")
    return answer if word in answer.body.decode() else None


def test_mitmproxys_options_addons_and_life_cycle_hold(tmp_path):
    addon = tmp_path / "addon.py"
    addon.write_text(
        f"""
from pathlib import Path
from mitmproxy import ctx

seen = Path({str(tmp_path / "seen")!r})

def note(what):
    with seen.open("a") as file:
        print(what, file=file)

def load(loader):
    loader.add_option("greeting", str, "none", "A new option.")

def running():
    servers = ctx.master.addons.get("proxyserver").servers
    note("running " + ctx.options.greeting + " " + " ".join(server.mode.type_name for server in servers))

def done():
    note("done")
"""
    )
    options = ("-s", str(addon), "--set", "greeting=hello")
    with origin() as default, router(table(default), options=options, flags=("--linger-seconds", "0")) as running:
        assert fetch(running.port).body == b"original"
        running.signal(signal.SIGTERM)
        assert running.wait() == 0

    assert (tmp_path / "seen").read_text().splitlines() == ["running hello router", "done"]


def test_a_dead_control_process_is_replaced_and_nobody_notices(tmp_path):
    with origin() as default, origin(b"mine") as mine, router(table(default), folder=tmp_path) as running:
        running.put(running.table(version=5, rows=[row("ana", mine)]))
        before = running.helper("control")
        stop, failed = threading.Event(), []

        def ask() -> None:
            while not stop.is_set():
                if fetch(running.port, headers={"version": "ana"}).body != b"mine":
                    failed.append(1)

        asking = threading.Thread(target=ask)
        asking.start()
        try:
            kill(before)
            wait_for(lambda: running.helper("control") != before)
            wait_for(running.is_ready)
        finally:
            stop.set()
            asking.join()

        assert failed == []
        assert running.control("GET", "/routes").json()["version"] == 5
        assert "control (pid" in running.log()
        assert "was killed by SIGKILL" in running.log()


def kill(pid):
    subprocess.run(["kill", "-9", str(pid)], check=True)


def test_a_control_process_without_a_file_learns_the_table_from_the_workers(tmp_path):
    with origin() as default, origin(b"mine") as mine, router(table(default), folder=tmp_path) as running:
        running.put(running.table(version=5, rows=[row("ana", mine)]))
        running.state.unlink()
        before = running.helper("control")
        kill(before)
        wait_for(lambda: running.helper("control") != before)
        wait_for(running.is_ready)

        assert wait_for(lambda: running.control("GET", "/routes").json()["version"] == 5)
        assert fetch(running.port, headers={"version": "ana"}).body == b"mine"


def test_what_was_pushed_outlives_the_router(tmp_path):
    with origin() as default, origin(b"mine") as mine:
        first = table(default)
        with router(first, folder=tmp_path) as running:
            running.put(running.table(version=5, rows=[row("ana", mine)]))
        with router(first, folder=tmp_path) as running:
            assert fetch(running.port, headers={"version": "ana"}).body == b"mine"
        with router(first | {"version": 6}, folder=tmp_path) as running:
            assert fetch(running.port, headers={"version": "ana"}).body == b"original", "the mounted one is newer"


# The router, which gets a TERM at the first import of mitmproxy. As PID 1 it would never hear of one that nobody holds.
TOLD_EARLY = """
import os, runpy, signal, sys

class Early:
    def find_spec(self, name, path=None, target=None):
        if name == "mitmproxy":
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.SIGTERM)

sys.meta_path.insert(0, Early())
runpy.run_module("ktpy_router", run_name="__main__", alter_sys=True)
"""


def test_a_term_that_comes_while_it_still_imports_is_not_lost(tmp_path):
    port, control = free_port(), free_port()
    (tmp_path / "t.json").write_text(json.dumps(table(f"127.0.0.1:{free_port()}", listen=port)))
    words = ["--table", str(tmp_path / "t.json"), "--run-dir", str(tmp_path), "--control-port", str(control)]

    ended = subprocess.run(
        [sys.executable, "-c", TOLD_EARLY, *words], capture_output=True, text=True, timeout=30,
        env={"PYTHONPATH": str(ROOT / "router-image")},
    )  # fmt: skip

    assert ended.returncode in (0, 1), ended.stderr  # a worker that has only begun does not end cleanly


def start(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ktpy_router", *words]
    environment = {"PYTHONPATH": str(ROOT / "router-image")}
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)


def test_a_table_that_cannot_be_used_at_start_is_told(tmp_path):
    (tmp_path / "t.json").write_text("{}")

    ended = start("--table", str(tmp_path / "t.json"), "--run-dir", str(tmp_path))

    assert ended.returncode == 2
    assert ended.stderr.startswith("ktpy_router: ")
    assert "t.json: The table: format, ports, version is missing." in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_port_that_is_taken_is_told(tmp_path):
    with origin() as default:
        taken = int(default.rpartition(":")[2])
        (tmp_path / "t.json").write_text(json.dumps(table(default, listen=taken)))

        ended = start("--table", str(tmp_path / "t.json"), "--run-dir", str(tmp_path), "--bind", "127.0.0.1")

    assert ended.returncode == 2
    assert f"Port {taken} cannot be listened on: Address already in use" in ended.stderr


def test_without_an_address_it_listens_on_all_of_both_families():
    with origin() as default, router(table(default), flags=("--bind", "")) as running:
        assert fetch(running.port).body == b"original"
        if socket.has_dualstack_ipv6():
            with socket.create_connection(("::1", running.port), timeout=10) as client:
                client.sendall(b"GET / HTTP/1.0\r\n\r\n")
                assert client.recv(12) == b"HTTP/1.1 200"


def test_a_port_that_the_inspector_could_not_have_later_is_told_at_start(tmp_path):
    with origin() as default:
        taken = default.rpartition(":")[2]
        (tmp_path / "t.json").write_text(json.dumps(table(default)))
        files = ("--table", str(tmp_path / "t.json"), "--run-dir", str(tmp_path))

        ended = start(*files, "--bind", "127.0.0.1", "--control-port", str(free_port()), "--inspect-port", taken)

    assert ended.returncode == 2
    assert f"Port {taken} cannot be kept for the inspector: Address already in use" in ended.stderr
