"""Frames are written and read as the `hyperframe` library does, and wrong ones are refused with the right code."""

from __future__ import annotations

import random

import pytest
from hyperframe.frame import DataFrame, Frame, GoAwayFrame, HeadersFrame, PingFrame, SettingsFrame, WindowUpdateFrame

from ktpy_router.h2 import frames
from ktpy_router.h2.frames import Code, ConnectionFault


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (frames.data(3, b"abc", end=True), DataFrame(3, b"abc", flags=["END_STREAM"])),
        (frames.data(3, b"", end=False), DataFrame(3)),
        (frames.headers(1, b"\x82", end=True), HeadersFrame(1, b"\x82", flags=["END_STREAM", "END_HEADERS"])),
        (frames.window_update(5, 77), WindowUpdateFrame(5, window_increment=77)),
        (frames.settings((1, 0), (4, 9)), SettingsFrame(0, settings={1: 0, 4: 9})),
        (frames.SETTINGS_ACK, SettingsFrame(0, flags=["ACK"])),
        (frames.goaway(7, 2, "why"), GoAwayFrame(0, last_stream_id=7, error_code=2, additional_data=b"why")),
        (frames.frame(frames.PING, 1, 0, b"12345678"), PingFrame(0, b"12345678", flags=["ACK"])),
    ],
)
def test_frames_are_those_of_the_library(ours: bytes, theirs: Frame) -> None:
    assert ours == theirs.serialize()


def test_a_long_block_is_continued() -> None:
    block = bytes(40000)

    found = list(frames.read(frames.headers(9, block, end=True)))

    assert [(kind, flags) for kind, flags, _, _ in found] == [(1, 1), (9, 0), (9, 4)]
    assert b"".join(payload for *_, payload in found) == block


def test_long_data_ends_with_its_last_frame() -> None:
    found = list(frames.read(frames.data(9, bytes(40000), end=True)))

    assert [(flags, len(payload)) for _, flags, _, payload in found] == [(0, 16384), (0, 16384), (1, 7232)]


def test_padding_and_priority_are_taken_off_as_the_library_does() -> None:
    chance = random.Random(9113)
    for _ in range(500):
        body = chance.randbytes(chance.randrange(40))
        padded = chance.random() < 0.5
        theirs = HeadersFrame(1, body, flags=["PADDED"] * padded, pad_length=chance.randrange(9) if padded else 0)
        if chance.random() < 0.5:
            theirs.flags.add("PRIORITY")
        _, flags, _, payload = next(frames.read(theirs.serialize()))

        assert frames.content(frames.HEADERS, flags, 1, payload) == body


@pytest.mark.parametrize(
    ("kind", "flags", "payload", "code"),
    [
        (frames.DATA, frames.PADDED, b"", Code.FRAME_SIZE_ERROR),
        (frames.DATA, frames.PADDED, b"\x05abcd", Code.PROTOCOL_ERROR),
        (frames.HEADERS, frames.WITH_PRIORITY, b"abcd", Code.FRAME_SIZE_ERROR),
        (frames.HEADERS, frames.WITH_PRIORITY | frames.PADDED, b"\x02abcdef", Code.PROTOCOL_ERROR),
    ],
)
def test_wrong_padding_ends_the_connection(kind: int, flags: int, payload: bytes, code: Code) -> None:
    with pytest.raises(ConnectionFault) as caught:
        frames.content(kind, flags, 1, payload)

    assert caught.value.code == code


def test_padding_may_fill_a_frame() -> None:
    assert frames.content(frames.DATA, frames.PADDED, 1, b"\x04abcd") == b""


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"12345", Code.FRAME_SIZE_ERROR),
        (b"\0\2\0\0\0\2", Code.PROTOCOL_ERROR),
        (b"\0\4\x80\0\0\0", Code.FLOW_CONTROL_ERROR),
        (b"\0\5\0\0\x3f\xff", Code.PROTOCOL_ERROR),
        (b"\0\5\1\0\0\0", Code.PROTOCOL_ERROR),
        (b"\0\x08\0\0\0\2", Code.PROTOCOL_ERROR),
    ],
)
def test_settings_out_of_their_limits_end_the_connection(payload: bytes, code: Code) -> None:
    with pytest.raises(ConnectionFault) as caught:
        frames.settings_of(payload)

    assert caught.value.code == code


def test_the_last_value_of_a_setting_counts_and_unknown_ones_are_kept() -> None:
    assert frames.settings_of(b"\0\4\0\0\0\1" + b"\0\4\0\0\0\2" + b"\xff\0\0\0\0\3") == {4: 2, 0xFF00: 3}


def test_a_short_goaway_is_refused() -> None:
    with pytest.raises(ConnectionFault):
        frames.goaway_of(b"1234567")


def test_a_stream_that_depends_on_itself_is_seen_behind_padding_too() -> None:
    assert frames.depends_on_itself(frames.WITH_PRIORITY, 5, b"\x80\0\0\5\x10")
    assert frames.depends_on_itself(frames.WITH_PRIORITY | frames.PADDED, 5, b"\0\0\0\0\5\x10")
    assert not frames.depends_on_itself(frames.WITH_PRIORITY, 5, b"\0\0\0\3\x10")
    assert not frames.depends_on_itself(0, 5, b"\0\0\0\5\x10")
