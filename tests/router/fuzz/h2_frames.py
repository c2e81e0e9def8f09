"""HTTP/2 frames by other means: what is as valid as before, and what is not."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from struct import iter_unpack, pack, unpack
from typing import NamedTuple

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, END_HEADERS, PADDED, WITH_PRIORITY = 1, 4, 8, 32
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
ODD_LENGTHS = (0, 1, 3, 4, 5, 6, 7, 8, 9, 16384, 16385, 2**24 - 1)
BLOCKS = (
    b"\x80", b"\xff\xff\xff\xff\xff\x0f", b"\x3f\xe1\x1f", b"\x20", b"\x3f\x01", b"\xbe", b"\x40\x01a\x01b",
    b"\x40\x81\xff\x01b",
    b"\x00\x81\x3f\x00", b"\x00\x7f", b"\x0f\x80\x80\x80\x80\x80\x01", b"\x00\x00\x00", b"\x82\x82",
    b"\x00\x07version\x03ana",
    b"\x00\x07Version\x03ana", b"\x10\x04host\x01x", b"\x00\x85\xee\x3a\x2d\x28\xff\x00", b"\x88", b"\x08\x03100",
    b"\x08\x03101",
)  # fmt: skip


class Frame(NamedTuple):
    kind: int
    flags: int
    stream: int
    payload: bytes

    def __bytes__(self) -> bytes:
        size = len(self.payload)
        return pack(">BHBBI", size >> 16 & 255, size & 65535, self.kind, self.flags, self.stream) + self.payload


def split(data: bytes) -> tuple[bytes, list[Frame]]:
    """The preface if it is there, and the frames."""
    start = data[: len(PREFACE)] if data.startswith(PREFACE) else b""
    at, found = len(start), []
    while at + 9 <= len(data):
        high, low, kind, flags, stream = unpack(">BHBBI", data[at : at + 9])
        size = high << 16 | low
        found.append(Frame(kind, flags, stream, data[at + 9 : at + 9 + size]))
        at += 9 + size
    return start, found


def with_settings(data: bytes, values: Mapping[int, int]) -> bytes:
    """A connection's beginning, with other values in its SETTINGS."""
    start, (first, *rest) = split(data)
    pairs = dict(iter_unpack(">HI", first.payload)) | {int(key): value for key, value in values.items()}
    payload = b"".join(pack(">HI", *pair) for pair in pairs.items())
    return start + bytes(first._replace(payload=payload)) + b"".join(map(bytes, rest))


def dressed(rng: Random, frame: Frame) -> list[Frame]:
    """The same, said otherwise: padding, priority, CONTINUATION, and what must be ignored."""
    kind, flags, stream, payload = frame
    out: list[Frame] = []
    if kind == HEADERS and not flags & (PADDED | WITH_PRIORITY):
        rest: list[bytes] = []
        if rng.random() < 0.2 and len(payload) > 1:
            cuts = sorted(rng.randrange(len(payload) + 1) for _ in range(rng.choice((1, 1, 2, 4))))
            parts = [payload[a:b] for a, b in zip([0, *cuts], [*cuts, len(payload)], strict=True)]
            payload, rest = parts[0], parts[1:]
            flags &= ~END_HEADERS
        if rng.random() < 0.15:
            payload = pack(">IB", rng.choice((0, 0x80000000, stream + 2, 3)) & ~0 if stream != 3 else 0, 15) + payload
            flags |= WITH_PRIORITY
        if rng.random() < 0.15:
            pad = rng.choice((0, 1, 30))
            payload, flags = bytes((pad,)) + payload + bytes(pad), flags | PADDED
        out.append(Frame(kind, flags, stream, payload))
        out += [
            Frame(CONTINUATION, END_HEADERS if i == len(rest) - 1 else 0, stream, part) for i, part in enumerate(rest)
        ]
    else:
        out.append(frame)
    if rng.random() < 0.05:
        extra = rng.choice(
            (
                Frame(PRIORITY, 0, 2**20 + 1, b"\0\0\0\0\x10"),
                Frame(0x42, rng.randrange(256), rng.choice((0, stream)), b"?"),
                Frame(PING, 0, 0, b"12345678"),
            )
        )
        out.insert(rng.choice((0, len(out))), extra)
    return out


def mutated(rng: Random, frames: list[Frame]) -> bytes:
    """Some of them changed, lost, doubled, or cut."""
    out: list[bytes] = []
    for frame in frames:
        if rng.random() < 0.6:
            out.append(bytes(frame))
            continue
        kind, flags, stream, payload = frame
        way = rng.randrange(14)
        if way == 0:
            kind = rng.choice((*range(10), 0x42))
        elif way == 1:
            flags ^= 1 << rng.randrange(8)
        elif way == 2:
            stream = rng.choice((0, 1, 2, 3, 5, stream + 2, max(stream - 2, 0), stream ^ 1, 2**31 - 1, stream | 2**31))
        elif way in (3, 4) and payload:
            at = rng.randrange(len(payload))
            payload = payload[:at] + bytes((payload[at] ^ 1 << rng.randrange(8),)) + payload[at + 1 :]
        elif way == 5:
            payload = payload[: rng.randint(0, len(payload))]
        elif way == 6:
            payload += rng.randbytes(rng.choice((1, 2, 5)))
        elif way == 7:
            continue
        elif way == 8:
            out.append(bytes(frame))
        elif way == 9:
            raw = bytearray(bytes(frame))
            raw[1:3] = pack(">H", rng.choice(ODD_LENGTHS) & 65535)
            out.append(bytes(raw))
            continue
        elif way == 10 and kind in (HEADERS, CONTINUATION):
            block = rng.choice(BLOCKS)
            payload = rng.choice((block, block + payload, payload + block))
        elif way == 11:
            out.append(bytes(_made(rng, stream)))
        elif way == 12 and out:
            out.insert(rng.randrange(len(out)), bytes(frame))
            continue
        elif way == 13 and kind in (HEADERS, DATA):
            pad = rng.choice((0, 1, len(payload), 255))
            payload, flags = bytes((min(pad, 255),)) + payload, flags | PADDED
        out.append(bytes(Frame(kind, flags & 255, stream & 0xFFFFFFFF, payload)))
    data = b"".join(out)
    return data[: rng.randint(0, len(data))] if rng.random() < 0.05 else data


def _made(rng: Random, stream: int) -> Frame:
    stream = rng.choice((0, 1, 3, stream, stream + 2, 2))
    number = pack(">I", rng.choice((0, 1, 5, 65535, 2**31 - 1, 2**31, 2**32 - 1)))
    key = rng.choice((1, 2, 3, 4, 5, 6, 8, 9))
    return rng.choice(
        (
            Frame(WINDOW_UPDATE, 0, stream, number),
            Frame(RST_STREAM, 0, stream, number),
            Frame(SETTINGS, 0, rng.choice((0, 0, stream)), pack(">H", key) + number),
            Frame(SETTINGS, 1, 0, b""),
            Frame(GOAWAY, 0, 0, number + pack(">I", rng.randrange(16))),
            Frame(PRIORITY, 0, stream, number + b"\0"),
            Frame(PUSH_PROMISE, END_HEADERS, stream, pack(">I", 2) + b"\x82"),
            Frame(CONTINUATION, END_HEADERS, stream, b"\x82"),
            Frame(HEADERS, rng.choice((4, 5)), stream, rng.choice(BLOCKS)),
            Frame(DATA, rng.choice((0, 1)), stream, b"x"),
            Frame(PING, rng.choice((0, 1)), 0, b"12345678"),
        )
    )
