"""The built image as the cluster runs it: uid 10001, a read-only root, no capability, and small."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import subprocess
from pathlib import Path

import container
import pytest
from harness import fetch, origin, router, row, table, wait_for

MOST_BYTES = 260 * 1000 * 1000


@pytest.fixture(scope="module")
def root() -> Path:
    try:
        return container.image()[0]
    except (OSError, StopIteration, subprocess.CalledProcessError) as error:
        pytest.skip(f"needs buildah, runc and the image of `ktpy images build`: {error!r}")


def files(root: Path) -> list[Path]:
    return [Path(folder, name) for folder, _, names in os.walk(root) for name in names]


def test_it_serves_as_an_ordinary_user_on_a_read_only_root(root, tmp_path):
    with contextlib.ExitStack() as stack:
        default, mine = stack.enter_context(origin()), stack.enter_context(origin(b"mine"))
        running = stack.enter_context(router(table(default), workers=2, folder=tmp_path, in_image=True))
        running.put(running.table(version=2, rows=[row("ana", mine)]))
        assert fetch(running.port, headers={"version": "ana"}).body == b"mine"

        for pid in (running.pid, running.helper("control"), *running.workers().values()):
            status = Path(f"/proc/{pid}/status").read_text()
            assert f"Uid:\t{container.UID}\t{container.UID}\t{container.UID}" in status
            assert "CapEff:\t0000000000000000" in status
            mounts = Path(f"/proc/{pid}/mountinfo").read_text().splitlines()
            assert next(line for line in mounts if line.split()[4] == "/").split()[5].startswith("ro")

        running.signal(signal.SIGTERM)
        assert running.wait() == 0
        assert running.log() == ""


def test_as_pid_1_it_starts_again_what_died(root):
    with origin() as default, router(table(default), workers=2, in_image=True) as running:
        before = running.workers()[0]
        os.kill(before, signal.SIGKILL)

        wait_for(lambda: running.workers().get(0, before) != before)
        wait_for(running.is_ready)
        assert fetch(running.port).status == 200


def test_the_inspector_runs_there_too(root):
    with origin() as default, origin(b"mine") as mine, router(table(default), in_image=True) as running:
        running.put(running.table(version=2, rows=[row("seen", mine, inspect=True)]))

        assert fetch(running.port, headers={"version": "seen"}).body == b"mine"
        assert running.helper("inspect")


def test_it_is_small(root):
    sizes = {(found.lstat().st_dev, found.lstat().st_ino): found.lstat().st_size for found in files(root)}

    assert sum(sizes.values()) <= MOST_BYTES


def test_nothing_is_left_that_builds_or_installs(root):
    names = {found.name for found in files(root)}

    assert not names & {"pip", "pip3", "gcc", "cc", "ld", "make", "git", "curl", "wget"}
    assert not list(root.glob("opt/router/lib/python3*/site-packages/pip*"))
    assert not list(root.glob("usr/lib/python3*/ensurepip/_bundled/*.whl"))


def test_everything_is_compiled_and_readable_for_everybody(root):
    sources = list(root.glob("opt/router/lib/python3.13/site-packages/ktpy_router/**/*.py"))

    assert len(sources) > 20
    for source in sources:
        assert (source.parent / "__pycache__" / f"{source.stem}.cpython-313.pyc").exists(), source
        assert source.stat().st_mode & stat.S_IROTH


def test_the_versions_are_the_pinned_ones(root):
    wanted = dict(
        line.split("==")
        for line in (Path(__file__).parents[3] / "router-image" / "requirements.txt").read_text().splitlines()
        if "==" in line
    )
    found = {
        path.name.removesuffix(".dist-info")
        for path in root.glob("opt/router/lib/python3.13/site-packages/*.dist-info")
    }
    plain = {name.replace("-", "_").replace(".", "_").lower() for name in found}

    assert plain == {f"{n}-{v}".replace("-", "_").replace(".", "_").lower() for n, v in wanted.items()}
