"""What can go wrong with HTTP/1 on its way, or be done to it on purpose."""

from __future__ import annotations

import re
from random import Random

TE = b"Transfer-Encoding: "
ODD = b'\r\n\0 \t:;,\x0b\x0c\x7f\x80\xff"\\-+_0aA/%\x1f'
LENGTHS = (
    b"+%d", b"-%d", b" %d", b"%d ", b"0x%x", b"%d, %d", b"%d,%d", b"0%d", b"%d.0", b"%d_0", b"18446744073709551616",
    b"18446744073709551615", b"9999999999999999999999", b"", b"\x0b%d", b"%d\x0c", b"\"%d\"", b"%d;",
    b"00000000000000000000%d",
)  # fmt: skip
CODINGS = (
    b"chunked", b"Chunked", b"chunked, chunked", b"gzip, chunked", b"chunked, gzip", b"identity", b"xchunked",
    b"chunked, identity", b"\x0bchunked", b"chunked\x0c", b"\"chunked\"", b",chunked", b"chunked,", b"chunked;q=1", b"",
    b"chunke", b"chunkedd", b"gzip,chunked", b"\tchunked\t", b"chunked \t", b"gzip", b"chunked\0",
)  # fmt: skip
SIZES = (
    b"0x%x", b"+%x", b"-%x", b" %x", b"%x ", b"%x\t", b"%xg", b"000000000000000000%x", b"%x;", b"%x;a", b"%x;a=b;c",
    b"%x;a=\"b\\\"\"", b"%x;\n", b"%x\n", b"%x;a=\rb", b"1%015x", b"fffffffffffffff%x", b"ffffffffffffffff", b"",
    b"%X", b"_%x",
    b"%x ;a", b"%x;\0", b"%x\r",
)  # fmt: skip
LINE_ENDS = (b"\r\n ", b"\r\n\t", b"\r\n\r\n", b"\r\r\n", b"\n\r\n", b"\r\n\0", b"")

_LENGTH = re.compile(rb"content-length:[ \t]*(\d+)", re.IGNORECASE)
_CODING = re.compile(rb"(transfer-encoding:)[ \t]*[^\r\n]*", re.IGNORECASE)
_SIZE = re.compile(rb"(?<=\r\n)([0-9a-fA-F]{1,6})(?=[;\r])")
_COLON = re.compile(rb"(?<=[A-Za-z]):")
_LINE = re.compile(rb"\r\n")
_VERSION = re.compile(rb"HTTP/1\.[01]")
VERSIONS = (
    b"HTTP/1.2",
    b"HTTP/2.0",
    b"http/1.1",
    b"HTTP/1.1 ",
    b"HTTP/1.",
    b"HTTP/1.10",
    b"HTTP/11",
    b"HTTP/0.9",
    b"HTTP/1.0",
    b" HTTP/1.1",
)
EXTRA = (
    b"Content-Length: 0", b"Content-Length: 3", b"Content-Length: 5, 5", b"content-length : 4",
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding : chunked", b"transfer-encoding: identity", b"Host: other", b"Host:", b"Connection: close",
    b"Connection: keep-alive",
    b"Connection: close, keep-alive", b"Upgrade: x", b"Connection: upgrade", b"version: ana", b"version: bob",
    b": x", b" folded", b"\tfolded",
    b"noColon", b"x-a: a\rb", b"x-a: a\0b", b"x-a: a\nversion: ana", b"Expect: 100-continue",
    b"Connection: transfer-encoding", b"x\x0b: 1",
    b"Trailer: x-id", b"GET /inner HTTP/1.1", b"Transfer_Encoding: chunked", b"\x0btransfer-encoding: chunked", b"",
    b"Proxy-Connection: close",
)  # fmt: skip


def mutate(rng: Random, data: bytes, times: int = 0) -> bytes:
    """DATA after some of what can go wrong, or be done on purpose."""
    for _ in range(times or rng.choice((1, 1, 1, 2, 3))):
        data = rng.choice(_WAYS)(rng, data)
    return data


def _sub(rng: Random, pattern: re.Pattern[bytes], data: bytes, new: bytes) -> bytes:
    found = list(pattern.finditer(data))
    if not found:
        return _odd(rng, data)
    at = rng.choice(found)
    return data[: at.start()] + new + data[at.end() :]


def _odd(rng: Random, data: bytes) -> bytes:
    at = rng.randint(0, len(data))
    return data[:at] + ODD[(i := rng.randrange(len(ODD))) : i + 1] + data[at:]


def _flip(rng: Random, data: bytes) -> bytes:
    at = rng.randrange(len(data) or 1)
    return data[:at] + bytes((data[at] ^ 1 << rng.randrange(8),)) + data[at + 1 :] if data else data


def _cut(rng: Random, data: bytes) -> bytes:
    return data[: rng.randint(0, len(data))]


def _drop(rng: Random, data: bytes) -> bytes:
    at = rng.randint(0, len(data))
    return data[:at] + data[at + rng.choice((1, 1, 2, 4)) :]


def _lines(rng: Random, data: bytes) -> bytes:
    lines = data.split(b"\r\n")
    at = rng.randrange(len(lines))
    way = rng.random()
    if way < 0.4:
        lines.insert(at, lines[rng.randrange(len(lines))])
    elif way < 0.7:
        del lines[at]
    else:
        lines.insert(max(at, 1), rng.choice(EXTRA))
    return b"\r\n".join(lines)


def _extra(rng: Random, data: bytes) -> bytes:
    return _sub(rng, _LINE, data, b"\r\n" + rng.choice(EXTRA) + b"\r\n")


def _length(rng: Random, data: bytes) -> bytes:
    shape = rng.choice(LENGTHS)
    number = int(found[1]) if (found := _LENGTH.search(data)) else 3
    number += rng.choice((0, 0, 0, 1, -1, 5)) if number > 1 else 0
    return _sub(
        rng, _LENGTH, data, b"Content-Length: " + shape.replace(b"%d", b"%d" % number).replace(b"%x", b"%x" % number)
    )


def _size(rng: Random, data: bytes) -> bytes:
    number = int(found[1], 16) if (found := _SIZE.search(data)) else 3
    shape = rng.choice(SIZES)
    return _sub(rng, _SIZE, data, shape % number if b"%" in shape else shape)


_WAYS = (
    _odd, _odd, _odd, _flip, _flip, _cut, _drop, _lines, _lines, _extra, _extra, _extra, _length, _length, _size, _size,
    lambda rng, data: _sub(rng, _CODING, data, TE + rng.choice(CODINGS)),
    lambda rng, data: _sub(rng, _LINE, data, TE + rng.choice(CODINGS) + b"\r\n"),
    lambda rng, data: _sub(rng, _LINE, data, b"\r\n" + TE + rng.choice(CODINGS) + b"\r\n"),
    lambda rng, data: _sub(rng, _LINE, data, b"\n"),
    lambda rng, data: _sub(rng, _LINE, data, b"\r"),
    lambda rng, data: _sub(rng, _LINE, data, rng.choice(LINE_ENDS)),
    lambda rng, data: _sub(rng, _COLON, data, rng.choice((b" :", b"\t:", b"::", b"", b"\x0b:"))),
    lambda rng, data: _sub(rng, _VERSION, data, rng.choice(VERSIONS)),
)  # fmt: skip
