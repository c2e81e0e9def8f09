"""`ktpy` and `python -m ktpy` start the same way."""

from __future__ import annotations

import builtins
import sys
from typing import Any

import pytest

from ktpy.__main__ import main


def test_the_program_ends_with_the_commands_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["ktpy", "nope"])

    with pytest.raises(SystemExit) as ended:
        main()

    assert ended.value.code == 2


def test_ctrl_c_while_it_loads_has_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = builtins.__import__

    def interrupted(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "ktpy.cli.main":
            raise KeyboardInterrupt
        return plain(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", interrupted)

    with pytest.raises(SystemExit) as ended:
        main()

    assert ended.value.code == 130
