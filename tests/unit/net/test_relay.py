from collections.abc import Callable

from ktpy.net.counters import Counters
from ktpy.net.relay import HIGH_WATER, Relay
from tests.unit.net.fakes import FakeTransport


class Pair:
    """A relay between two fake transports."""

    def __init__(
        self, *, first: bytes = b"", has_eof: bool = False, early: bytes = b"", early_eof: bool = False
    ) -> None:
        self.counters, self.ends = Counters(), 0
        self.turns: list[Callable[[], None]] = []
        self.scratch = memoryview(bytearray(100))
        self.relay = Relay(
            self.counters, self.scratch, soon=self.turns.append, on_end=self._end, first=first, has_eof=has_eof
        )
        self.laptop, self.cluster = FakeTransport(), FakeTransport()
        self.relay.socket.connection_made(self.laptop)
        if early:
            self.laptop_says(early)
        if early_eof:
            self.relay.socket.eof_received()
        self.relay.connection_made(self.cluster)

    def _end(self) -> None:
        self.ends += 1

    def turn(self) -> bytes:
        """The loop's next turn; what the laptop has got by then."""
        for call in self.turns:
            call()
        return bytes(self.laptop.written)

    def laptop_says(self, data: bytes) -> None:
        self.relay.socket.get_buffer(-1)[: len(data)] = data
        self.relay.socket.buffer_updated(len(data))


def test_bytes_go_both_ways_and_are_counted() -> None:
    pair = Pair()
    pair.laptop_says(b"up")
    pair.relay.data_received(b"down!")
    pair.relay.data_received(b"!")
    assert pair.laptop.written == b"", "one write per turn"
    assert (pair.cluster.written, pair.turn()) == (b"up", b"down!!")
    assert (pair.counters.bytes_to_cluster, pair.counters.bytes_to_laptop) == (2, 6)


def test_the_first_request_is_seen_and_then_nobody_looks_any_more() -> None:
    pair = Pair()
    pair.relay.data_received(b"GET /cart HTTP/1.1\r\n\r\n")
    pair.laptop_says(b"HTTP/1.1 200 OK\r\n\r\n")
    seen = pair.counters.read().first
    assert (seen.method, seen.path, seen.status, seen.is_over) == ("GET", "/cart", 200, True)
    assert pair.relay.watched is None
    assert (pair.cluster.written, pair.turn()) == (b"HTTP/1.1 200 OK\r\n\r\n", b"GET /cart HTTP/1.1\r\n\r\n")


def test_a_connection_that_ends_unanswered_is_the_end_of_looking() -> None:
    pair = Pair()
    pair.relay.data_received(b"GET /cart HTTP/1.1\r\n\r\n")
    pair.relay.connection_lost(None)
    pair.relay.laptop_lost(None)
    assert pair.counters.read().first.is_over


def test_a_lot_at_once_is_written_at_once() -> None:
    pair = Pair()
    pair.relay.data_received(bytes(HIGH_WATER))
    assert len(pair.laptop.written) == HIGH_WATER


def test_what_the_laptop_says_before_the_stream_is_there_is_kept() -> None:
    pair = Pair(early=b"220 ready", early_eof=True)
    assert pair.cluster.written == b"220 ready"
    assert pair.cluster.calls == ["eof"]
    assert pair.laptop.calls == ["pause", "resume"]


def test_what_was_read_of_the_stream_before_comes_first() -> None:
    pair = Pair(first=b"GET /", has_eof=True)
    assert pair.laptop.written == b"GET /"
    assert "eof" in pair.laptop.calls


def test_a_fin_passes_and_the_other_way_stays_open() -> None:
    pair = Pair()
    assert pair.relay.eof_received()
    pair.laptop_says(b"answer")
    assert pair.relay.socket.eof_received()
    assert pair.laptop.calls[-1] == "eof"
    assert (pair.cluster.written, pair.cluster.calls) == (b"answer", ["eof"])


def test_the_slower_side_sets_the_pace() -> None:
    pair = Pair()
    pair.relay.pause_writing()
    pair.relay.resume_writing()
    pair.relay.socket.pause_writing()
    pair.relay.socket.resume_writing()
    assert pair.laptop.calls[-2:] == ["pause", "resume"]
    assert pair.cluster.calls == ["pause", "resume"]


def test_an_end_is_flushed_and_a_loss_is_a_reset() -> None:
    ended, broken = Pair(), Pair()
    ended.relay.connection_lost(None)
    broken.relay.connection_lost(OSError("cut"))
    assert (ended.laptop.calls[-1], broken.laptop.calls[-1]) == ("close", "abort")


def test_a_laptop_that_is_gone_ends_the_stream() -> None:
    ended, broken = Pair(), Pair()
    ended.relay.socket.connection_lost(None)
    broken.relay.socket.connection_lost(ConnectionResetError())
    assert (ended.cluster.calls, broken.cluster.calls) == (["close"], ["abort"])
    ended.relay.data_received(b"too late")
    assert ended.turn() == b""


def test_the_end_is_told_once_when_both_are_gone() -> None:
    pair = Pair()
    pair.relay.socket.connection_lost(None)
    assert pair.ends == 0
    pair.relay.connection_lost(None)
    pair.relay.give_up()
    assert pair.ends == 1


def test_a_laptop_that_does_not_read_the_rest_is_given_up() -> None:
    pair = Pair()
    pair.relay.connection_lost(None)
    pair.relay.give_up()
    assert pair.laptop.calls[-2:] == ["close", "abort"]
    assert pair.ends == 0
    pair.relay.socket.connection_lost(None)
    assert pair.ends == 1


def test_a_laptop_that_hung_up_before_the_stream_was_there() -> None:
    relay = Relay(Counters(), memoryview(bytearray(10)), soon=lambda call: None, on_end=lambda: None)
    relay.socket.connection_made(FakeTransport())
    relay.socket.connection_lost(None)
    cluster = FakeTransport()
    relay.connection_made(cluster)
    assert cluster.calls == ["abort"]
