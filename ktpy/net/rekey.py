"""Changes the keys of a living session, asked by either side: curve25519-sha256 against the pinned host key."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from struct import pack

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from ktpy.errors import TunnelLost
from ktpy.net import messages as m
from ktpy.net.cipher import IV_SIZE, KEY_SIZE

KEX = ("curve25519-sha256", "curve25519-sha256@libssh.org")
HOST_KEY = "ssh-ed25519"


@dataclass(frozen=True)
class Fresh:
    """The secrets that follow the two NEWKEYS."""

    key_out: bytes
    iv_out: bytes
    key_in: bytes
    iv_in: bytes


class Rekey:
    """One exchange after another, sans I/O: each step takes a message and returns the messages to send.

    RFC 4253 §7 and §9; RFC 8731 for the curve. Strict key exchange resets sequence numbers, which AES-GCM does not use
    in its packets, and forbids stray messages only in the first exchange: nothing of it is left to do here.
    """

    def __init__(
        self, *, cipher: str, session_id: bytes, host_key: bytes, our_version: bytes, their_version: bytes
    ) -> None:
        self._cipher = cipher
        self._session_id = session_id
        self._host_key = host_key
        self._versions = m.text(our_version) + m.text(their_version)
        self._our_init = b""
        self._their_init = b""
        self._private: X25519PrivateKey | None = None
        self._skips_next = False
        self.fresh: Fresh | None = None

    @property
    def is_running(self) -> bool:
        """From our KEXINIT to our NEWKEYS: nothing but the exchange itself may be sent (RFC 4253 §7.1)."""
        return bool(self._our_init)

    @property
    def is_under_way(self) -> bool:
        """From the first KEXINIT of either side to the server's NEWKEYS."""
        return bool(self._our_init or self._their_init)

    def begin(self) -> list[bytes]:
        """Our KEXINIT, unless an exchange is under way: it ends with the server's NEWKEYS."""
        if self.is_under_way:
            return []
        self._our_init = kexinit(self._cipher)
        return [self._our_init]

    def take(self, payload: bytes) -> list[bytes]:
        """One message of the exchange (types 20-49). After our NEWKEYS `fresh` holds the secrets of both ways."""
        kind = payload[0]
        if kind == m.KEXINIT and not self._their_init:
            return self._take_init(payload)
        if self._skips_next:
            # RFC 4253 §7: the packet that was sent on a wrong guess is ignored.
            self._skips_next = False
            return []
        if kind == m.KEX_ECDH_REPLY and self._private is not None:
            return self._take_reply(payload)
        if kind == m.NEWKEYS and self.fresh is not None and not self.is_running:
            self._their_init = b""
            return []
        raise TunnelLost(f"the shadow pod's sshd sent message {kind} out of turn while keys were changed")

    def _take_init(self, payload: bytes) -> list[bytes]:
        answer = self.begin()
        self._their_init = payload
        self._skips_next = check_offer(payload, self._cipher)
        self._private = X25519PrivateKey.generate()
        return [*answer, bytes([m.KEX_ECDH_INIT]) + m.text(self._private.public_key().public_bytes_raw())]

    def _take_reply(self, payload: bytes) -> list[bytes]:
        """RFC 8731 §3.1: K_S, Q_S and the signature of H; RFC 5656 §4 for what H is made of."""
        assert self._private is not None
        fields = m.Fields(payload, 1)
        host_key, point, signature = fields.blob(), fields.blob(), fields.blob()
        if host_key != self._host_key:
            raise TunnelLost("what answers in the shadow pod came with another host key when keys were changed")
        secret = m.mpint(self._shared(point))
        digest = hashlib.sha256(
            self._versions
            + m.text(self._our_init)
            + m.text(self._their_init)
            + m.text(host_key)
            + m.text(self._private.public_key().public_bytes_raw())
            + m.text(point)
            + secret
        ).digest()
        verify(host_key, signature, digest)
        self.fresh = self._derive(secret + digest)
        self._our_init, self._private = b"", None
        return [bytes([m.NEWKEYS])]

    def _shared(self, point: bytes) -> bytes:
        assert self._private is not None
        try:
            return self._private.exchange(X25519PublicKey.from_public_bytes(point))
        except ValueError:
            raise TunnelLost("the shadow pod's sshd offered a bad key while keys were changed") from None

    def _derive(self, base: bytes) -> Fresh:
        """RFC 4253 §7.2. 32 bytes of SHA-256 are enough for any of ours: no second round."""

        def secret(letter: bytes, size: int) -> bytes:
            return hashlib.sha256(base + letter + self._session_id).digest()[:size]

        size = KEY_SIZE[self._cipher]
        return Fresh(secret(b"C", size), secret(b"A", IV_SIZE), secret(b"D", size), secret(b"B", IV_SIZE))


def kexinit(cipher: str) -> bytes:
    """RFC 4253 §7.1. The MAC lists are not used with AES-GCM but must have something in common."""
    lists = (
        ",".join(KEX),
        HOST_KEY,
        cipher,
        cipher,
        "hmac-sha2-256",
        "hmac-sha2-256",
        "none",
        "none",
        "",
        "",
    )
    return bytes([m.KEXINIT]) + os.urandom(16) + b"".join(map(m.text, lists)) + b"\0" + pack(">I", 0)


def check_offer(payload: bytes, cipher: str) -> bool:
    """That the server's KEXINIT allows what ours does; true if its next packet is a guess that went wrong."""
    fields = m.Fields(payload, 17)
    offers = [fields.names() for _ in range(10)]
    guessed = fields.boolean()
    kex, host_key, up, down = offers[:4]
    if not set(KEX) & set(kex) or HOST_KEY not in host_key or cipher not in up or cipher not in down:
        raise TunnelLost("the shadow pod's sshd has no algorithm in common with us any more")
    return guessed and (kex[0] != KEX[0] or host_key[0] != HOST_KEY)


def verify(host_key: bytes, signature: bytes, digest: bytes) -> None:
    """RFC 8709 §4, §6: `string "ssh-ed25519"`, then 32 bytes of key or 64 bytes of signature."""
    fields, signed = m.Fields(host_key), m.Fields(signature)
    try:
        if fields.word() != HOST_KEY or signed.word() != HOST_KEY:
            raise InvalidSignature
        Ed25519PublicKey.from_public_bytes(fields.blob()).verify(signed.blob(), digest)
    except (InvalidSignature, ValueError):
        raise TunnelLost("the shadow pod's sshd could not prove its host key when keys were changed") from None
