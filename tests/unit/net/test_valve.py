import pytest

from ktpy.errors import TunnelLost
from ktpy.net.valve import Cutter, Valve

KEXINIT = b"\0\0\0\x0c\x0a\x14" + bytes(10)  # length 12, padding 10, type 20
NEWKEYS = b"\0\0\0\x0c\x0a\x15" + bytes(10)  # type 21
SEALED = b"\0\0\0\x10" + b"?" * 16 + b"t" * 16  # the length stays readable, then the tag


def units(cutter: Cutter) -> list[bytes]:
    return list(iter(cutter.next, b""))


def test_lines_then_packets_then_sealed_packets() -> None:
    cutter = Cutter()
    cutter.feed(b"welcome\r\nSSH-2.0-x\r\n" + KEXINIT + NEWKEYS + SEALED + SEALED[:-1])
    assert units(cutter) == [b"welcome\r\n", b"SSH-2.0-x\r\n", KEXINIT, NEWKEYS, SEALED]
    assert cutter.rest() == SEALED[:-1]


def test_byte_by_byte_is_the_same() -> None:
    cutter, got = Cutter(), []
    for byte in b"SSH-2.0-x\r\n" + KEXINIT + NEWKEYS + SEALED:
        cutter.feed(bytes([byte]))
        got += units(cutter)
    assert got == [b"SSH-2.0-x\r\n", KEXINIT, NEWKEYS, SEALED]


@pytest.mark.parametrize("head", [b"\0\0\0\0", b"\0\0\0\1", b"\x7f\0\0\0", b"HTTP"])
def test_a_nonsense_packet_is_refused(head: bytes) -> None:
    cutter = Cutter()
    cutter.feed(b"SSH-2.0-x\r\n" + head)
    cutter.next()
    with pytest.raises(TunnelLost, match="nonsense"):
        cutter.next()


def test_an_endless_line_is_refused() -> None:
    cutter = Cutter()
    cutter.feed(b"x" * 70_000)
    with pytest.raises(TunnelLost, match="not an SSH server"):
        cutter.next()


def opened(look: int = 0) -> tuple[Valve, list[bytes]]:
    sent: list[bytes] = []
    valve = Valve(sent.append, lambda _: look)
    valve.settimeout(0)
    return valve, sent


def test_the_library_reads_no_further_than_one_unit() -> None:
    valve, _ = opened()
    valve.feed(b"SSH-2.0-x\r\n" + KEXINIT)
    assert valve.recv(128) == b"SSH-2.0-x\r\n"
    assert valve.recv(8) + valve.recv(100) == KEXINIT
    with pytest.raises(TimeoutError):
        valve.recv(1)


def test_behind_the_end_of_the_log_in_nothing_passes() -> None:
    valve, _ = opened(look=52)  # USERAUTH_SUCCESS
    valve.feed(b"SSH-2.0-x\r\n" + NEWKEYS + SEALED + SEALED)
    got = [valve.recv(100) for _ in range(3)]
    assert got[2] == SEALED
    with pytest.raises(TimeoutError):
        valve.recv(1)
    valve.shut()
    assert valve.recv(1) == b""
    valve.feed(b"more")
    assert valve.rest() == SEALED + b"more"


def test_sealed_packets_that_were_sent_are_counted() -> None:
    valve, sent = opened()
    for packet in (b"SSH-2.0-me\r\n", KEXINIT, NEWKEYS, SEALED, SEALED):
        assert valve.send(packet) == len(packet)
    assert valve.sent_sealed == 2
    assert len(sent) == 5


def test_a_lost_wire_is_an_end_and_keeps_its_reason() -> None:
    valve, _ = opened()
    why = OSError("cut")
    valve.lost(why)
    valve.lost(OSError("later"))
    assert valve.recv(1) == b""
    assert valve.why is why


def test_what_came_before_the_wire_was_lost_is_read_first() -> None:
    """What the server said last may be the reason for the end, however late the library gets to it."""
    valve, sent = opened()
    valve.feed(b"SSH-2.0-x\r\n" + KEXINIT + KEXINIT[:5])
    valve.lost(OSError("cut"))
    assert valve.recv(100) == b"SSH-2.0-x\r\n"
    assert valve.send(b"SSH-2.0-me\r\n") == 12
    assert valve.recv(100) == KEXINIT
    assert valve.why is None
    assert valve.recv(100) == b""
    assert isinstance(valve.why, OSError)
    assert sent == []


def test_behind_a_shut_valve_nothing_more_is_read_or_sent() -> None:
    valve, sent = opened()
    valve.feed(b"SSH-2.0-x\r\n")
    valve.shut()
    assert valve.recv(100) == b""
    assert valve.why is None
    with pytest.raises(ConnectionResetError):
        valve.send(b"x")
    assert sent == []


def test_nonsense_is_an_end_with_a_reason() -> None:
    valve, _ = opened()
    valve.feed(b"SSH-2.0-x\r\n\xff\xff\xff\xff")
    valve.recv(100)
    assert valve.recv(1) == b""
    assert isinstance(valve.why, TunnelLost)
