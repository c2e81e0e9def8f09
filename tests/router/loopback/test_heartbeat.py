"""Sessions that say that they live, and what becomes of the rows of one that no longer does."""

from __future__ import annotations

import os
import signal

import pytest
from harness import Router, fetch, free_port, origin, router, row, table, wait_for

SHORT = ("--expired-seconds", "0.2")


def beat(running: Router, session: str = "ana-1", seconds: float = 0.0) -> dict[str, dict[str, int]]:
    """The counters of that session's rows."""
    answer = running.control("POST", "/heartbeat", {"session": session, "seconds": seconds})
    assert answer.status == 200, answer
    rows: dict[str, dict[str, int]] = answer.json()["rows"]
    return rows


def passed_over(running: Router) -> list[str]:
    found: list[str] = running.control("GET", "/stats").json()["passed_over"]
    return found


def test_a_heartbeat_brings_the_counters_of_its_own_rows() -> None:
    with origin() as default, origin(b"mine") as mine:
        rows = [row("ana", mine, owner="ana-1"), row("gone", f"127.0.0.1:{free_port()}", owner="ana-1"), row("b", mine)]
        with router(table(default, rows), workers=2) as running:
            for mark, times in (("ana", 3), ("gone", 2), ("b", 1)):
                for _ in range(times):
                    fetch(running.port, headers={"version": mark})
            counted = beat(running)

    assert {name: (row["requests"], row["fallbacks"]) for name, row in counted.items()} == {
        "ana": (3, 0), "gone": (2, 2),
    }  # fmt: skip


@pytest.mark.parametrize("body", [b"{", b"{}", b'{"session": "a", "seconds": -1}'])
def test_nonsense_is_refused_in_a_sentence(body: bytes) -> None:
    with origin() as default, router(table(default)) as running:
        answer = running.control("POST", "/heartbeat", body)

    assert (answer.status, answer.body[:12]) == (400, b"A heartbeat ")


def test_a_silent_session_that_leads_nowhere_is_passed_over_and_served_again_when_it_is_heard() -> None:
    mine = f"127.0.0.1:{free_port()}"
    with origin() as default, origin(b"other") as other:
        rows = [row("ana", mine, owner="ana-1", strict=True), row("told", other, owner="bob-1"),
                row("never", mine, owner="eve-1")]  # fmt: skip
        with router(table(default, rows), workers=2, flags=SHORT) as running:
            assert fetch(running.port, headers={"version": "ana"}).status == 502
            beat(running, "ana-1")
            beat(running, "bob-1")
            wait_for(lambda: passed_over(running) == ["ana"], "the row is passed over")
            for _ in range(8):  # of either worker
                assert fetch(running.port, headers={"version": "ana"}).body == b"original"
            stats = running.control("GET", "/stats").json()
            assert (stats["down"][mine], stats["rows"]["ana"]["errors"] > 0) == (2, True)
            assert fetch(running.port, headers={"version": "told"}).body == b"other", "it leads somewhere"
            assert running.control("GET", "/routes").json()["version"] == 1

            assert beat(running, "ana-1", 60.0).keys() == {"ana"}
            wait_for(lambda: fetch(running.port, headers={"version": "ana"}).status == 502, "it is strict again")
            assert passed_over(running) == []


def test_what_is_passed_over_stays_so_when_a_process_of_the_router_dies() -> None:
    mine = f"127.0.0.1:{free_port()}"
    with origin() as default, router(
        table(default, [row("ana", mine, owner="ana-1", strict=True)]), flags=SHORT
    ) as running:  # fmt: skip
        beat(running)
        wait_for(lambda: passed_over(running) == ["ana"], "the row is passed over")
        for name in ("control", "worker0"):
            old = running.helper(name)
            os.kill(old, signal.SIGKILL)
            wait_for(lambda was=old, who=name: running.helper(who) != was and running.is_ready(), "another one")  # type: ignore[misc]
            assert passed_over(running) == ["ana"]
            wait_for(lambda: fetch(running.port, headers={"version": "ana"}).body == b"original", "it is passed over")
