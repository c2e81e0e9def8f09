from collections.abc import Callable

import pytest

from ktpy.errors import TunnelLost
from ktpy.net import messages as m
from ktpy.net.channel import BIGGEST_DATA, BIGGEST_WINDOW, FIRST_WINDOW, HIGH_WATER, Channel
from tests.unit.net.fakes import Remembering


class FakeMux:
    def __init__(self) -> None:
        self.is_clear = True
        self.sent: list[bytes] = []
        self.data = b""
        self.waiting: list[Channel] = []
        self.forgotten: list[Channel] = []
        self.budget = 1 << 40

    def send(self, payload: bytes) -> None:
        self.sent.append(payload)

    def send_data(self, head: bytes, data: memoryview) -> None:
        assert head == m.data_head(9, len(data))
        self.data += data

    def stuck(self, channel: Channel) -> None:
        self.waiting.append(channel)

    def forget(self, channel: Channel) -> None:
        self.forgotten.append(channel)

    def grant(self, wanted: int) -> int:
        granted = min(wanted, self.budget)
        self.budget -= granted
        return granted

    def give_back(self, granted: int) -> None:
        self.budget += granted


def opened(window: int = 1 << 20) -> tuple[FakeMux, Remembering, Channel]:
    mux, protocol = FakeMux(), Remembering()
    channel = Channel(mux, 1, protocol)
    channel.opened(9, window, 32768)
    return mux, protocol, channel


def test_nothing_is_sent_beyond_the_window() -> None:
    mux, _, channel = opened(window=10)
    channel.write(b"0123456789abc")
    assert mux.data == b"0123456789"
    channel.take_window(2)
    assert mux.data == b"0123456789ab"
    assert channel.get_write_buffer_size() == 1


def test_a_writer_is_paused_and_goes_on_when_the_queue_is_short() -> None:
    mux, protocol, channel = opened(window=0)
    channel.write(bytes(HIGH_WATER + 1))
    assert protocol.told == ["made", "pause"]
    channel.take_window(HIGH_WATER // 2)
    assert protocol.told == ["made", "pause"]
    channel.take_window(HIGH_WATER)
    assert protocol.told == ["made", "pause", "resume"]
    assert len(mux.data) == HIGH_WATER + 1


def test_a_full_wire_makes_it_wait_its_turn() -> None:
    mux, _, channel = opened()
    mux.is_clear = False
    channel.write(b"later")
    assert mux.waiting == [channel]
    mux.is_clear = True
    channel.flush()
    assert mux.data == b"later"


def test_what_is_queued_is_a_copy() -> None:
    mux, _, channel = opened(window=0)
    scratch = bytearray(b"mine")
    channel.write(scratch)
    scratch[:] = b"gone"
    channel.take_window(4)
    assert mux.data == b"mine"


def test_eof_waits_for_what_was_written() -> None:
    mux, _, channel = opened(window=2)
    channel.write(b"last")
    channel.write_eof()
    channel.write(b"ignored")
    assert mux.sent == []
    channel.take_window(2)
    assert mux.sent == [m.channel_only(m.CHANNEL_EOF, 9)]


def test_the_window_grows_while_the_reader_keeps_up() -> None:
    mux, protocol, channel = opened()
    for _ in range(8):
        channel.take_data(memoryview(bytes(FIRST_WINDOW)))
    widths = [int.from_bytes(each[5:], "big") for each in mux.sent]
    assert widths[0] == 2 * FIRST_WINDOW
    assert max(widths) <= BIGGEST_WINDOW
    assert channel._window == BIGGEST_WINDOW
    assert len(protocol.got) == 8 * FIRST_WINDOW


def test_a_paused_reader_gets_nothing_and_lets_no_more_come() -> None:
    mux, protocol, channel = opened()
    channel.pause_reading()
    channel.take_data(memoryview(bytes(FIRST_WINDOW)))
    channel.take_eof()
    assert (protocol.got, protocol.told, mux.sent) == (b"", ["made"], [])
    channel.resume_reading()
    assert len(protocol.got) == FIRST_WINDOW
    assert protocol.told == ["made", "eof"]


def test_more_than_the_window_ends_the_tunnel() -> None:
    _, _, channel = opened()
    channel.pause_reading()
    channel.take_data(memoryview(bytes(FIRST_WINDOW)))
    with pytest.raises(TunnelLost, match="window"):
        channel.take_data(memoryview(b"x"))


def test_close_is_answered_once_and_the_channel_forgotten() -> None:
    mux, protocol, channel = opened()
    channel.take_eof()
    channel.take_close()
    assert mux.sent == [m.channel_only(m.CHANNEL_CLOSE, 9)]
    assert protocol.told == ["made", "eof", "lost"]
    assert mux.forgotten == [channel]


def test_what_came_before_a_close_is_delivered_first() -> None:
    _, protocol, channel = opened()
    channel.pause_reading()
    channel.take_data(memoryview(b"last words"))
    channel.take_close()
    assert protocol.told == ["made"]
    channel.resume_reading()
    assert (protocol.got, protocol.told) == (b"last words", ["made", "lost"])


def test_our_close_goes_out_behind_the_queue_and_waits_for_theirs() -> None:
    mux, protocol, channel = opened(window=1)
    channel.write(b"ab")
    channel.close()
    assert mux.sent == []
    channel.take_window(1)
    assert mux.sent == [m.channel_only(m.CHANNEL_CLOSE, 9)]
    assert protocol.told == ["made"]
    channel.take_close()
    assert protocol.told == ["made", "lost"]


def test_an_abort_drops_the_queue() -> None:
    mux, protocol, channel = opened(window=0)
    channel.write(b"never sent")
    channel.abort()
    channel.take_window(100)
    assert (mux.data, mux.sent) == (b"", [m.channel_only(m.CHANNEL_CLOSE, 9)])
    channel.take_data(memoryview(b"too late"))
    channel.take_close()
    assert (protocol.got, protocol.told) == (b"", ["made", "lost"])


def test_a_lost_tunnel_is_told_once_and_gives_back_its_window() -> None:
    mux, protocol, channel = opened()
    channel.take_data(memoryview(bytes(FIRST_WINDOW)))
    channel.lost(TunnelLost("cut"))
    channel.lost(TunnelLost("again"))
    assert protocol.told == ["made", "lost cut"]
    assert mux.budget == 1 << 40


@pytest.mark.parametrize("end", [Channel.close, Channel.abort])
def test_a_stream_that_ends_while_it_is_paused_is_forgotten_all_the_same(end: Callable[[Channel], None]) -> None:
    mux, protocol, channel = opened()
    channel.pause_reading()
    channel.take_data(memoryview(b"never read"))
    end(channel)
    channel.pause_reading()  # the laptop's socket was full until its last moment
    channel.take_data(memoryview(b"still on its way"))
    channel.take_eof()
    channel.take_close()
    assert (protocol.got, protocol.told) == (b"", ["made", "lost"])
    assert mux.forgotten == [channel]


def test_a_stream_that_its_reader_left_lets_the_far_side_finish() -> None:
    mux, _, channel = opened(window=0)
    channel.write(b"waits for the far side's window")
    channel.pause_reading()
    channel.close()
    channel.take_data(memoryview(bytes(FIRST_WINDOW)))
    assert mux.sent == [m.window_adjust(9, FIRST_WINDOW)], "as much again, but no wider for what is thrown away"
    with pytest.raises(TunnelLost, match="window"):
        channel.take_data(memoryview(bytes(FIRST_WINDOW + 1)))


def test_nothing_is_written_behind_our_close() -> None:
    """sshd has forgotten the stream by then, and ends the whole connection over it."""
    mux, protocol, channel = opened()
    channel.pause_reading()
    channel.take_data(memoryview(b"last words"))
    channel.take_close()
    channel.write(b"progress")
    channel.write_eof()
    channel.take_window(100)
    assert (mux.data, mux.sent) == (b"", [m.channel_only(m.CHANNEL_CLOSE, 9)])
    channel.resume_reading()
    assert (protocol.got, protocol.told) == (b"last words", ["made", "lost"])


def test_a_writer_that_waits_goes_on_when_the_far_side_closes() -> None:
    """An echo server reads no more before its answer is taken."""
    _, protocol, channel = opened(window=0)
    channel.write(bytes(HIGH_WATER + 1))
    channel.pause_reading()
    channel.take_data(memoryview(b"last words"))
    channel.take_close()
    assert protocol.told == ["made", "pause", "resume"]


def test_data_of_no_bytes_is_nothing() -> None:
    _, protocol, channel = opened()
    channel.pause_reading()
    for _ in range(10):
        channel.take_data(memoryview(b""))
    assert not channel._unread
    channel.resume_reading()
    assert protocol.got == b""


def test_small_packets_are_kept_in_one_piece() -> None:
    _, protocol, channel = opened()
    channel.pause_reading()
    big = bytes(BIGGEST_DATA)
    for _ in range(1000):
        channel.take_data(memoryview(b"x"))
    channel.take_data(memoryview(big))
    channel.take_data(memoryview(b"y"))
    channel.take_data(memoryview(b"z"))
    assert len(channel._unread) == 3
    channel.resume_reading()
    assert protocol.got == b"x" * 1000 + big + b"yz"
