"""`ktpy completion`."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_for_each_shell_is_printed(ktpy, shell: str) -> None:
    said = ktpy("completion", shell)

    assert said.code == 0
    assert "_KTPY_COMPLETE" in said.out


def test_another_shell_is_usage(ktpy) -> None:
    assert ktpy("completion", "tcsh").code == 2
