"""One invocation turns into words and an exit code."""

from __future__ import annotations

import pytest

from ktpy import __version__
from ktpy.cli import main
from ktpy.errors import KtError, Taken
from tests.unit.cli.conftest import FakeApp


@pytest.mark.parametrize("words", [["--help"], ["-h"], []])
def test_help_names_every_command(ktpy, words) -> None:
    said = ktpy(*words)

    assert all(name in said.out + said.err for name in main.TABLE)
    assert "Exit codes" in said.out + said.err


@pytest.mark.parametrize("name", [*main.TABLE, *main.ALIASES])
def test_every_command_has_help(ktpy, name: str) -> None:
    said = ktpy(name, "--help")

    assert said.code == 0
    assert "Usage: ktpy" in said.out


def test_the_version_is_said(ktpy) -> None:
    assert ktpy("--version").out == f"ktpy {__version__}\n"


def test_a_wrong_word_is_usage_with_a_hint(ktpy) -> None:
    said = ktpy("exchang")

    assert said.code == 2
    assert "There is no command 'exchang'" in said.err
    assert "ktpy exchange" in said.err


@pytest.mark.parametrize("words", [["exchange"], ["exchange", "--nope", "shop"], ["--nope"], ["exchange", "a/b/c"]])
def test_wrong_words_are_usage(ktpy, words) -> None:
    said = ktpy(*words)

    assert said.code == 2
    assert said.err.startswith("Error: ")
    assert "--help" in said.err


def raising(error: BaseException):
    def kt(self, command: str):
        raise error

    return kt


@pytest.mark.parametrize(
    ("error", "code"), [(KtError("no", "that"), 1), (Taken("no", "that"), 4), (KeyboardInterrupt(), 130)]
)
def test_a_failure_has_its_code(ktpy, monkeypatch, error, code: int) -> None:
    monkeypatch.setattr(FakeApp, "kt", raising(error))

    said = ktpy("birdseye")

    assert said.code == code
    if isinstance(error, KtError):
        assert said.err == "Error: no\nTry:   that\n"


def test_a_bug_keeps_its_traceback(ktpy, monkeypatch) -> None:
    monkeypatch.setattr(FakeApp, "kt", raising(ZeroDivisionError()))

    with pytest.raises(ZeroDivisionError):
        ktpy("birdseye")


def test_a_bug_in_a_run_with_a_log_is_said_with_the_log(ktpy, monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(FakeApp, "kt", raising(ZeroDivisionError()))

    said = ktpy("birdseye", app=FakeApp(log=tmp_path / "x.log"))

    assert said.code == 1
    assert "This is a bug in ktpy" in said.err
    assert str(tmp_path / "x.log") in said.err


def test_an_error_in_json_is_one_object_on_stdout(ktpy, monkeypatch) -> None:
    monkeypatch.setattr(FakeApp, "kt", raising(Taken("no", "that")))

    said = ktpy("birdseye", "--output", "json")

    assert said.out == '{"event": "failed", "what": "no", "try": ["that"], "code": 4, "log": ""}\n'
    assert said.err == ""
