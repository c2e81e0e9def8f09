"""SIGTERM: what runs is finished, clients are asked to go, nobody is kept waiting for ever."""

from __future__ import annotations

import contextlib
import http.client
import signal
import socket
import threading

import h2.connection
import h2.events
import pytest
from harness import fetch, origin, router, table, wait_for

QUICK = ("--linger-seconds", "0.2")


def refuses(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


@pytest.fixture
def hold():
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def slow(hold):
    """An origin that answers /slow when HOLD is set."""
    with origin(hold=hold) as address:
        yield address


@contextlib.contextmanager
def connection(port: int):
    """One that has had an answer and is kept."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as kept:
        kept.request("GET", "/")
        kept.getresponse().read()
        yield kept


class Asking(threading.Thread):
    """GET /slow, in the background."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self.port = port
        self.answer = None
        self.error: Exception | None = None
        self.start()

    def run(self) -> None:
        try:
            self.answer = fetch(self.port, "/slow")
        except (OSError, http.client.HTTPException) as error:
            self.error = error


def has_open_request(running) -> bool:
    return running.control("GET", "/stats").json()["ports"][str(running.port)]["default"]["open"] == 1


def test_an_open_request_is_finished_and_then_the_router_ends(slow, hold):
    with router(table(slow), flags=QUICK) as running:
        asking = Asking(running.port)
        wait_for(lambda: has_open_request(running))
        running.signal(signal.SIGTERM)
        wait_for(lambda: refuses(running.port), "no more listening")
        assert running.process.poll() is None
        assert running.control("GET", "/healthz").status == 200, "the control port lives as long as the workers"

        hold.set()
        asking.join()

        assert running.wait() == 0
        assert asking.answer is not None
        assert asking.answer.body == b"original"


def test_it_listens_on_for_a_while_and_asks_clients_to_go(slow):
    with contextlib.ExitStack() as stack:
        running = stack.enter_context(router(table(slow), flags=("--linger-seconds", "3")))
        kept = stack.enter_context(connection(running.port))
        running.signal(signal.SIGTERM)
        wait_for(lambda: running.control("GET", "/readyz").status == 503)

        assert "was told to end" in running.control("GET", "/readyz").body.decode()
        late = fetch(running.port)
        assert (late.status, late.headers["connection"]) == (200, "close")
        kept.request("GET", "/")
        assert kept.getresponse().getheader("connection") == "close"
        assert running.wait() == 0


def test_an_idle_connection_does_not_hold_it_up(slow):
    with router(table(slow), flags=QUICK) as running, connection(running.port) as idle:
        running.signal(signal.SIGTERM)

        assert running.wait(10) == 0
        assert idle.sock.recv(1) == b""


def test_what_is_open_at_the_deadline_is_cut_off(slow):
    with router(table(slow), flags=(*QUICK, "--drain-seconds", "1")) as running:
        asking = Asking(running.port)
        wait_for(lambda: has_open_request(running))
        running.signal(signal.SIGTERM)

        assert running.wait(10) == 1
        asking.join()
        assert asking.error is not None
        assert "1 connections are cut off" in running.log()


def test_a_second_sigterm_ends_it_now(slow):
    with router(table(slow), flags=("--linger-seconds", "60")) as running:
        running.signal(signal.SIGTERM)
        wait_for(lambda: running.control("GET", "/readyz").status == 503)
        running.signal(signal.SIGTERM)

        assert running.wait(10) == 128 + signal.SIGTERM


def test_draining_on_request_asks_clients_to_go_and_serves_on(slow):
    with router(table(slow), workers=2) as running:
        assert running.control("POST", "/drain", b"").status == 200
        wait_for(lambda: running.control("GET", "/readyz").status == 503)

        for _ in range(4):
            answer = fetch(running.port)
            assert (answer.body, answer.headers["connection"]) == (b"original", "close")
        assert running.process.poll() is None


def test_an_http_2_client_is_told_to_go_and_does_not_hold_it_up(slow):
    client = h2.connection.H2Connection()
    client.initiate_connection()
    told: list[int] = []
    with router(table(slow), flags=QUICK) as running:
        with socket.create_connection(("127.0.0.1", running.port), timeout=10) as wire:
            wire.sendall(client.data_to_send())
            sent_signal = False
            while data := wire.recv(65536):
                for event in client.receive_data(data):
                    if isinstance(event, h2.events.SettingsAcknowledged) and not sent_signal:
                        running.signal(signal.SIGTERM)
                        sent_signal = True
                    elif isinstance(event, h2.events.ConnectionTerminated):
                        told.append(event.last_stream_id)
                wire.sendall(client.data_to_send())

        assert running.wait(10) == 0
    assert told[0] == 2**31 - 1, "RFC 9113 section 6.8: first a warning, then the last stream"
    assert told[-1] == 0
