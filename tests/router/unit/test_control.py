"""Who may ask."""

from __future__ import annotations

import pytest

from ktpy_router import control


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:9901", "LOCALHOST:1", "127.0.0.1", "127.0.0.1:9901", "[::1]:9901"]
)
def test_programs_on_this_machine_may_ask(host):
    assert control.is_local(host, None)


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("", None),
        ("evil.example", None),
        ("localhost.evil.example", None),
        ("127.0.0.1.evil.example:9901", None),
        ("10.0.0.1", None),
        ("localhost:", None),
        ("localhost@evil.example", None),
        ("localhost:9901", "http://evil.example"),
        ("localhost:9901", "null"),
    ],
)
def test_web_pages_may_not(host, origin):
    assert not control.is_local(host, origin)
