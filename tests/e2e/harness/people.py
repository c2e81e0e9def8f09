"""Users of the laptop: each with a home, a kubeconfig with just the published Role, and ktpy to run."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.e2e.harness.node import Node
from tests.e2e.harness.process import Ktpy

# Which way exchanges go that do not say; the suite is run in both.
EXCHANGE_MODE = os.environ.get("KTPY_TEST_EXCHANGE", "direct")
UIDS = {"ana": 20001, "bob": 20002, "eve": 20003}


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> str:
        return f"exit code {self.code}\n{self.out}\n{self.err}"

    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True)
class Person:
    """NAME's account on the laptop, whose `ktpy` comes from VENV. EXTRA: more environment."""

    name: str
    node: Node
    venv: Path
    home: Path
    kubeconfig: Path
    extra: dict[str, str] = field(default_factory=dict)

    @property
    def uid(self) -> int:
        return UIDS[self.name]

    def environment(self) -> dict[str, str]:
        return {
            "HOME": str(self.home),
            "USER": self.name,
            "LOGNAME": self.name,
            "XDG_CONFIG_HOME": f"{self.home}/.config",
            "XDG_STATE_HOME": f"{self.home}/.local/state",
            "XDG_CACHE_HOME": f"{self.home}/.cache",
            "KUBECONFIG": str(self.kubeconfig),
            "PATH": f"{self.venv}/bin:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "TERM": "xterm",
            **self.extra,
        }

    def command(self, *words: str) -> list[str]:
        """The command line that runs WORDS as this user on the laptop."""
        return self.node.laptop(words, self.environment(), uid=self.uid)

    def ktpy(self, *words: str, terminal: bool = False) -> Ktpy:
        """`ktpy WORDS`, running, with what it says as text."""
        program = self.venv / "bin" / "ktpy"
        words = with_mode(words)
        return Ktpy(self.command(str(program), *words), program, terminal=terminal)

    def start(self, *words: str, terminal: bool = False) -> Ktpy:
        """`ktpy --output json WORDS`, running: for `wait_ready` and `events`."""
        return self.ktpy("--output", "json", *words, terminal=terminal)

    def run(self, *words: str, seconds: float = 30.0) -> Done:
        """`ktpy WORDS` to its end."""
        with self.ktpy(*words) as process:
            try:
                code = process.wait(seconds)
            except AssertionError:
                process.signal(signal.SIGTERM)  # it may hold something that it can still give back
                process.wait(15.0)
                raise
            return Done(code, process.out, process.err)

    def state(self, suffix: str) -> list[Path]:
        """Files of this user's runs: json, pid, log."""
        return sorted((self.home / ".local/state/ktpy/runs").glob(f"*.{suffix}"))


def with_mode(words: tuple[str, ...]) -> tuple[str, ...]:
    """WORDS, an exchange's with the way that is tested; a test that names one keeps it."""
    if "exchange" not in words or "--mode" in words:
        return words
    at = words.index("exchange") + 1
    return (*words[:at], "--mode", EXCHANGE_MODE, *words[at:])


def moved_in(name: str, node: Node, venv: Path, folder: Path, kubeconfig: str) -> Person:
    """A new home in FOLDER for NAME with this KUBECONFIG, readable to nobody else."""
    home = folder / name
    home.mkdir(mode=0o700)
    file = home / "kubeconfig"
    file.write_text(kubeconfig)
    file.chmod(0o600)
    if os.getuid() == 0:
        for path in (home, file):
            os.chown(path, UIDS[name], UIDS[name])
    return Person(name, node, venv, home, file)
