"""The server's half of the exchange is written out here, from the RFCs, so that both halves must agree."""

import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from ktpy.errors import TunnelLost
from ktpy.net import messages as m
from ktpy.net.rekey import Fresh, Rekey, check_offer, kexinit

CIPHER = "aes128-gcm@openssh.com"
HOST = Ed25519PrivateKey.generate()
HOST_KEY = m.text("ssh-ed25519") + m.text(HOST.public_key().public_bytes_raw())


def made() -> Rekey:
    return Rekey(cipher=CIPHER, session_id=b"sid", host_key=HOST_KEY, our_version=b"SSH-us", their_version=b"SSH-them")


def reply(
    ours: bytes, theirs: bytes, ecdh_init: bytes, *, signer: Ed25519PrivateKey = HOST, key: bytes = HOST_KEY
) -> tuple[bytes, Fresh]:
    """RFC 8731 §3.1 KEX_ECDH_REPLY and RFC 4253 §7.2 keys, as a server makes them."""
    point = ecdh_init[5:]
    private = X25519PrivateKey.generate()
    public = private.public_key().public_bytes_raw()
    secret = m.mpint(private.exchange(X25519PublicKey.from_public_bytes(point)))
    parts = [b"SSH-us", b"SSH-them", ours, theirs, key, point, public]
    digest = hashlib.sha256(b"".join(map(m.text, parts)) + secret).digest()
    signature = m.text("ssh-ed25519") + m.text(signer.sign(digest))
    message = bytes([31]) + m.text(key) + m.text(public) + m.text(signature)
    made = {c: hashlib.sha256(secret + digest + c.encode() + b"sid").digest() for c in "ABCD"}
    return message, Fresh(made["C"][:16], made["A"][:12], made["D"][:16], made["B"][:12])


def test_we_ask_and_both_sides_have_the_same_keys() -> None:
    rekey, theirs = made(), kexinit(CIPHER)
    (ours,) = rekey.begin()
    assert rekey.is_running
    (init,) = rekey.take(theirs)
    assert init[0] == m.KEX_ECDH_INIT
    answer, fresh = reply(ours, theirs, init)
    assert rekey.take(answer) == [bytes([m.NEWKEYS])]
    assert rekey.fresh == fresh
    assert not rekey.is_running
    assert rekey.begin() == [], "their NEWKEYS is still to come"
    assert rekey.is_under_way
    assert rekey.take(bytes([m.NEWKEYS])) == []
    assert not rekey.is_under_way
    assert len(rekey.begin()) == 1


def test_the_server_asks_and_gets_our_offer_with_our_key() -> None:
    rekey, theirs = made(), kexinit(CIPHER)
    ours, init = rekey.take(theirs)
    answer, fresh = reply(ours, theirs, init)
    rekey.take(answer)
    assert rekey.fresh == fresh


def test_asking_twice_asks_once() -> None:
    rekey = made()
    assert len(rekey.begin()) == 1
    assert rekey.begin() == []


def test_another_host_key_ends_the_tunnel() -> None:
    rekey, theirs, stranger = made(), kexinit(CIPHER), Ed25519PrivateKey.generate()
    ours, init = rekey.take(theirs)
    key = m.text("ssh-ed25519") + m.text(stranger.public_key().public_bytes_raw())
    answer, _ = reply(ours, theirs, init, signer=stranger, key=key)
    with pytest.raises(TunnelLost, match="another host key"):
        rekey.take(answer)


def test_a_signature_by_another_key_ends_the_tunnel() -> None:
    rekey, theirs = made(), kexinit(CIPHER)
    ours, init = rekey.take(theirs)
    answer, _ = reply(ours, theirs, init, signer=Ed25519PrivateKey.generate())
    with pytest.raises(TunnelLost, match="prove its host key"):
        rekey.take(answer)


def test_a_zero_point_ends_the_tunnel() -> None:
    rekey = made()
    rekey.take(kexinit(CIPHER))
    with pytest.raises(TunnelLost, match="bad key"):
        rekey.take(bytes([31]) + m.text(HOST_KEY) + m.text(bytes(32)) + m.text(b""))


@pytest.mark.parametrize("kind", [21, 30, 31, 49])
def test_a_message_out_of_turn_ends_the_tunnel(kind: int) -> None:
    with pytest.raises(TunnelLost, match="out of turn"):
        made().take(bytes([kind]) + bytes(100))


def test_a_server_without_our_cipher_ends_the_tunnel() -> None:
    with pytest.raises(TunnelLost, match="in common"):
        made().take(kexinit("aes256-gcm@openssh.com"))


def test_a_wrong_guess_is_skipped() -> None:
    """RFC 4253 §7: first_kex_packet_follows, with another method than ours."""
    guessing = bytearray(kexinit(CIPHER))
    guessing[-5] = 1
    assert not check_offer(bytes(guessing), CIPHER)
    wrong = bytes(guessing).replace(b"curve25519-sha256,", b"diffie-hellman-xx,", 1)
    assert check_offer(wrong, CIPHER)
    rekey = made()
    ours, init = rekey.take(wrong)
    assert rekey.take(bytes([30]) + b"a guess") == []
    answer, _ = reply(ours, wrong, init)
    assert rekey.take(answer) == [bytes([m.NEWKEYS])]
