import pytest

from ktpy.errors import TunnelLost
from ktpy.net import messages as m


def test_a_listen_request_byte_by_byte() -> None:
    assert m.tcpip_forward("", 80) == (
        b"\x50"  # SSH_MSG_GLOBAL_REQUEST
        b"\x00\x00\x00\x0dtcpip-forward"
        b"\x01"  # want reply
        b"\x00\x00\x00\x00"  # every address of every family
        b"\x00\x00\x00\x50"  # port 80
    )


def test_a_cancel_names_the_same_address() -> None:
    assert m.cancel_tcpip_forward("*", 80)[-9:] == b"\x00\x00\x00\x01*\x00\x00\x00\x50"


def test_a_direct_stream_byte_by_byte() -> None:
    assert m.open_direct(3, 0x200000, 0x8000, host="shop", port=80) == (
        b"\x5a"  # SSH_MSG_CHANNEL_OPEN
        b"\x00\x00\x00\x0cdirect-tcpip"
        b"\x00\x00\x00\x03"  # our number
        b"\x00\x20\x00\x00"  # window 2 MiB
        b"\x00\x00\x80\x00"  # packets of 32 KiB
        b"\x00\x00\x00\x04shop\x00\x00\x00\x50"
        b"\x00\x00\x00\x09127.0.0.1\x00\x00\x00\x00"
    )


def test_the_short_messages() -> None:
    assert m.confirm(1, 2, 3, 4) == b"\x5b" + bytes([0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4])
    assert m.refuse(1, m.CONNECT_FAILED, "no") == b"\x5c\0\0\0\1\0\0\0\2\0\0\0\2no\0\0\0\0"
    assert m.window_adjust(1, 256) == b"\x5d\0\0\0\1\0\0\1\0"
    assert m.data_head(1, 5) == b"\x5e\0\0\0\1\0\0\0\5"
    assert m.channel_only(m.CHANNEL_EOF, 7) == b"\x60\0\0\0\7"
    assert m.unimplemented(1 << 32) == b"\x03\0\0\0\0"
    assert m.disconnect("bye") == b"\x01\0\0\0\x0b\0\0\0\x03bye\0\0\0\0"


@pytest.mark.parametrize(
    ("raw", "written"),
    [
        (b"\0\0", b"\0\0\0\0"),  # zero has no bytes (RFC 4251 §5)
        (b"\0\x7f", b"\0\0\0\1\x7f"),
        (b"\x80", b"\0\0\0\2\0\x80"),  # would be negative
    ],
)
def test_big_numbers(raw: bytes, written: bytes) -> None:
    assert m.mpint(raw) == written


def test_fields_are_read_in_order() -> None:
    fields = m.Fields(b"\xff\0\0\0\5\0\0\0\2a,\1", 1)
    assert (fields.number(), fields.names(), fields.boolean()) == (5, ["a", ""], True)


@pytest.mark.parametrize("raw", [b"", b"\0\0\0", b"\0\0\0\5half", b"\xff\xff\xff\xff"])
def test_a_message_that_is_too_short_ends_the_tunnel(raw: bytes) -> None:
    with pytest.raises(TunnelLost):
        m.Fields(raw).blob()


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("Too many logins — sorry", "Too many logins — sorry"),
        ("\x1b]0;owned\x07\x1b[2Jfine\r\n", "?]0;owned??[2Jfine??"),
        ("\x9b31m\u202eenif", "?31m?enif"),  # CSI in one character; reading direction
        ("x" * 201, "x" * 199 + "…"),
    ],
)
def test_what_the_other_side_says_is_made_fit_for_a_terminal(said: str, shown: str) -> None:
    assert m.printable(said) == shown
