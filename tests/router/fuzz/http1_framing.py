"""HTTP/1 framing alone: where we say a message ends, and what h11 and a fresh llhttp see in the bytes that pass."""

from __future__ import annotations

import re
from collections import Counter
from random import Random
from typing import NamedTuple

from ktpy_router.framing import BadBody, answer_body, request_body
from ktpy_router.head import END, BadHead, read_answer, read_request, request_of
from tests.router.fuzz import http1_grammar as grammar
from tests.router.fuzz import http1_mutations as mutations
from tests.router.fuzz import second

PROBE = b"GET /probe HTTP/1.1\r\nHost: p\r\n\r\n"
PROBE_ANSWER = b"HTTP/1.1 299 probe\r\nContent-Length: 0\r\n\r\n"
_BARE = re.compile(rb"\r(?!\n)|(?<!\r)\n|\0")
_BARE_IN_ANSWER = re.compile(rb"\r(?!\n)|(?<!\r)\n|(?<=\n)[^\r]*\0")
"""llhttp lets a NUL through in a reason phrase, where it frames nothing."""
STRICTER = ("Only Transfer-Encoding: chunked", "multiple Transfer-Encoding", "illegal chunk", "malformed chunk")
"""Of h11 with requests: other codings are legal, and it knows no chunk extension that has an odd character."""
_ZEROS = re.compile(rb"\r\ncontent-length:[ \t]*0\d{20,}[ \t]*\r", re.IGNORECASE)
"""Legal, and too long for h11."""
_UPGRADE = re.compile(rb"\r\nupgrade:", re.IGNORECASE)
_TAB = re.compile(rb"\r\ntransfer-encoding:[^\r]*\t\r", re.IGNORECASE)
"""llhttp keeps a tab at the end of a value, and takes the coding for an unknown one."""


class Finding(AssertionError):
    """The router and the second opinion do not agree, or the router failed."""


class Ours(NamedTuple):
    """MESSAGES: (head, body as passed, whole). WHY it ended: refused, partial, switched, or nothing is left."""

    messages: list[tuple[bytes, bytes, bool]]
    why: str


def our_requests(pieces: list[bytes]) -> Ours:
    """What http1.py does with what it reads, less the upstreams."""
    found: list[tuple[bytes, bytes, bool]] = []
    held, body, framer = b"", b"", None
    between = True
    for piece in pieces:
        held += piece
        while held:
            if framer is None:
                if between and (held != b"\r"):
                    held, between = held.removeprefix(b"\r\n"), False
                end = held.find(END) + 4
                if end < 4:
                    break
                head, held, body = held[:end], held[end:], b""
                try:
                    read = read_request(head)
                except BadHead:
                    return Ours(found, "refused")
                framer = request_body(read.low)
            if framer is not None and held:
                try:
                    taken = framer.feed(held)
                except BadBody:
                    return Ours([*found, (head, body, False)], "refused")
                body, held = body + held[:taken], held[taken:]
            if framer is None or framer.done:
                framer, between = None, True
                found.append((head, body, True))
                if read.upgrade:
                    return Ours(found, "switched")
    if framer is not None:
        return Ours([*found, (head, body, False)], "partial")
    return Ours(found, "partial" if held else "")


def our_answer(pieces: list[bytes], method: bytes) -> tuple[bytes, bytes, str]:
    """What http1_upstream.py passes on of the final answer: its head, its body, and whether that is whole."""
    held, body, framer, head = b"", b"", None, b""
    for piece in pieces:
        held += piece
        while framer is None:
            end = held.find(END) + 4
            if end < 4:
                break
            head, held = held[:end], held[end:]
            try:
                read = read_answer(head)
            except BadHead:
                return b"", b"", "refused"
            if read.status == 101 or (method == b"CONNECT" and read.status < 300 and read.status >= 200):
                return head, b"", "switched"
            if read.status >= 200:
                framer = answer_body(method, read.status, read.low)
        if framer is not None:
            try:
                taken = framer.feed(held)
            except BadBody:
                return head, body, "refused"
            body, held = body + held[:taken], held[taken:]
            if framer.done:
                return head, body, "whole"
    return (
        (head if framer is not None else b""),
        body,
        "partial" if framer is None or not _until_end(framer) else "until end",
    )


def _until_end(framer: object) -> bool:
    return type(framer).__name__ == "UntilEnd"


def request_case(rng: Random, tally: Counter[str]) -> bytes:
    """One client's stream; gives it. Errors: Finding."""
    count = rng.choice((1, 1, 1, 2, 3))
    sent = [grammar.request(rng, i, final=i == count - 1) for i in range(count)]
    data = b"".join(one.raw for one in sent)
    valid = rng.random() < 0.05
    if not valid:
        data = mutations.mutate(rng, data)
    tally["exchanges"] += 0 if valid else count
    check_requests(data, grammar.pieces(rng, data), tally, expected=len(sent) if valid else None)
    return data


def check_requests(data: bytes, pieces: list[bytes], tally: Counter[str], *, expected: int | None = None) -> None:
    """Errors: Finding, when bytes that we pass on mean something else to others."""
    ours = our_requests(pieces)
    whole = our_requests([data])
    if [m for m in ours.messages if m[2]] != [m for m in whole.messages if m[2]]:
        raise Finding(f"the way it is cut decides: {ours} {whole}")
    if expected is not None and (len(ours.messages) != expected or ours.why not in ("", "switched")):
        raise Finding(f"valid requests are not accepted: {ours.why} after {len(ours.messages)} of {expected}")
    for i, (head, body, done) in enumerate(ours.messages):
        bare = _BARE.search(head)
        if bare:
            raise Finding(f"a bare CR, LF or NUL passes in a head at {bare.start()}")
        if done:
            _whole_request(head, body, tally, last=i == len(ours.messages) - 1)
        else:
            message, _, _ = second.request(head + body)
            seen = second.by_llhttp(head + body)
            # httptools leaves the body of a request with Upgrade to others, whatever its length.
            if message is not None or (seen.ends and not _UPGRADE.search(head)):
                raise Finding("others see the end of a request that we think goes on")


def _whole_request(head: bytes, body: bytes, tally: Counter[str], *, last: bool) -> None:
    message, rest, error = second.request(head + body + PROBE)
    seen = second.by_llhttp(head + body + PROBE)
    ours = request_of(head)
    if message is None:
        if not error:
            raise Finding("h11 waits for more of a request that we think is complete")
        tally[f"h11 alone refuses a request: {_kind(error)}"] += 1
        if not (error.startswith(STRICTER) or _ZEROS.search(head)):
            raise Finding(f"what h11 refuses passes: {error}")
        if seen.error and seen.ends == 0:
            raise Finding(f"llhttp refuses as a whole what we accept in parts: {seen.error}")
    else:
        if rest != PROBE:
            raise Finding(f"h11 sees another end: {rest[:60]!r}")
        if (message.line, message.target) != (ours.method, ours.path):
            raise Finding(f"h11 sees another request line: {message.line!r} {message.target!r}")
        if [f for f in message.headers if f[0] not in _NORMAL] != [f for f in ours.headers if f[0] not in _NORMAL]:
            raise Finding(f"h11 sees other headers: {message.headers} {ours.headers}")
    if seen.urls and seen.urls[0] != ours.path:
        raise Finding(f"llhttp sees another target: {seen.urls[0]!r}")
    if seen.upgraded_at >= 0:
        if seen.ends and seen.upgraded_at not in (len(head), len(head + body)):
            raise Finding(f"llhttp switches protocols at {seen.upgraded_at}, we at {len(head + body)}")
    elif not seen.error and (seen.ends != 2 or seen.urls != [ours.path, b"/probe"]):
        raise Finding(f"llhttp sees other messages: {seen.ends} {seen.urls}")
    elif seen.error and seen.ends != 1:  # after Connection: close it reads no further
        raise Finding(f"llhttp sees other messages: {seen.ends} {seen.urls} {seen.error}")
    if message is not None and seen.ends and seen.upgraded_at < 0 and message.body != seen.bodies[0]:
        raise Finding("h11 and llhttp see different bodies")


_NORMAL = (b"transfer-encoding", b"content-length")
"""h11 writes them anew."""


def answer_case(rng: Random, tally: Counter[str]) -> tuple[bytes, bytes]:
    """One upstream's stream; gives the method that it answers, and it. Errors: Finding."""
    switches = rng.random() < 0.1
    method = rng.choice((*grammar.METHODS, b"CONNECT")) if not switches else rng.choice((b"CONNECT", b"UPGRADE"))
    sent = grammar.answer(rng, method, b"7", switches=switches or method == b"CONNECT")
    data = sent.raw + (grammar.answer(rng, method, b"8").raw if rng.random() < 0.3 else b"")
    valid = rng.random() < 0.05
    data = sent.raw if valid else mutations.mutate(rng, data)
    tally["exchanges"] += not valid
    check_answer(data, grammar.pieces(rng, data), method, tally, valid=valid)
    return method, data


def check_answer(data: bytes, pieces: list[bytes], method: bytes, tally: Counter[str], *, valid: bool = False) -> None:
    """Errors: Finding, when what we pass on means something else to others."""
    head, body, why = our_answer(pieces, method)
    other = our_answer([data], method)
    if (why, other[2]) != ("refused", "refused") and (head, body, why) != other:
        raise Finding(f"the way it is cut decides: {(head, body, why)} {other}")
    if valid and why not in ("whole", "until end", "switched"):
        raise Finding(f"a valid answer is not passed: {why}")
    if not head:
        return
    if bare := _BARE_IN_ANSWER.search(head):
        raise Finding(f"a bare CR, LF or NUL passes in a head at {bare.start()}")
    ended = why == "until end"
    passed = head + body + (b"" if ended or why == "switched" else PROBE_ANSWER)
    message, rest, error, _ = second.answer(passed, method, ended=ended)
    if message is None:
        if why == "refused":
            return
        if not error and why in ("whole", "switched"):
            raise Finding("h11 waits for more of an answer that we think is complete")
        if error:
            tally[f"h11 alone refuses: {_kind(error)}"] += 1
            return
    elif why == "partial":
        if len(rest) >= len(PROBE_ANSWER):
            raise Finding("h11 sees the end of an answer that we think goes on")
    elif why == "whole" and rest != PROBE_ANSWER:
        raise Finding(f"h11 sees another end: {rest[:60]!r}")
    elif why == "switched" and not message.switched:
        raise Finding("h11 does not switch protocols")
    elif ended and (rest or message.body != body):
        raise Finding("h11 sees another body until the end")
    if why == "whole" and method not in (b"HEAD", b"CONNECT") and not _TAB.search(head):
        seen = second.by_llhttp(passed, of="answers")
        if not seen.error and seen.upgraded_at < 0 and seen.ends != 2:
            raise Finding(f"llhttp sees {seen.ends} answers")


def _kind(error: str) -> str:
    return re.sub(r"[0-9]+|b?['\"].*", "…", error)[:60]
