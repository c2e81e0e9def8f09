"""Settings come from file, environment and flags; a pod's looks come from settings."""

from __future__ import annotations

import getpass
import logging
from pathlib import Path

import pytest

from ktpy import __version__
from ktpy.cli.app import App, shape, user_name
from ktpy.errors import KtError
from ktpy.laptop import config
from ktpy.laptop.state import Run, folder
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


def test_a_folder_that_cannot_be_made_is_told_by_its_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))

    with pytest.raises(KtError, match=f"The folder {tmp_path}/file/ktpy/runs .* Not a directory"):
        App().open_log("exchange")


def test_a_log_that_cannot_be_opened_is_told_with_its_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ktpy.laptop.state.Run.__init__", _run_without_log)

    with pytest.raises(KtError, match=f"The folder {folder()} .* Is a directory"):
        App().open_log("exchange")


def _run_without_log(run: Run, name: str, at: Path) -> None:
    run.log = at  # a folder


def test_a_log_has_no_control_characters() -> None:
    before = logging.getLogger().handlers[:]
    try:
        run = App().open_log("exchange")
        logging.getLogger("ktpy").debug("\x1b]52;c;x\x07")
    finally:
        logs = [handler for handler in logging.getLogger().handlers if handler not in before]
        for handler in logs:
            logging.getLogger().removeHandler(handler)
            handler.close()

    assert "\\x1b]52;c;x\\x07" in run.log.read_text()


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
