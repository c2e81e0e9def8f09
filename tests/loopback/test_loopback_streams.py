"""What a TCP connection promises, through the tunnel: every byte, FIN and half-close both ways, RST, bounded memory."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import random
import resource
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from ktpy.net.channel import Channel
from ktpy.net.tunnel import OpenRefused
from tests.loopback.apps import call, digest, echo, expected, reset, send, serving, sink, source, until
from tests.loopback.conftest import Pod


def test_a_hundred_megabytes_to_the_laptop_are_the_same(pod: Pod) -> None:
    with pod.answered_by(sink), call(pod.ports[0]) as caller:
        send(caller, 100)
        caller.shutdown(socket.SHUT_WR)
        answer = caller.recv(1000)

    size, sha = expected(100)
    assert answer.decode() == f"{size} {sha}"


def test_a_hundred_megabytes_from_the_laptop_are_the_same(pod: Pod) -> None:
    with pod.answered_by(source(100)), call(pod.ports[0]) as caller:
        assert digest(caller) == expected(100)


def test_both_ways_at_once(pod: Pod) -> None:
    with pod.answered_by(echo), call(pod.ports[0]) as caller:
        sending = threading.Thread(target=lambda: (send(caller, 50), caller.shutdown(socket.SHUT_WR)))
        sending.start()
        assert digest(caller) == expected(50)
        sending.join()


def test_a_half_closed_caller_still_gets_its_answer(pod: Pod) -> None:
    def answer_after_fin(peer: socket.socket) -> None:
        size, _ = digest(peer)
        peer.sendall(b"got %d" % size)

    with pod.answered_by(answer_after_fin), call(pod.ports[0]) as caller:
        caller.sendall(b"question")
        caller.shutdown(socket.SHUT_WR)
        assert caller.recv(100) == b"got 8"
        assert caller.recv(100) == b""


def test_a_half_closed_laptop_still_hears_the_caller(pod: Pod) -> None:
    heard: list[bytes] = []

    def say_then_listen(peer: socket.socket) -> None:
        peer.sendall(b"all I have")
        peer.shutdown(socket.SHUT_WR)
        heard.append(peer.recv(100))

    with pod.answered_by(say_then_listen) as tunnel, call(pod.ports[0]) as caller:
        assert caller.recv(100) == b"all I have"
        assert caller.recv(100) == b""
        caller.sendall(b"thanks")
        caller.close()
        assert tunnel.drain(5) == 0
    assert heard == [b"thanks"]


def test_a_laptop_that_speaks_first_is_heard_at_once(pod: Pod) -> None:
    with pod.answered_by(lambda peer: peer.sendall(b"220 ready\r\n")), call(pod.ports[0]) as caller:
        assert caller.recv(100) == b"220 ready\r\n"
        assert caller.recv(100) == b""


def test_a_caller_that_is_reset_ends_the_laptop_side(pod: Pod) -> None:
    ended = threading.Event()

    def notice_the_end(peer: socket.socket) -> None:
        try:
            while peer.recv(100):
                pass
            while True:  # FIN was seen; writing finds out that the other side is gone for good
                peer.sendall(b"x" * 1000)
        except ConnectionError:
            ended.set()

    with pod.answered_by(notice_the_end) as tunnel:
        caller = call(pod.ports[0])
        caller.sendall(b"hello")
        reset(caller)
        assert ended.wait(5)
        assert tunnel.drain(5) == 0


def test_a_laptop_that_resets_ends_the_caller(pod: Pod) -> None:
    def read_and_reset(peer: socket.socket) -> None:
        peer.recv(5)
        reset(peer)

    with pod.answered_by(read_and_reset) as tunnel, call(pod.ports[0]) as caller:
        caller.sendall(b"hello")
        with contextlib.suppress(ConnectionResetError):
            assert caller.recv(100) == b""
        assert tunnel.drain(5) == 0


def test_two_hundred_connections_at_once(pod: Pod) -> None:
    def one(number: int) -> bool:
        word = os.urandom(20_000)
        with call(pod.ports[number % 3]) as caller:
            caller.sendall(word)
            caller.shutdown(socket.SHUT_WR)
            got = b""
            while data := caller.recv(65536):
                got += data
        return got == word

    with pod.answered_by(echo) as tunnel, ThreadPoolExecutor(200) as pool:
        assert all(pool.map(one, range(200)))
        assert tunnel.stats().connections == 200


@pytest.mark.parametrize("closes_first", ["caller", "laptop"])
def test_five_thousand_short_connections_leave_nothing_behind(pod: Pod, closes_first: str) -> None:
    def program(peer: socket.socket) -> None:
        peer.sendall(peer.recv(1))
        if closes_first == "caller":
            peer.recv(1)

    def some(count: int) -> None:
        for _ in range(count):
            with call(pod.ports[0]) as caller:
                caller.sendall(b"x")
                assert caller.recv(1) == b"x"
                if closes_first == "laptop":
                    assert caller.recv(1) == b""

    with pod.answered_by(program) as tunnel:
        some(50)
        assert tunnel.drain(5) == 0
        before = len(os.listdir("/proc/self/fd")), threading.active_count()
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(some, [625] * 8))
        assert tunnel.drain(5) == 0
        assert until(lambda: threading.active_count() <= before[1] + 2)
        assert until(lambda: len(os.listdir("/proc/self/fd")) <= before[0] + 2)
        assert tunnel.stats().connections == 5050
        assert until(lambda: sum(type(thing) is Channel for thing in gc.get_objects()) <= 2)


def test_a_closed_laptop_port_closes_the_caller_and_is_counted(pod: Pod) -> None:
    with serving(echo) as port:
        pass
    with pod.tunnel(port) as tunnel, call(pod.ports[0]) as caller:
        assert caller.recv(1) == b""
        assert until(lambda: tunnel.stats().open_now == 0)
        assert (tunnel.stats().connections, tunnel.stats().failed) == (1, 1)
    ((arrival, why),) = pod.refused
    assert arrival.port == port
    assert "refused" in why


def test_a_stalled_laptop_reader_stops_its_caller_and_nobody_else(pod: Pod) -> None:
    go_on = threading.Event()

    def stall(peer: socket.socket) -> None:
        go_on.wait(30)
        sink(peer)

    with serving(stall) as slow, serving(echo) as quick, pod.tunnel(slow, quick) as tunnel:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        callers = [call(pod.ports[0]) for _ in range(4)]
        sending = [threading.Thread(target=lambda c=c: (send(c, 60), c.shutdown(1))) for c in callers]
        for thread in sending:
            thread.start()
        stalled = until(lambda: _stands_still(lambda: tunnel.stats().bytes_to_laptop))
        with call(pod.ports[1]) as other:
            other.sendall(b"still here?")
            assert other.recv(100) == b"still here?"
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        go_on.set()
        answers = [caller.recv(1000).decode() for caller in callers]
        for thread, caller in zip(sending, callers, strict=True):
            thread.join()
            caller.close()
    size, sha = expected(60)
    assert stalled
    assert answers == [f"{size} {sha}"] * 4
    assert grown < 100, f"{grown:.0f} MiB more for four stalled streams of 60 MiB"


def _stands_still(value: object) -> bool:
    first = value()  # type: ignore[operator]
    threading.Event().wait(0.3)
    return bool(first and first == value())  # type: ignore[operator]


def test_a_stalled_caller_stops_the_laptop_program(pod: Pod) -> None:
    with pod.answered_by(source(100)) as tunnel, call(pod.ports[0]) as caller, call(pod.ports[1]) as other:
        assert until(lambda: _stands_still(lambda: tunnel.stats().bytes_to_cluster))
        assert tunnel.stats().bytes_to_cluster < 60 << 20
        other.close()
        assert digest(caller) == expected(100)


def test_a_slow_reader_that_leaves_in_the_middle_leaves_nothing_behind(pod: Pod) -> None:
    def read_slowly_and_leave(peer: socket.socket) -> None:
        """Its leaving meets a stream that is paused with more on the way: the sockets are small, the wire is busy."""
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        for _ in range(random.randrange(50, 250)):
            peer.recv(100_000)
            threading.Event().wait(0.005)

    def send_until_it_breaks() -> None:
        with call(pod.ports[0]) as caller, contextlib.suppress(ConnectionError):
            send(caller, 60)

    with pod.answered_by(read_slowly_and_leave) as tunnel:
        with ThreadPoolExecutor(12) as pool:
            for sending in [pool.submit(send_until_it_breaks) for _ in range(36)]:
                sending.result()
        assert tunnel.drain(20) == 0
        assert tunnel.stats().open_now == 0
        assert [state.kind for state in pod.states] == ["up"]
        assert until(lambda: sum(type(thing) is Channel for thing in gc.get_objects()) <= 2)


def test_a_laptop_that_answers_a_caller_that_is_gone_harms_nobody(pod: Pod) -> None:
    """sshd closes the stream while the laptop still reads, and would end the connection over a byte more on it."""

    def read_slowly_and_tell(peer: socket.socket) -> None:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        while peer.recv(100_000):
            peer.sendall(b".")
            threading.Event().wait(0.005)

    with pod.answered_by(read_slowly_and_tell) as tunnel:
        for _ in range(3):
            with call(pod.ports[0]) as caller:
                send(caller, 15)
        assert tunnel.drain(20) == 0
    assert [state.kind for state in pod.states] == ["up"]


def test_leaving_does_not_wait_for_a_laptop_that_never_reads(pod: Pod) -> None:
    go_on = threading.Event()
    with serving(lambda peer: go_on.wait(20) and None) as port:
        with pod.tunnel(port) as tunnel:
            with call(pod.ports[0]) as caller:
                caller.settimeout(0.5)
                with contextlib.suppress(TimeoutError):
                    send(caller, 60)
            assert tunnel.drain(0.2) == 1
            started = time.monotonic()
        took = time.monotonic() - started
        go_on.set()
    assert took < 5


def test_the_numbers_are_right(pod: Pod) -> None:
    with pod.answered_by(echo) as tunnel:
        assert tunnel.stats().first_connection_at is None
        with call(pod.ports[0]) as caller:
            caller.sendall(b"12345")
            assert caller.recv(5) == b"12345"
            assert tunnel.stats().open_now == 1
            assert tunnel.drain(0.05) == 1
        assert tunnel.drain(5) == 0
        stats = tunnel.stats()
    assert (stats.connections, stats.open_now, stats.failed, stats.heals) == (1, 0, 0, 0)
    assert (stats.bytes_to_laptop, stats.bytes_to_cluster) == (5, 5)
    assert stats.first_connection_at is not None


def test_a_probe_comes_back_without_touching_the_laptops_port(pod: Pod) -> None:
    with serving(echo) as port:
        pass  # closed: a probe that touched it would fail
    with pod.tunnel(port, port) as tunnel:
        assert 0 < tunnel.probe(pod.ports[0]) < 5
        assert 0 < tunnel.probe(pod.ports[1]) < 5
        assert tunnel.stats().connections == 0


def test_streams_into_the_cluster(pod: Pod) -> None:
    class Caller(asyncio.Protocol):
        def __init__(self) -> None:
            self.got = b""
            self.ended: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()

        def data_received(self, data: bytes) -> None:
            self.got += data

        def connection_lost(self, why: Exception | None) -> None:
            self.ended.set_result(why)

    with serving(echo) as closed:
        pass
    with serving(echo) as service, pod.answered_by(echo) as tunnel:

        async def ask() -> bytes:
            stream, caller = await tunnel.connect("127.0.0.1", service, Caller)
            stream.write(b"x" * 1_000_000)
            stream.write_eof()
            assert isinstance(caller, Caller)
            await caller.ended
            return caller.got

        async def ask_nobody() -> None:
            await tunnel.connect("127.0.0.1", closed, Caller)

        assert tunnel.submit(ask()).result(10) == b"x" * 1_000_000
        with pytest.raises(OpenRefused) as refused:
            tunnel.submit(ask_nobody()).result(10)
        assert refused.value.reason == 2  # RFC 4254 §5.1: connect failed
