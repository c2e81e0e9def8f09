"""AES-GCM packets both ways: plain message in, sealed packet out, and back (RFC 5647 as OpenSSH does it)."""

from __future__ import annotations

from collections.abc import Iterator

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ktpy.errors import TunnelLost

TAG = 16
BLOCK = 16
# OpenSSH's PACKET_MAX_SIZE is 256 KiB for the length field's value.
BIGGEST = 256 * 1024
KEY_SIZE = {"aes128-gcm@openssh.com": 16, "aes256-gcm@openssh.com": 32}
IV_SIZE = 12
_PADDINGS = [b"\0" * n for n in range(BLOCK + 4)]
_COUNTER = (1 << 64) - 1


class Nonces:
    """RFC 5647 §7.1: 4 fixed bytes, then an 8-byte counter that starts at the IV and moves by one per packet."""

    __slots__ = ("_count", "_fixed")

    def __init__(self, iv: bytes, used: int = 0) -> None:
        self._fixed = iv[:4]
        self._count = (int.from_bytes(iv[4:], "big") + used) & _COUNTER

    def take(self) -> bytes:
        nonce = self._fixed + self._count.to_bytes(8, "big")
        self._count = (self._count + 1) & _COUNTER
        return nonce


class Sealer:
    """Turns messages into packets. `bytes_sent` counts since the last change of keys."""

    __slots__ = ("_aes", "_nonces", "bytes_sent")

    def __init__(self, key: bytes, iv: bytes, *, used: int = 0) -> None:
        self.rekey(key, iv, used=used)

    def rekey(self, key: bytes, iv: bytes, *, used: int = 0) -> None:
        self._aes = AESGCM(key)
        self._nonces = Nonces(iv, used)
        self.bytes_sent = 0

    def seal(self, head: bytes, data: bytes | bytearray | memoryview = b"") -> bytearray:
        """One packet that holds HEAD followed by DATA.

        RFC 4253 §6, RFC 5647 §7.2-7.3: the length stays readable and is authenticated; padding of 4-19 bytes fills
        up to 16. Padding is zeros: GCM hides it, and its randomness buys nothing.
        """
        size = 1 + len(head) + len(data)
        padding = BLOCK - size % BLOCK
        if padding < 4:
            padding += BLOCK
        length = (size + padding).to_bytes(4, "big")
        plain = b"".join((bytes((padding,)), head, data, _PADDINGS[padding]))
        packet = bytearray(4 + len(plain) + TAG)
        packet[:4] = length
        # Into place: encrypt() would make one object more, and gluing the length before it a second copy.
        self._aes.encrypt_into(self._nonces.take(), plain, length, memoryview(packet)[4:])
        self.bytes_sent += len(packet)
        return packet


class Opener:
    """Turns the bytes of the wire into messages. `bytes_seen` counts since the last change of keys."""

    __slots__ = ("_aes", "_nonces", "_rest", "bytes_seen", "packets")

    def __init__(self, key: bytes, iv: bytes) -> None:
        self._rest = bytearray()
        self.packets = 0
        self.rekey(key, iv)

    def rekey(self, key: bytes, iv: bytes) -> None:
        """The next packet is sealed with KEY; may be called between two packets of one feed()."""
        self._aes = AESGCM(key)
        self._nonces = Nonces(iv)
        self.bytes_seen = 0

    def feed(self, data: bytes | bytearray | memoryview) -> Iterator[bytes]:
        """Plain packets (padding length, message, padding) that are complete with DATA; the rest waits."""
        view = memoryview(data)
        at = 0
        if self._rest:
            at = self._complete_rest(view)
            if at < 0:
                return
            whole, self._rest = self._rest, bytearray()
            yield self._open(memoryview(whole))
        end = len(view)
        while end - at >= 4:
            size = self._size(view[at : at + 4])
            if end - at < size:
                break
            yield self._open(view[at : at + size])
            at += size
        self._rest += view[at:]

    def _complete_rest(self, view: memoryview) -> int:
        """Take from VIEW what the waiting packet misses: how much was taken, or -1 if it still misses some."""
        at = 0
        rest = self._rest
        if len(rest) < 4:
            at = min(4 - len(rest), len(view))
            rest += view[:at]
            if len(rest) < 4:
                return -1
        missing = self._size(rest[:4]) - len(rest)
        rest += view[at : at + missing]
        return at + missing if len(view) - at >= missing else -1

    def _size(self, head: bytes | bytearray | memoryview) -> int:
        length = int.from_bytes(head, "big")
        if length % BLOCK or not BLOCK <= length <= BIGGEST + BLOCK * 4:
            raise TunnelLost(f"nonsense from the shadow pod's sshd: a packet of {length} bytes")
        return 4 + length + TAG

    def _open(self, packet: memoryview) -> bytes:
        try:
            plain: bytes = self._aes.decrypt(self._nonces.take(), packet[4:], packet[:4])
        except InvalidTag:
            raise TunnelLost("a packet from the shadow pod's sshd was damaged on the way") from None
        if not 4 <= plain[0] <= len(plain) - 2:
            raise TunnelLost("nonsense from the shadow pod's sshd: a packet without a message")
        self.bytes_seen += len(packet)
        self.packets += 1
        return plain


def message(plain: bytes) -> bytes:
    """The message inside a plain packet."""
    return plain[1 : len(plain) - plain[0]]
