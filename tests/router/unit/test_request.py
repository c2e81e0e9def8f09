"""What is read out of a request's head."""

from __future__ import annotations

import pytest

from ktpy_router.request import Request, cookie_values, host_of, path_of


@pytest.mark.parametrize(
    ("host", "bare"),
    [
        (b"shop", b"shop"),
        (b"Shop:8080", b"shop"),
        (b"[FD00::1]:80", b"[fd00::1]"),
        (b"[fd00::1", b"[fd00::1]"),
        (b"", b""),
    ],
)
def test_a_host_without_its_port(host: bytes, bare: bytes) -> None:
    assert host_of(Request(b"GET", b"/", host, [])) == bare


@pytest.mark.parametrize(
    ("sent", "path"),
    [
        (b"/a/b?c=/d", b"/a/b"),
        (b"*", b"*"),
        (b"", b""),
        (b"http://shop/a/b?c", b"/a/b"),
        (b"HTTPS://shop", b"/"),
        (b"http://shop?x", b"/"),
        (b"shop:443", b"shop:443"),
    ],
)
def test_a_path_without_its_query(sent: bytes, path: bytes) -> None:
    assert path_of(Request(b"GET", sent, b"shop", [])) == path


def test_cookies_in_several_lines() -> None:
    request = Request(b"GET", b"/", b"", [(b"cookie", b"a=1; b=2"), (b"cookie", b"a=3"), (b"x", b"a=4")])

    assert list(cookie_values(request, b"a")) == [b"1", b"3"]
