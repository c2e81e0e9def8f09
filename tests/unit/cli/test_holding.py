"""What ends a run decides its exit code."""

from __future__ import annotations

import pytest

from ktpy.cli.app import App
from ktpy.cli.holding import Held, holding
from ktpy.errors import Interrupted, KtError, LeftBehind, Taken
from ktpy.laptop.child import NoCommand
from ktpy.laptop.state import take_outcome
from ktpy.model.events import Note
from tests.fakes.api import FakeApi
from tests.fakes.run import person
from tests.unit.cli.conftest import FakeApp


def held(*command: str, app: App | None = None) -> Held:
    return Held(app or App(), "exchange", command, wait=1.0, check=True, events=None)


@pytest.mark.parametrize("error", [Taken("x"), KtError("x"), Interrupted("x")])
def test_without_a_command_an_error_has_its_own_code(error: KtError) -> None:
    assert held().code_for(error) == error.code


def test_with_a_command_ours_are_125_and_a_shells_are_its_own() -> None:
    assert held("x").code_for(Taken("x")) == 125
    assert held("x").code_for(NoCommand("x", 127)) == 127


def test_a_worker_that_failed_ends_the_run_with_its_error(api: FakeApi) -> None:
    app = FakeApp(user=person(api))

    with pytest.raises(Taken, match="ended by bob"), holding(held(app=app)) as kt:
        kt.stop.ask("heartbeat failed", error=Taken("ended by bob"))


def test_removing_the_pid_file_ends_the_run(api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ktpy.cli.holding.PID_FILE_SECONDS", 0.001)
    app = FakeApp(user=person(api))

    with holding(held(app=app)) as kt:
        kt.laptop.run.pid_file.unlink()
        assert kt.stop.wait(10)

    assert kt.stop.reason == "pid file removed"


def test_a_run_is_known_while_it_holds(api: FakeApi) -> None:
    app = FakeApp(user=person(api))

    with holding(held(app=app)) as kt:
        assert kt.laptop.run.pid_file.exists()

    assert not kt.laptop.run.pid_file.exists()


@pytest.mark.parametrize("command", [(), ("x",)])
def test_what_went_wrong_is_left_for_leave_with_its_own_code(api: FakeApi, command: tuple[str, ...]) -> None:
    app = FakeApp(user=person(api))

    with pytest.raises(LeftBehind), holding(held(*command, app=app)) as kt:
        raise LeftBehind("service/shop stayed.", "ktpy recover")

    error = take_outcome(kt.laptop.run.record)
    assert error is not None
    assert (error.code, error.what, error.try_) == (7, "service/shop stayed.", ("ktpy recover",))


def test_a_failure_that_a_worker_asked_the_end_with_is_left_for_leave_too(api: FakeApi) -> None:
    app = FakeApp(user=person(api))

    with pytest.raises(Taken), holding(held(app=app)) as kt:
        kt.stop.ask("heartbeat failed", error=Taken("ended by bob"))

    assert "ended by bob" in str(take_outcome(kt.laptop.run.record))


def test_events_of_a_run_with_a_command_do_not_mix_with_its_output(api: FakeApi, capsys) -> None:
    app = FakeApp(user=person(api))
    app.say.as_json = True

    with holding(held("x", app=app)) as kt:
        kt.tell(Note("hello"))

    out, err = capsys.readouterr()
    assert out == ""
    assert "hello" in err
