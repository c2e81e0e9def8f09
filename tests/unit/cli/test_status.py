"""`ktpy status`."""

from __future__ import annotations

import json

from ktpy.laptop.state import open_run, registered


def test_sessions_are_listed(ktpy) -> None:
    with registered(open_run("exchange")) as run:
        run.write(mode="exchange", target="service/shop", state="ready", ports=("80 → x",))

        (row,) = json.loads(ktpy("status", "--output", "json").out)

    assert (row["target"], row["state"], row["ports"]) == ("service/shop", "ready", ["80 → x"])


def test_no_session_is_said(ktpy) -> None:
    assert ktpy("status").err == "No session runs on this laptop.\n"
