"""What the first bytes of a connection say where they are HTTP/1: a request's method and path, an answer's status."""

from __future__ import annotations

import re

MOST_BYTES = 4096  # looked at in each direction
MOST_SHOWN = 80  # characters of a path
HIDDEN = "…"

# RFC 9112 section 3: the method is a token, the target has no space.
_REQUEST = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,20}) ([^ \r\n]+)( HTTP/1\.[01]\r?\n)?")
_BEGINNING = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,20}( [^ \r\n]*( H?T?T?P?/?1?\.?[01]?\r?)?)?")
_ABSOLUTE = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*")
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-9][0-9][0-9])[ \r\n]")
SWITCHING = 101


def request(data: bytes) -> tuple[str, str] | None:
    """Method and path, fit to be shown, of the request that DATA begins with.

    None where that is no HTTP/1, or not enough of it; a path that is longer than MOST_BYTES counts as it stands.
    """
    found = _REQUEST.match(data)
    if found is None or not (found[3] or len(data) >= MOST_BYTES) or not _is_target(found[2]):
        return None
    return found[1].decode(), shown(found[2])


def may_become_request(data: bytes) -> bool:
    """Whether more bytes could make a request of DATA."""
    return len(data) < MOST_BYTES and _BEGINNING.fullmatch(data) is not None


def _is_target(target: bytes) -> bool:
    """HTTP/2's preface asks for `*` too, with another version."""
    return target.startswith(b"/") or target == b"*" or _ABSOLUTE.match(target) is not None


def shown(target: bytes) -> str:
    """TARGET's path for a terminal: of a query the names alone, since its values may be secrets; escaped and cut."""
    path, question, query = _ABSOLUTE.sub(b"", target, count=1).partition(b"#")[0].partition(b"?")
    text = _escaped(path) or "/"
    if question:
        text += "?" + "&".join(map(_name, query.split(b"&")))
    return text if len(text) <= MOST_SHOWN else text[: MOST_SHOWN - 1] + HIDDEN


def _name(parameter: bytes) -> str:
    name, equals, _ = parameter.partition(b"=")
    return f"{_escaped(name)}={HIDDEN}" if equals else HIDDEN


def _escaped(raw: bytes) -> str:
    return "".join(chr(byte) if 0x21 <= byte < 0x7F and byte != 0x5C else f"\\x{byte:02x}" for byte in raw)


def status(data: bytes) -> int | None:
    """The status of the answer that DATA begins with, interim ones passed over (RFC 9110 section 15.2).

    None where that is no HTTP/1, or not enough of it.
    """
    at = 0
    while found := _STATUS.match(data, at):
        number = int(found[1])
        if number >= 200 or number == SWITCHING:
            return number
        end = data.find(b"\r\n\r\n", at)
        if end < 0:
            return None
        at = end + 4
    return None


def may_become_answer(data: bytes) -> bool:
    """Whether more bytes could make an answer of DATA, or follow interim ones."""
    return len(data) < MOST_BYTES and data[:7] == b"HTTP/1."[: len(data)]
