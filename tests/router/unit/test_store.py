"""The newer file wins; a bad one is passed over with a word about it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ktpy_router import store
from ktpy_router.store import Store
from ktpy_router.table import BadTable, Table


def text(version: int, listen: int = 8080) -> str:
    ports = [{"listen": listen, "default": "10.0.0.1:80"}]
    return json.dumps({"format": 1, "version": version, "ports": ports})


@pytest.fixture
def files(tmp_path: Path) -> Store:
    return Store(tmp_path / "mounted.json", tmp_path / "state.json")


def write(files: Store, mounted: str | None, state: str | None) -> Store:
    for path, content in ((files.mounted, mounted), (files.state, state)):
        if content is not None and path is not None:
            path.write_text(content)
    return files


@pytest.mark.parametrize(
    ("mounted", "state", "version", "said"),
    [
        (text(3), None, 3, ""),
        (text(3), text(5), 5, ""),
        (text(6), text(5), 6, ""),
        (text(3), "{", 3, "state.json: The table is not JSON"),
        ("{}", text(5), 5, "mounted.json: The table: format, ports, version is missing."),
        (None, text(5), 5, "mounted.json: it is not there."),
    ],
)
def test_the_newest_good_one_wins(files, mounted, state, version, said):
    warnings: list[str] = []

    assert write(files, mounted, state).newest(warn=warnings.append).version == version

    assert said in "".join(warnings)
    assert bool(said) == bool(warnings)


def test_without_a_good_one_every_reason_is_told(files):
    with pytest.raises(BadTable, match=r"mounted.json: it is not there. .*state.json: The table is not JSON"):
        write(files, None, "nonsense").newest(warn=pytest.fail)


def test_one_for_other_ports_than_are_bound_is_passed_over(files):
    warnings: list[str] = []

    assert write(files, text(9, 9090), text(5)).newest(listens=(8080,), warn=warnings.append).version == 5

    assert "for listening port 9090, and this router has bound 8080" in warnings[0]


def test_a_process_that_starts_later_falls_back_on_what_the_first_one_read(files):
    first = Table.from_json(text(4))
    warnings: list[str] = []

    assert store.at_start(files, first, warn=warnings.append) == first
    assert store.at_start(write(files, text(3), None), first, warn=warnings.append).version == 4
    assert store.at_start(write(files, text(3), text(7)), first, warn=warnings.append).version == 7
    assert len(warnings) == 1


def test_what_is_kept_is_read_again_and_leaves_no_other_file(files):
    table = Table.from_json(text(8))

    for _ in range(2):
        files.begin(table.to_json())()

    assert files.state is not None
    assert store.read(files.state) == table
    assert list(files.state.parent.iterdir()) == [files.state]


def test_what_has_only_begun_is_not_the_state_yet(files):
    files.begin(text(7))()
    settle = files.begin(text(8))
    assert files.state is not None
    assert store.read(files.state).version == 7

    settle()
    assert store.read(files.state).version == 8


def test_a_write_that_fails_leaves_the_old_one(files, tmp_path):
    folder = tmp_path / "state.json"
    folder.mkdir()
    (folder / "in the way").touch()

    with pytest.raises(OSError, match="directory"):
        files.begin(text(8))()

    assert [path.name for path in tmp_path.iterdir()] == ["state.json"]


def test_without_a_state_file_nothing_is_kept(files):
    files._replace(state=None).begin(text(8))()

    assert files.state is not None
    assert not files.state.exists()


def test_a_file_that_cannot_be_read_is_a_bad_table(tmp_path):
    with pytest.raises(BadTable, match="cannot be read: Is a directory"):
        store.read(tmp_path)
