"""Settings come from file, environment and flags; a pod's looks come from settings."""

from __future__ import annotations

import getpass
import logging

import pytest

from ktpy import __version__
from ktpy.cli.app import App, shape, user_name
from ktpy.laptop import config
from ktpy.model.settings import Settings


def test_flags_win_over_the_environment_and_that_over_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    config.store("prefix", "file")
    config.store("linger", "2s")
    config.store("timeout", "1m")
    monkeypatch.setenv("KTPY_PREFIX", "environment")
    monkeypatch.setenv("KTPY_LINGER", "3s")

    settings = App(flags={"prefix": "flag"}).settings()

    assert (settings.prefix, settings.linger, settings.timeout) == ("flag", 3.0, 60.0)
    assert settings.sources == {"prefix": "flag", "linger": "environment", "timeout": str(config.path())}


def test_a_pod_looks_as_the_settings_say() -> None:
    made = shape(Settings(label={"a": "b"}, limits={"memory": "1Gi"}, pull_secret="x"))

    assert made.image == f"localhost/ktpy-shadow:{__version__}"
    assert (made.labels, made.pull_secret) == ({"a": "b"}, "x")
    assert made.limits == {"cpu": "1", "memory": "1Gi"}


def test_the_image_is_the_users_or_under_his_prefix() -> None:
    assert shape(Settings(image="mine:1", prefix="x")).image == "mine:1"
    assert shape(Settings(prefix="registry.example/team")).image == f"registry.example/team/ktpy-shadow:{__version__}"


def test_a_user_is_called_by_his_login_also_under_sudo(monkeypatch: pytest.MonkeyPatch) -> None:
    assert user_name({"SUDO_USER": "ana"}) == "ana"
    monkeypatch.setattr(getpass, "getuser", lambda: "bob")
    assert user_name({}) == "bob"


def test_a_uid_without_a_name_is_called_by_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_name() -> str:
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.setattr(getpass, "getuser", no_name)

    assert user_name({}).startswith("uid-")


def test_every_run_has_a_log_at_debug_level() -> None:
    app, root = App(), logging.getLogger()
    before = list(root.handlers)
    try:
        run = app.open_log("birdseye")
        logging.getLogger("ktpy.somewhere").debug("a detail")
    finally:
        for handler in [handler for handler in root.handlers if handler not in before]:
            root.removeHandler(handler)
            handler.close()

    assert app.log == run.log
    assert "a detail" in run.log.read_text()
