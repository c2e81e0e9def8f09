"""The user's command: started, told apart from one that cannot start, and ended with the session."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO

import pytest

from ktpy.laptop.child import Child, NoCommand, _are_zombies

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


# A shell that starts a server and waits for it; a pipe tells when the server is there and when it is gone.
SHELL = ["sh", "-c", f"{sys.executable} -c 'print(flush=True); import signal; signal.pause()' & wait"]


def with_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    popen = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: popen(*a, **k, stdout=subprocess.PIPE))


def is_closed(pipe: IO[bytes]) -> bool:
    """Whether all that held its other end have ended."""
    return bool(select.select([pipe], [], [], 1.0)[0]) and pipe.read() == b""


def test_what_the_child_started_is_ended_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with_pipe(monkeypatch)

    with Child(SHELL) as child:
        assert child._process.stdout is not None
        child._process.stdout.readline()

    with child._process.stdout as pipe:
        assert is_closed(pipe)


def test_what_a_child_that_has_ended_left_running_is_ended_too(monkeypatch: pytest.MonkeyPatch) -> None:
    with_pipe(monkeypatch)

    with Child([*SHELL[:2], SHELL[2].replace("& wait", "& exit 3")]) as child:
        assert child._process.stdout is not None
        child._process.stdout.readline()
        child.wait(lambda code: None)

    with child._process.stdout as pipe:
        assert is_closed(pipe)
    assert child.code == 3


def test_a_group_of_which_nobody_collects_the_dead_has_ended() -> None:
    with subprocess.Popen(["true"], process_group=0) as dead, Child(PAUSE) as alive:
        os.waitid(os.P_PID, dead.pid, os.WEXITED | os.WNOWAIT)  # has ended, and is not yet collected

        assert _are_zombies(dead.pid)
        assert not _are_zombies(alive._process.pid)


@pytest.mark.parametrize("interactive", [False, True])
def test_a_child_is_in_the_terminals_group_only_when_interactive(interactive: bool) -> None:
    with Child(PAUSE, interactive=interactive) as child:
        assert (os.getpgid(child._process.pid) == os.getpgrp()) is interactive

    assert child.code == 128 + signal.SIGTERM


@pytest.mark.parametrize(("interactive", "reads"), [(False, b""), (True, b"x")])
def test_a_child_reads_the_terminal_only_when_interactive(
    monkeypatch: pytest.MonkeyPatch, interactive: bool, reads: bytes
) -> None:
    ours, terminals = os.pipe()
    os.write(terminals, b"x")
    keep = os.dup(0)
    monkeypatch.setattr("ktpy.laptop.child._reads_terminal", lambda: True)
    try:
        os.dup2(ours, 0)
        code = f"import os; raise SystemExit(os.read(0, 1) != {reads!r})"
        with Child([sys.executable, "-c", code], interactive=interactive) as child:
            child.wait(lambda code: None)
    finally:
        os.dup2(keep, 0)
        for number in (ours, terminals, keep):
            os.close(number)

    assert child.code == 0


def test_a_child_reads_a_file_or_pipe_as_without_us(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[object] = []
    popen = subprocess.Popen
    monkeypatch.setattr("ktpy.laptop.child._reads_terminal", lambda: False)
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: [given.append(k["stdin"]), popen(*a, **k)][1])

    with Child(["true"]):
        pass

    assert given == [None]


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
