"""SOCKS5, byte by byte (RFC 1928), and which flows the inspector forgets."""

from __future__ import annotations

import errno
from types import SimpleNamespace
from typing import Any

import pytest

from ktpy_router import inspect
from ktpy_router.inspector import MOST_MESSAGES, PREFACE, Keep, is_h2, token
from ktpy_router.settings import parse

BOUND = b"\x00\x00\x00\x00\x00\x00"


@pytest.mark.parametrize(
    ("host", "place"),
    [
        ("10.0.0.9", b"\x01\x0a\x00\x00\x09"),
        ("fd00::9", b"\x04\xfd" + bytes(14) + b"\x09"),
        ("shop.team.svc", b"\x03\x0dshop.team.svc"),
    ],
)
def test_greeting_and_connect_go_out_together(host, place):
    assert inspect.request(host, 8080) == b"\x05\x01\x00" + b"\x05\x01\x00" + place + b"\x1f\x90"


@pytest.mark.parametrize(
    ("kind", "bound"),
    [(b"\x01", BOUND), (b"\x03", b"\x03abc\x00\x50"), (b"\x03", b"\x00\x00\x50"), (b"\x04", bytes(18))],
)
def test_an_answer_is_whole_with_its_last_byte_and_what_follows_is_the_upstreams(kind, bound):
    whole = b"\x05\x00" + b"\x05\x00\x00" + kind + bound

    assert [inspect.reply(whole[:n]) for n in range(len(whole))] == [None] * len(whole)
    assert inspect.reply(whole + b"220 hello") == inspect.Reply(0, len(whole))


@pytest.mark.parametrize(
    ("code", "error"),
    [(4, errno.EHOSTUNREACH), (5, errno.ECONNREFUSED), (1, errno.ECONNABORTED), (99, errno.ECONNABORTED)],
)
def test_an_upstream_that_cannot_be_reached_is_an_os_error(code, error):
    reply = inspect.reply(b"\x05\x00" + bytes((5, code, 0, 1)) + BOUND)

    assert reply is not None
    assert reply.error == error


@pytest.mark.parametrize(
    "said",
    [b"HTTP/1.1 400 Bad", b"\x05\xff", b"\x04", b"\x05\x00\x04\x00\x00\x01\x00", b"\x05\x00\x05\x00\x00\x09\x00"],
)
def test_no_socks5_is_told(said):
    with pytest.raises(ValueError, match="no SOCKS5"):
        inspect.reply(said)


SETTINGS = b"\x00\x00\x06\x04\x00\x00\x00\x00\x00" + b"\x00\x03\x00\x00\x00\x64"


@pytest.mark.parametrize(
    ("client", "server", "expected"),
    [
        (PREFACE + SETTINGS, b"", True),
        (b"", SETTINGS, True),
        (b"", b"220 hello\r\n", False),
        (b"", b"", False),
        (b"GET / HTTP/1.1\r\n", b"", False),
        (b"PRI * HTTP/1.1\r\n", SETTINGS, False),
    ],
)
def test_http_2_is_told_by_whoever_speaks_first(client, server, expected):
    assert is_h2(client, server) is expected


def flow(name: str, body: bytes = b"", **more: Any) -> Any:
    request, response = SimpleNamespace(raw_content=None), SimpleNamespace(raw_content=body, status_code=200)
    return SimpleNamespace(**{"id": name, "request": request, "response": response, "websocket": None, **more})


class Kept:
    def __init__(self, most: int = 1000, most_bytes: int = 1 << 30) -> None:
        self.gone: list[str] = []
        self.keep = Keep(lambda flows: self.gone.extend(one.id for one in flows), most, most_bytes)


def test_the_oldest_flows_are_forgotten_above_a_number():
    kept = Kept(most=2)

    for name in "abcd":
        kept.keep.response(flow(name))

    assert kept.gone == ["a", "b"]


def test_or_above_a_sum_of_bytes():
    kept = Kept(most_bytes=100_000)

    for name in "abc":
        kept.keep.response(flow(name, b"x" * 45_000))
    kept.keep.response(flow("huge", b"x" * 200_000))

    assert kept.gone == ["a", "b", "c", "huge"]


def test_a_flow_counts_once_when_an_error_follows_its_answer():
    kept = Kept(most=2)

    for one in (flow("a"), flow("b")):
        kept.keep.response(one)
        kept.keep.error(one)

    assert kept.gone == []


def test_a_websocket_is_kept_until_its_end_with_its_last_messages_only():
    kept = Kept(most=0)
    messages = [SimpleNamespace(content=b"x") for _ in range(MOST_MESSAGES + 5)]
    open_one = flow(
        "ws", websocket=SimpleNamespace(messages=messages), response=SimpleNamespace(raw_content=None, status_code=101)
    )

    kept.keep.response(open_one)
    kept.keep.websocket_message(open_one)
    assert (kept.gone, len(messages)) == ([], MOST_MESSAGES)

    kept.keep.websocket_end(open_one)
    assert kept.gone == ["ws"]


def test_a_raw_connection_too():
    kept = Kept(most=0)
    messages = [SimpleNamespace(content=b"x") for _ in range(MOST_MESSAGES + 5)]
    raw = SimpleNamespace(id="raw", messages=messages)

    kept.keep.tcp_message(raw)  # type: ignore[arg-type]
    assert (kept.gone, len(messages)) == ([], MOST_MESSAGES)

    kept.keep.tcp_end(raw)  # type: ignore[arg-type]
    assert kept.gone == ["raw"]


def test_the_token_is_made_once_for_our_eyes_only(tmp_path):
    settings = parse(["--table", "t", "--run-dir", str(tmp_path)])

    made = token(settings.token)

    assert len(made) >= 32
    assert settings.token.stat().st_mode & 0o777 == 0o600
    assert token(settings.token) == made
