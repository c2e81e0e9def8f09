"""A session in the background, seen and ended from other terminals, and what the listings say meanwhile."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.harness.client import InCluster
from tests.e2e.harness.laptop import Server
from tests.e2e.harness.people import Person
from tests.e2e.harness.process import is_gone
from tests.e2e.harness.space import Space
from tests.e2e.harness.until import until

URL = "http://shop/"


@pytest.fixture
def background(ana: Person, server: Server) -> Iterator[int]:
    """The pid of ana's session in the background."""
    done = ana.run("exchange", "shop", "--expose", str(server.port), "--background")
    assert done.code == 0, done.said
    assert "Ready after" in done.err, done.said
    (run,) = ana.run("status", "--output", "json").json()
    yield run["pid"]
    with contextlib.suppress(ProcessLookupError):
        os.kill(run["pid"], signal.SIGTERM)
        until(lambda: is_gone(run["pid"]), "the session ends", seconds=15)


def test_a_session_in_the_background_is_an_ordinary_process_that_leave_ends(
    space: Space, ana: Person, server: Server, client: InCluster
) -> None:
    before = space.snapshot()
    started = ana.run("exchange", "shop", "--expose", str(server.port), "--background")
    (run,) = ana.run("status", "--output", "json").json()
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{run['pid']}/status").read_text().splitlines())
    client.wait_for(URL, "laptop")
    left = ana.run("leave", "shop")

    assert started.code == 0, started.said
    assert (run["mode"], run["target"], run["state"]) == ("exchange", "service/shop", "ready")
    assert status["Uid"].split() == [str(ana.uid)] * 4
    assert int(status["CapEff"], 16) == 0
    assert left.code == 0, left.said
    assert is_gone(run["pid"])
    assert ana.run("status", "--output", "json").json() == []
    space.wait_same(before)


def test_a_background_session_that_cannot_start_says_why_and_hands_its_code_on(
    space: Space, ana: Person, server: Server
) -> None:
    before = space.snapshot()
    done = ana.run("exchange", "shopp", "--expose", str(server.port), "--background")

    assert done.code == 3, done.said
    assert "service/shopp" in done.err
    assert ana.run("status", "--output", "json").json() == []
    space.wait_same(before, seconds=0)


@pytest.mark.usefixtures("background")
def test_status_and_logs_show_the_run_and_other_users_see_nothing_of_it(ana: Person, bob: Person) -> None:
    (run,) = ana.run("status", "--output", "json").json()
    table = ana.run("status")
    log = ana.run("logs", run["name"])

    assert "service/shop" in table.out
    assert run["name"] in table.out
    assert "DEBUG" in log.out, log.said
    assert "name='switch'" in log.out
    assert bob.run("status", "--output", "json").json() == []
    assert bob.run("leave", "shop").code == 3


@pytest.mark.usefixtures("background")
def test_birdseye_shows_everybody_who_holds_what(space: Space, bob: Person) -> None:
    rows = bob.run("birdseye", "--output", "json").json()
    table = bob.run("list")

    (held,) = (row for row in rows if row["target"] == "service/shop")
    (share,) = held["shares"]
    assert (held["status"], share["owner"], share["state"]) == ("exchanged", "ana", "alive")
    assert share["seen_seconds"] <= 12
    assert "ana" in table.out
    assert table.code == 0


@pytest.mark.usefixtures("background")
def test_recover_and_clean_leave_a_living_session_of_another_alone(
    space: Space, bob: Person, client: InCluster
) -> None:
    before = space.service()
    results = [bob.run(*words) for words in (("recover", "shop"), ("recover",), ("clean",), ("clean", "--all"))]

    assert [done.code for done in results] == [4, 0, 0, 0], "\n".join(done.said for done in results)
    assert "ana" in results[0].err
    assert "ana" in results[3].out
    assert space.service() == before


def test_recover_force_ends_another_and_he_says_by_whom_with_code_4(
    space: Space, ana: Person, bob: Person, server: Server
) -> None:
    before = space.snapshot()
    with ana.start("exchange", "shop", "--expose", str(server.port)) as session:
        session.wait_ready()
        done = bob.run("recover", "shop", "--force")
        code = session.wait(20)

    assert done.code == 0, done.said
    assert code == 4, session.said()
    (failed,) = (event for event in session.events() if event["event"] == "failed")
    assert "bob" in failed["what"]
    space.wait_same(before)


def test_a_dry_run_prints_each_object_with_what_undoes_it_and_changes_nothing(
    space: Space, ana: Person, server: Server
) -> None:
    before = space.snapshot()
    words = ("exchange", "shop", "--expose", str(server.port), "--mode", "direct", "--dry-run")
    text, lines = ana.run(*words), ana.run(*words, "--output", "json")

    deeds = [json.loads(line) for line in lines.out.splitlines() if line.startswith('{"do"')]
    assert [deed["do"].partition("/")[0] for deed in deeds] == [
        "create lease", "create secret", "create pod", "patch service",
    ]  # fmt: skip
    assert all(deed["undo"] for deed in deeds)
    assert text.code == lines.code == 0, text.said + lines.said
    assert text.out.count("# undone by") == 4
    space.wait_same(before, seconds=0)


def test_every_line_of_output_json_is_an_event_and_stderr_is_for_words(
    space: Space, ana: Person, server: Server
) -> None:
    with ana.start("exchange", "shop", "--expose", str(server.port), "--mode", "direct") as session:
        session.wait_ready()
        space.client().wait_for(URL, "laptop")
        session.interrupt()
        assert session.wait() == 0, session.said()

    events = [json.loads(line) for line in session.out.splitlines()]
    assert session.err == ""
    assert [event["name"] for event in events if event["event"] == "step"] == [
        "look", "shadow pod", "tunnel", "switch", "follow", "give back",
    ]  # fmt: skip
    assert [event["event"] for event in events if event["event"] in ("ready", "ended")] == ["ready", "ended"]
    assert events[-1]["event"] == "ended"
    assert events[-1]["connections"] >= 1


def test_the_first_request_is_told_when_it_comes(space: Space, ana: Person, server: Server) -> None:
    with ana.start("exchange", "shop", "--expose", str(server.port)) as session:
        session.wait_ready()
        space.client().wait_for(URL, "laptop")
        session.wait_event("first-request", seconds=2)
        session.interrupt()
        assert session.wait() == 0, session.said()


def test_with_a_command_events_go_to_the_file_and_stdout_is_the_commands(
    space: Space, ana: Person, server: Server
) -> None:
    file = ana.home / "events"
    words = ("exchange", "shop", "--expose", str(server.port), "--events", str(file), "--", "sh", "-c")
    with ana.start(*words, "echo hello; cat; exit 0") as session:
        code = session.wait()

    assert code == 0, session.said()
    assert session.out == "hello"
    assert all(json.loads(line)["event"] for line in file.read_text().splitlines())


def test_doctor_finds_nothing_bad_for_a_user_with_the_published_role(ana: Person) -> None:
    done = ana.run("doctor", "--output", "json")
    verdicts = {finding["check"]: finding["verdict"] for finding in done.json()}

    assert done.code == 0, done.said
    assert verdicts["rights"] == verdicts["secrets"] == verdicts["admission"] == verdicts["leftovers"] == "ok"
    assert "bad" not in verdicts.values()


def test_doctor_names_the_right_that_lacks(space: Space) -> None:
    nobody = space.newcomer("eve", "nobody", {"metadata": {}, "rules": []})
    done = nobody.run("doctor")

    assert done.code == 1, done.said
    assert "missing:" in done.out
    assert "create pods" in done.out
