"""Several workers share ports and table; one that is killed takes only its own requests with it."""

from __future__ import annotations

import http.client
import os
import re
import signal
import threading

from harness import fetch, origin, router, row, table, wait_for


class Load:
    """Threads that ask, each on a connection of its own that it keeps; notes how often that failed and was right."""

    def __init__(self, port: int, threads: int = 4) -> None:
        self.port = port
        self.right = 0
        self.wrong: list[str] = []
        self.broken = 0
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._ask) for _ in range(threads)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        while not self._stop.is_set():
            try:
                connection.request("GET", "/", headers={"version": "ana"})
                body = connection.getresponse().read()
            except (OSError, http.client.HTTPException):
                connection.close()
                with self._lock:
                    self.broken += 1
                continue
            with self._lock:
                self.right += body == b"mine"
                self.wrong += [] if body == b"mine" else [repr(body)]
        connection.close()


def test_a_killed_worker_takes_only_its_own_requests_with_it_and_comes_back():
    with origin() as default, origin(b"mine") as mine, router(table(default), workers=2) as running:
        running.put(running.table(version=2, rows=[row("ana", mine)]))
        victim = wait_for(lambda: running.workers() if len(running.workers()) == 2 else None)[0]
        with Load(running.port) as load:
            wait_for(lambda: load.right > 100)
            os.kill(victim, signal.SIGKILL)
            wait_for(lambda: running.workers().get(0, victim) != victim, "another worker 0")
            wait_for(running.is_ready)
            seen = load.right
            wait_for(lambda: load.right > seen + 100)

        assert load.wrong == [], "it reads the pushed table, not the first one"
        assert load.broken <= 4, "no more than one request of each connection"
        assert "worker0 (pid" in running.log()


def test_new_connections_are_served_while_a_worker_is_dead():
    with origin() as default, router(table(default), workers=2) as running:
        victim = running.workers()[1]
        os.kill(victim, signal.SIGKILL)

        assert {fetch(running.port).status for _ in range(50)} == {200}


def test_a_worker_that_hangs_is_named_and_the_table_stays():
    with origin() as default, origin(b"mine") as mine, router(table(default), workers=2) as running:
        hanging = running.workers()[1]
        os.kill(hanging, signal.SIGSTOP)
        try:
            answer = running.control("PUT", "/routes", running.table(version=2, rows=[row("ana", mine)]))

            assert answer.status == 504
            assert re.search(r"worker 1 \(pid \d+\) has not taken it in 2 s", answer.body.decode())
            assert "Worker 1 has table 1 and not yet 2." in running.control("GET", "/readyz").body.decode()
        finally:
            os.kill(hanging, signal.SIGCONT)
        wait_for(running.is_ready)
        assert running.control("GET", "/routes").json()["version"] == 2
        assert {fetch(running.port, headers={"version": "ana"}).body for _ in range(20)} == {b"mine"}
