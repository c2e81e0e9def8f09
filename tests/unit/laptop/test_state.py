"""The sessions of this laptop are files that tell living processes from dead ones."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

from ktpy.laptop import state
from ktpy.laptop.state import Record, ask_to_end, folder, is_running, logs, open_run, registered, runs, start_stamp


def test_a_registered_run_is_known_while_it_lasts() -> None:
    run = open_run("exchange")

    with registered(run):
        run.write(mode="exchange", target="service/shop", state="ready", ports=("80 → x",))
        assert runs() == [run.record]
        assert run.record.ports == ("80 → x",)
        assert not run.was_told_to_stop()

    assert runs() == []


def test_a_run_that_is_not_registered_is_unknown() -> None:
    open_run("birdseye")

    assert runs() == []


def test_removing_the_pid_file_asks_for_the_end() -> None:
    with registered(open_run("exchange")) as run:
        run.pid_file.unlink()

        assert run.was_told_to_stop()


def test_the_folder_is_for_this_user_only() -> None:
    assert folder().stat().st_mode & 0o077 == 0


def test_a_dead_process_is_forgotten() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    with registered(open_run("exchange")) as run:
        run.write(pid=ended.pid)

        assert runs() == []
        assert not list(folder().glob("*.json"))


def test_a_pid_that_was_given_to_another_process_is_not_the_run() -> None:
    mine = start_stamp(os.getpid())

    assert is_running(Record("x", os.getpid(), mine))
    assert not is_running(Record("x", os.getpid(), f"{mine}0"))


def test_a_process_that_never_was_has_no_stamp() -> None:
    assert start_stamp(2**22 + 1) == ""


def test_a_record_that_cannot_be_read_is_removed() -> None:
    (folder() / "broken.json").write_text("{")
    (folder() / "strange.json").write_text(json.dumps({"name": "x", "other": 1}))

    assert runs() == []
    assert not list(folder().glob("*.json"))


def test_ten_logs_are_kept_and_those_of_living_runs() -> None:
    for number in range(state.KEEP + 5):
        log = folder() / f"exchange-{number}.log"
        log.write_text("")
        os.utime(log, (number, number))

    open_run("exchange").log.write_text("")

    assert len(logs()) == state.KEEP
    assert logs()[0].name == "exchange-6.log"


def test_the_log_of_a_living_run_stays_however_old(monkeypatch) -> None:
    with registered(open_run("exchange")) as run:
        run.log.write_text("")
        os.utime(run.log, (0, 0))
        for number in range(state.KEEP + 5):
            (folder() / f"other-{number}.log").write_text("")

        open_run("clean")

        assert run.log.exists()


def test_asking_to_end_is_a_term() -> None:
    sleeper = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])

    ask_to_end(Record("x", sleeper.pid, start_stamp(sleeper.pid)))

    assert sleeper.wait(10) == -signal.SIGTERM
    ask_to_end(Record("x", sleeper.pid, ""))  # too late is no error
