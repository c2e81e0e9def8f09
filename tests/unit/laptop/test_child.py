"""The user's command: started, told apart from one that cannot start, and ended with the session."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ktpy.laptop.child import Child, NoCommand

PAUSE = [sys.executable, "-c", "import signal; signal.pause()"]


def test_a_childs_code_is_its_own() -> None:
    codes: list[int] = []

    with Child([sys.executable, "-c", "raise SystemExit(7)"]) as child:
        child.wait(codes.append)

    assert codes == [7]
    assert child.code == 7


def test_a_child_that_runs_has_no_code_and_is_ended_with_the_block() -> None:
    with Child(PAUSE) as child:
        assert child.code is None

    assert child.code == 128 + signal.SIGTERM


def test_a_child_that_ignores_term_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ktpy.laptop.child.TERM_SECONDS", 0.05)
    deaf = "import signal, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); signal.pause()"
    popen = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: popen(*a, **k, stdout=subprocess.PIPE))

    with Child([sys.executable, "-c", deaf]) as child:
        assert child._process.stdout is not None
        child._process.stdout.readline()
        child._process.stdout.close()

    assert child.code == 128 + signal.SIGKILL


def test_a_child_gets_our_environment_and_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FROM_US", "3")
    code = "import os; raise SystemExit(int(os.environ['FROM_US']) + int(os.environ['MORE']))"

    with Child([sys.executable, "-c", code], {"MORE": "4"}) as child:
        child.wait(lambda code: None)

    assert child.code == 7


def test_a_command_that_is_not_there_or_not_executable_has_a_shells_code(tmp_path: Path) -> None:
    with pytest.raises(NoCommand, match="no-such-command: command not found") as missing:
        Child(["no-such-command"])
    (tmp_path / "text").write_text("")
    with pytest.raises(NoCommand, match="Permission denied") as refused:
        Child([str(tmp_path / "text")])

    assert (missing.value.shell_code, refused.value.shell_code) == (127, 126)
