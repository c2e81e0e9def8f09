"""SSH messages as bytes: numbers, fields and the few messages that the tunnel writes (RFC 4250-4254)."""

from __future__ import annotations

from struct import pack

from ktpy.errors import TunnelLost

# RFC 4250 §4.1.2, and RFC 5656 §7.1 / RFC 8731 §3 for the key exchange.
DISCONNECT, IGNORE, UNIMPLEMENTED, DEBUG = 1, 2, 3, 4
EXT_INFO = 7
KEXINIT, NEWKEYS = 20, 21
KEX_ECDH_INIT, KEX_ECDH_REPLY = 30, 31
USERAUTH_FAILURE, USERAUTH_SUCCESS = 51, 52
GLOBAL_REQUEST, REQUEST_SUCCESS, REQUEST_FAILURE = 80, 81, 82
CHANNEL_OPEN, CHANNEL_OPEN_CONFIRMATION, CHANNEL_OPEN_FAILURE = 90, 91, 92
CHANNEL_WINDOW_ADJUST, CHANNEL_DATA, CHANNEL_EXTENDED_DATA = 93, 94, 95
CHANNEL_EOF, CHANNEL_CLOSE, CHANNEL_REQUEST, CHANNEL_SUCCESS, CHANNEL_FAILURE = 96, 97, 98, 99, 100

# RFC 4254 §5.1: why a channel was not opened.
PROHIBITED, CONNECT_FAILED, UNKNOWN_TYPE, SHORTAGE = 1, 2, 3, 4
REASONS = {
    PROHIBITED: "administratively prohibited",
    CONNECT_FAILED: "connect failed",
    UNKNOWN_TYPE: "unknown channel type",
    SHORTAGE: "resource shortage",
}

BYE = 11  # RFC 4253 §11.1: SSH_DISCONNECT_BY_APPLICATION


def text(value: bytes | str) -> bytes:
    """RFC 4251 §5 `string`."""
    raw = value.encode() if isinstance(value, str) else value
    return pack(">I", len(raw)) + raw


def mpint(raw: bytes) -> bytes:
    """RFC 4251 §5 `mpint` of an unsigned big-endian number: shortest form, a zero byte where the top bit is set."""
    raw = raw.lstrip(b"\0")
    return text(b"\0" + raw if raw and raw[0] & 0x80 else raw)


def printable(said: str, *, most: int = 200) -> str:
    """What the other side SAID, fit for a terminal: no control characters, no turned reading direction, not endless."""
    safe = "".join(each if each.isprintable() else "?" for each in said[:most])
    return safe if len(said) <= most else f"{safe[:-1]}…"


class Fields:
    """Reads the fields of one message from front to back; a message that is too short ends the tunnel."""

    __slots__ = ("_at", "_raw")

    def __init__(self, raw: bytes, at: int = 0) -> None:
        self._raw = raw
        self._at = at

    def byte(self) -> int:
        return self._take(1)[0]

    def boolean(self) -> bool:
        return self.byte() != 0

    def number(self) -> int:
        return int.from_bytes(self._take(4), "big")

    def blob(self) -> bytes:
        return self._take(self.number())

    def word(self) -> str:
        return self.blob().decode("utf-8", "replace")

    def names(self) -> list[str]:
        return self.word().split(",")

    def skip(self, count: int) -> None:
        self._take(count)

    def _take(self, count: int) -> bytes:
        end = self._at + count
        if end > len(self._raw):
            raise TunnelLost("the shadow pod's sshd sent a message that is shorter than its fields say")
        piece = self._raw[self._at : end]
        self._at = end
        return piece


def disconnect(why: str) -> bytes:
    """RFC 4253 §11.1."""
    return pack(">BI", DISCONNECT, BYE) + text(why) + text("")


def unimplemented(sequence: int) -> bytes:
    """RFC 4253 §11.4."""
    return pack(">BI", UNIMPLEMENTED, sequence & 0xFFFFFFFF)


def global_request(name: str, *, data: bytes = b"") -> bytes:
    """RFC 4254 §4, always with an answer wanted."""
    return bytes([GLOBAL_REQUEST]) + text(name) + b"\1" + data


def tcpip_forward(address: str, port: int) -> bytes:
    """RFC 4254 §7.1: please listen on ADDRESS:PORT; an empty address is every address of every family."""
    return global_request("tcpip-forward", data=text(address) + pack(">I", port))


def cancel_tcpip_forward(address: str, port: int) -> bytes:
    """RFC 4254 §7.1."""
    return global_request("cancel-tcpip-forward", data=text(address) + pack(">I", port))


def open_direct(ours: int, window: int, biggest: int, *, host: str, port: int) -> bytes:
    """RFC 4254 §7.2 direct-tcpip; the originator is only for the log of sshd."""
    return (
        bytes([CHANNEL_OPEN])
        + text("direct-tcpip")
        + pack(">III", ours, window, biggest)
        + text(host)
        + pack(">I", port)
        + text("127.0.0.1")
        + pack(">I", 0)
    )


def confirm(theirs: int, ours: int, window: int, biggest: int) -> bytes:
    """RFC 4254 §5.1."""
    return pack(">BIIII", CHANNEL_OPEN_CONFIRMATION, theirs, ours, window, biggest)


def refuse(theirs: int, reason: int, why: str) -> bytes:
    """RFC 4254 §5.1."""
    return pack(">BII", CHANNEL_OPEN_FAILURE, theirs, reason) + text(why) + text("")


def window_adjust(theirs: int, more: int) -> bytes:
    """RFC 4254 §5.2."""
    return pack(">BII", CHANNEL_WINDOW_ADJUST, theirs, more)


def channel_only(kind: int, theirs: int) -> bytes:
    """RFC 4254 §5.3, §5.4: EOF, CLOSE, SUCCESS and FAILURE carry the channel and nothing else."""
    return pack(">BI", kind, theirs)


def data_head(theirs: int, length: int) -> bytes:
    """RFC 4254 §5.2: what stands before the bytes of a CHANNEL_DATA."""
    return pack(">BII", CHANNEL_DATA, theirs, length)
