"""HTTP/1 exchanges by the grammar of RFC 9112, and how their bytes may be read."""

from __future__ import annotations

import re
from random import Random
from typing import NamedTuple

METHODS = (b"GET", b"GET", b"GET", b"GET", b"POST", b"POST", b"PUT", b"HEAD", b"DELETE", b"OPTIONS", b"PATCH")
VALUES = (b"", b"1", b"a, b", b"text/plain; q=0.5", b"\xe4\xf6", b"x" * 40, b'"quo\\"ted"', b"ana", b"a=b; version=ana")
NAMES = (
    b"Accept",
    b"Cookie",
    b"X-A",
    b"Content-Type",
    b"User-Agent",
    b"Via",
    b"Te",
    b"Versions",
    b"X-Version",
    b"Trailer",
)
TE = b"Transfer-Encoding: "


class Sent(NamedTuple):
    """A message that is right. LAST: the connection ends after it, or speaks something else."""

    raw: bytes
    method: bytes = b""
    ana: bool = False
    last: bool = False
    switches: bool = False


def body_of(rng: Random) -> bytes:
    kind = rng.random()
    if kind < 0.3:
        return rng.randbytes(rng.choice((1, 2, 5, 17, 100)))
    if kind < 0.6:  # what another parser would take for a message
        return rng.choice(
            (
                b"GET /smuggled HTTP/1.1\r\nHost: a\r\nx-id: 666\r\n\r\n",
                b"0\r\n\r\n",
                b"\r\n\r\n",
                b"\n",
                b"\r\n0\r\n\r\n",
            )
        )
    return b"b" * rng.choice((1, 10, 300, 1000, 3000))


def chunked(rng: Random, body: bytes) -> bytes:
    """BODY in chunks, with extensions and trailers at times."""
    out = []
    while body:
        size = rng.randint(1, len(body))
        extension = rng.choice((b"", b"", b"", b";a", b";a=b", b';a="b;c"'))
        out.append((b"%x" if rng.random() < 0.8 else b"%X") % size + extension + b"\r\n" + body[:size] + b"\r\n")
        body = body[size:]
    out.append(rng.choice((b"0", b"0", b"0", b"000", b"0;x")) + b"\r\n")
    for _ in range(rng.choice((0, 0, 0, 1, 2))):
        out.append(field(rng))
    return b"".join(out) + b"\r\n"


def field(rng: Random) -> bytes:
    space = rng.choice((b" ", b" ", b"", b"\t ", b"  "))
    return rng.choice(NAMES) + b":" + space + rng.choice(VALUES) + rng.choice((b"", b"", b" ")) + b"\r\n"


def framed(rng: Random, body: bytes, *, chunks: bool) -> tuple[list[bytes], bytes]:
    """The framing header, and the body as it goes."""
    if chunks:
        coding = rng.choice((b"chunked", b"chunked", b"Chunked"))
        return [rng.choice((TE, b"transfer-encoding:")) + coding + b"\r\n"], chunked(rng, body)
    return [rng.choice((b"Content-Length: ", b"content-length:")) + b"%d\r\n" % len(body)], body


def request(rng: Random, number: int, *, final: bool) -> Sent:
    """FINAL: it may be the connection's last one."""
    method = rng.choice(METHODS)
    ana = rng.random() < 0.4
    lines = [b"Host: shop\r\n", b"x-id: %d\r\n" % number]
    if ana:
        lines.append(rng.choice((b"version: ana", b"Version:ana", b"VERSION: \tana ")) + b"\r\n")
    elif rng.random() < 0.3:
        lines.append(rng.choice((b"version: bob", b"version: anan", b"version:", b"x-version: ana")) + b"\r\n")
    lines += [field(rng) for _ in range(rng.choice((0, 0, 1, 1, 2, 5)))]
    body, last, switches, version = b"", False, False, b"HTTP/1.1"
    special = rng.random()
    if final and special < 0.1:
        switches = True
        if special < 0.04:
            method = b"CONNECT"
        else:
            lines += [b"Connection: keep-alive, Upgrade\r\n", b"Upgrade: x\r\n"]
            method = b"GET"
    elif final and special < 0.3:
        last = True
        if special < 0.2:
            version = b"HTTP/1.0"
        else:
            lines.append(rng.choice((b"Connection: close\r\n", b"connection: x-a, Close\r\n")))
    elif special < 0.4:
        lines.append(
            rng.choice((b"Connection: keep-alive\r\n", b"Connection: Keep-Alive, Te\r\n", b"Connection: x-a\r\n"))
        )
    if method in (b"POST", b"PUT", b"PATCH") or (rng.random() < 0.05 and method == b"GET" and not switches):
        more, body = framed(rng, body_of(rng) if rng.random() < 0.9 else b"", chunks=not last and rng.random() < 0.5)
        lines += more
        if rng.random() < 0.1:
            lines.append(b"Expect: 100-continue\r\n")
    rng.shuffle(lines)
    target = (
        b"shop:80"
        if method == b"CONNECT"
        else rng.choice((b"/", b"/a?b=c", b"/a/b;c=d?e=f&g", b"http://shop/x", b"/%00%0d%0a"))
    )
    if method == b"OPTIONS" and rng.random() < 0.5:
        target = b"*"
    raw = method + b" " + target + b" " + version + b"\r\n" + b"".join(lines) + b"\r\n" + body
    return Sent(raw, method, ana, last or switches, switches)


def answer(rng: Random, method: bytes, number: bytes, *, switches: bool = False) -> Sent:
    """To a request with that method and id. LAST: it ends with its connection."""
    out = b""
    while rng.random() < 0.06:
        out += rng.choice((b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"))
    lines = [b"x-id: " + number + b"\r\n"] + [field(rng) for _ in range(rng.choice((0, 0, 1, 3)))]
    if switches:
        if method == b"CONNECT":
            return Sent(out + b"HTTP/1.1 200 OK\r\n" + b"".join(lines) + b"\r\n", method, last=True, switches=True)
        lines += [b"Connection: Upgrade\r\n", b"Upgrade: x\r\n"]
        return Sent(
            out + b"HTTP/1.1 101 Switching Protocols\r\n" + b"".join(lines) + b"\r\n", method, last=True, switches=True
        )
    status = rng.choice(
        (
            b"200 OK",
            b"200 OK",
            b"200 OK",
            b"404 Not Found",
            b"204 No Content",
            b"304 Not Modified",
            b"500 ",
            b"299 \xe4",
        )
    )
    if method == b"CONNECT":
        status = b"403 No"
    bare = status[:3] in (b"204", b"304")
    body, last = b"", False
    if not bare or status[:1] == b"3":
        kind = rng.random()
        body = body_of(rng) if rng.random() < 0.8 else b""
        if kind < 0.1 and method != b"HEAD" and not bare:
            last = True
            if rng.random() < 0.5:
                lines.append(b"Connection: close\r\n")
        else:
            more, body = framed(rng, body, chunks=kind < 0.4)
            lines += more
    if method == b"HEAD" or bare:
        body = b""
    if not last and rng.random() < 0.1:
        last = True
        lines.append(rng.choice((b"Connection: close\r\n", b"Connection: x-a, close\r\n")))
    rng.shuffle(lines)
    return Sent(out + b"HTTP/1.1 " + status + b"\r\n" + b"".join(lines) + b"\r\n" + body, method, last=last)


def pieces(rng: Random, data: bytes) -> list[bytes]:
    """DATA as it may be read: whole, in some pieces, or byte by byte."""
    way = rng.random()
    if way < 0.4 or len(data) < 2:
        return [data] if data else []
    if way < 0.5 and len(data) < 600:
        return [data[i : i + 1] for i in range(len(data))]
    cuts = sorted({0, len(data), *(rng.randrange(len(data)) for _ in range(rng.choice((1, 2, 5, 12))))})
    if rng.random() < 0.5:  # at the ends of heads and chunks, where it matters
        cuts = sorted(
            {*cuts, *(m.start() + rng.randint(0, 4) for m in re.finditer(rb"\r\n\r\n|\n", data) if rng.random() < 0.3)}
        )
    cuts = [cut for cut in cuts if cut <= len(data)]
    return [data[a:b] for a, b in zip(cuts, cuts[1:], strict=False) if b > a]
