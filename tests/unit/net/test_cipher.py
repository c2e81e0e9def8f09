import random

import pytest

from ktpy.errors import TunnelLost
from ktpy.net.cipher import Nonces, Opener, Sealer, message

KEY, IV = bytes(range(16)), bytes(range(12))


def test_a_packet_byte_by_byte() -> None:
    packet = Sealer(KEY, IV).seal(b"\x5e\0\0\0\1", b"hello")
    assert packet[:4] == b"\0\0\0\x10"  # length in the clear: 1 + 10 + 5 of padding, a whole block
    assert len(packet) == 4 + 16 + 16  # and the tag
    (plain,) = Opener(KEY, IV).feed(packet)
    assert plain == b"\5\x5e\0\0\0\1hello" + bytes(5)
    assert message(plain) == b"\x5e\0\0\0\1hello"


def test_padding_is_four_bytes_at_least_and_fills_the_block() -> None:
    sealer, opener = Sealer(KEY, IV), Opener(KEY, IV)
    for size in range(1, 70):
        (plain,) = opener.feed(sealer.seal(bytes(size)))
        assert 4 <= plain[0] <= 19
        assert len(plain) % 16 == 0
        assert len(message(plain)) == size


def test_packets_come_out_however_the_bytes_were_cut() -> None:
    random.seed(7)
    sealer, opener = Sealer(KEY, IV), Opener(KEY, IV)
    messages = [random.randbytes(random.randrange(1, 3000)) for _ in range(60)]
    wire = b"".join(sealer.seal(each) for each in messages)
    got = []
    while wire:
        size = random.choice([1, 2, 3, 5, 50, 5000])
        got += [message(plain) for plain in opener.feed(wire[:size])]
        wire = wire[size:]
    assert got == messages


def test_the_counter_wraps_within_its_eight_bytes() -> None:
    nonces = Nonces(b"abcd" + b"\xff" * 8)
    assert nonces.take() == b"abcd" + b"\xff" * 8
    assert nonces.take() == b"abcd" + bytes(8)


def test_a_sealer_goes_on_where_another_stopped() -> None:
    first, opener = Sealer(KEY, IV), Opener(KEY, IV)
    list(opener.feed(first.seal(b"one") + first.seal(b"two")))
    assert [message(p) for p in opener.feed(Sealer(KEY, IV, used=2).seal(b"three"))] == [b"three"]


def test_new_keys_between_two_packets_of_one_read() -> None:
    old, new = Sealer(KEY, IV), Sealer(IV + b"1234", b"x" * 12)
    opener, got = Opener(KEY, IV), []
    for plain in opener.feed(old.seal(b"last") + new.seal(b"first")):
        got.append(message(plain))
        opener.rekey(IV + b"1234", b"x" * 12)
    assert got == [b"last", b"first"]


@pytest.mark.parametrize("length", [0, 15, 17, 0x7FFFFFF0, 300 * 1024])
def test_a_nonsense_length_ends_the_tunnel(length: int) -> None:
    with pytest.raises(TunnelLost, match="nonsense"):
        list(Opener(KEY, IV).feed(length.to_bytes(4, "big") + bytes(100)))


@pytest.mark.parametrize("at", [3, 4, 20, 35])
def test_a_flipped_bit_ends_the_tunnel(at: int) -> None:
    packet = Sealer(KEY, IV).seal(b"0123456789")
    packet[at] ^= 1 if at > 3 else 0x30  # the length stays a multiple of 16: 16 → 32
    with pytest.raises(TunnelLost, match="damaged"):
        list(Opener(KEY, IV).feed(bytes(packet) + bytes(32)))


def test_a_packet_that_is_all_padding_ends_the_tunnel() -> None:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    length = b"\0\0\0\x10"
    with pytest.raises(TunnelLost, match="without a message"):
        list(Opener(KEY, IV).feed(length + AESGCM(KEY).encrypt(IV, b"\x0f" + bytes(15), length)))


def test_bytes_and_packets_are_counted() -> None:
    sealer, opener = Sealer(KEY, IV), Opener(KEY, IV)
    list(opener.feed(sealer.seal(b"one") + sealer.seal(b"two")))
    assert (sealer.bytes_sent, opener.bytes_seen, opener.packets) == (72, 72, 2)
