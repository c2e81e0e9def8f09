"""The sessions of this laptop are files that tell living processes from dead ones."""

from __future__ import annotations

import errno
import json
import os
import platform
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ktpy.errors import Interrupted, LeftBehind
from ktpy.laptop import state
from ktpy.laptop.state import (
    Record,
    ask_to_end,
    folder,
    is_running,
    logs,
    open_run,
    registered,
    runs,
    start_stamp,
    take_outcome,
)


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


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"name": "x", "other": 1}', '{"name": "x", "pid": "1", "started": ""}', '{"pid": 1}']
)
def test_a_record_that_cannot_be_read_is_neither_shown_nor_touched(text: str) -> None:
    (folder() / "strange.json").write_text(text)
    (folder() / "strange.pid").write_text("1")

    assert runs() == []
    assert {file.name for file in folder().iterdir()} == {"strange.json", "strange.pid"}


def test_a_record_that_cannot_be_opened_just_now_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    with registered(open_run("exchange")) as run:
        with monkeypatch.context() as broken:
            broken.setattr(Path, "read_text", _too_many_files)
            assert runs() == []

        assert not run.was_told_to_stop()
        assert runs() == [run.record]


def _too_many_files(path: Path) -> str:
    raise OSError(errno.EMFILE, "Too many open files", str(path))


def test_a_session_of_another_host_or_container_is_neither_shown_nor_touched() -> None:
    with registered(open_run("exchange")) as run:
        run.write(place="another boot pid:[1]", pid=2**22 + 1)

        assert runs() == []
        assert not run.was_told_to_stop()
        assert run.record.host == platform.node()


def test_a_pid_that_another_host_uses_too_gets_another_name() -> None:
    with registered(open_run("exchange")) as there:
        there.write(place="another boot pid:[1]")

        with registered(open_run("exchange")) as here:
            assert runs() == [here.record]

        assert not there.was_told_to_stop()


def test_where_the_kernel_does_not_say_the_place_is_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_text", _too_many_files)

    assert state.this_place() == platform.node()


def test_a_field_of_a_newer_version_is_ignored() -> None:
    with registered(open_run("exchange")) as run:
        file = folder() / f"{run.name}.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), "newer": 1}))

        assert runs() == [run.record]


def test_a_log_that_is_removed_meanwhile_is_no_log(monkeypatch: pytest.MonkeyPatch) -> None:
    (folder() / "gone.log").symlink_to(folder() / "nowhere")
    (folder() / "here.log").write_text("")

    assert [log.name for log in logs()] == ["here.log"]


def test_a_run_that_ends_well_or_before_it_was_ready_leaves_nothing() -> None:
    with registered(open_run("exchange")) as well:
        pass
    with pytest.raises(Interrupted), registered(open_run("exchange")) as asked:
        raise Interrupted("Stopped before it was ready.")

    assert take_outcome(well.record) is take_outcome(asked.record) is None
    assert not list(folder().iterdir())


def test_a_run_that_fails_leaves_its_outcome_for_one_reader() -> None:
    with pytest.raises(LeftBehind), registered(open_run("exchange")) as run:
        raise LeftBehind("stayed.", "ktpy recover")

    error = take_outcome(run.record)
    assert error is not None
    assert (error.code, error.what, error.try_) == (7, "stayed.", ("ktpy recover",))
    assert not list(folder().iterdir())


def test_a_bug_is_an_outcome_too() -> None:
    with pytest.raises(ZeroDivisionError), registered(open_run("exchange")) as run:
        raise ZeroDivisionError

    error = take_outcome(run.record)
    assert error is not None
    assert (error.code, error.try_) == (1, (f"ktpy logs {run.name}",))


def test_a_run_whose_record_outlives_it_was_killed() -> None:
    run = open_run("exchange")
    run.write()

    assert isinstance(take_outcome(run.record), LeftBehind)


def test_the_outcome_of_an_earlier_process_with_that_pid_is_not_this_ones() -> None:
    with pytest.raises(LeftBehind), registered(open_run("exchange")):
        raise LeftBehind("stayed.")

    with registered(open_run("exchange")) as run:
        pass

    assert take_outcome(run.record) is None


def test_outcomes_go_with_the_old_logs() -> None:
    for number in range(state.KEEP + 5):
        (folder() / f"exchange-{number}.outcome").write_text("{}")
        log = folder() / f"exchange-{number}.log"
        log.write_text("")
        os.utime(log, (number, number))

    open_run("exchange")

    assert len(list(folder().glob("*.outcome"))) == state.KEEP - 1


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
