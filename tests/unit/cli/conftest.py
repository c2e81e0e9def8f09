"""The command line against a FakeApi: `ktpy(...)` runs one invocation and keeps what it said."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from ktpy.cli.app import App, shape
from ktpy.cli.main import run
from ktpy.kt import Kt
from ktpy.laptop.machine import Laptop
from ktpy.laptop.state import open_run
from tests.fakes.api import FakeApi
from tests.fakes.run import Person, person


@dataclass
class FakeApp(App):
    """An App whose Kt goes to a fake cluster."""

    user: Person | None = None

    def kt(self, command: str) -> Kt:
        assert self.user is not None, "this command needs no cluster"
        self.run = open_run(command)
        return dataclasses.replace(
            self.user.kt, laptop=Laptop(self.run), stop=self.stop, tell=self.tell, shape=shape(self.settings())
        )


@dataclass(frozen=True)
class Said:
    """One invocation: its exit code, and what it said where."""

    code: int
    out: str
    err: str


@pytest.fixture
def ktpy(capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """Run `ktpy WORDS` as USER of a fake cluster, or with a cluster of nobody."""

    def invoke(*words: str, user: Person | FakeApi | None = None, app: FakeApp | None = None) -> Said:
        app = app or FakeApp()
        app.user = person(user) if isinstance(user, FakeApi) else user
        code = run(words, app)
        out, err = capsys.readouterr()
        return Said(code, out, err)

    return invoke
