"""The base is taken from where it is, and made where no registry answers."""

import os
from pathlib import Path

import pytest

from ktpy.errors import KtError
from ktpy.laptop.image_base import FRESH_SECONDS, default_base, make_command, mirrors, ready_base, suite_of
from ktpy.laptop.image_tools import Tool

HAS_ALL = Tool("buildah", ("true",))  # a tool that says yes to every question
HAS_NOTHING = Tool("buildah", ("false",))
BASE = "debian:trixie-slim"

TARGETS = """\
Debian-Security|bookworm-security|http://mirror.example/debian-security/
Debian|bookworm-updates|http://mirror.example/debian/
Debian|bookworm|http://mirror.example/debian/
Debian|bookworm|http://mirror.example/debian/
Debian Backports|bookworm-backports|http://mirror.example/debian/
Debian|bookworm-proposed-updates|http://other.example/debian/
Debian|bookworm|cdrom://disk/
Node|nodistro|https://node.example/"""


def no_build(folder, made):
    raise AssertionError(f"{made} was built of {folder}")


def test_the_machines_mirrors_serve_another_release():
    assert mirrors(TARGETS, "trixie") == (
        "deb http://mirror.example/debian-security/ trixie-security main",
        "deb http://mirror.example/debian/ trixie-updates main",
        "deb http://mirror.example/debian/ trixie main",
    )


def test_a_machine_without_debian_mirrors_leaves_the_choice_to_mmdebstrap():
    assert mirrors("Ubuntu|noble|http://mirror.example/ubuntu/", "trixie") == ()


@pytest.mark.parametrize(
    ("base", "suite"),
    [(BASE, "trixie"), ("localhost/debian:bookworm", "bookworm"), ("alpine:3", None), ("debian:12.1-slim", None)],
)
def test_debian_releases_are_told_from_other_bases(base, suite):
    assert suite_of(base) == suite


def test_the_dockerfile_names_its_base():
    assert default_base("# x\nARG BASE_IMAGE=debian:trixie-slim\nFROM ${BASE_IMAGE}\n") == BASE


def test_the_base_is_made_small():
    command = make_command("trixie", Path("/out.tar"), ("deb u trixie main",), keyring=Path("/k.gpg"))

    assert command[0] == "mmdebstrap"
    assert {"--variant=minbase", "--include=ca-certificates", "--keyring=/k.gpg"} <= set(command)
    assert command[-3:] == ("trixie", "/out.tar", "deb u trixie main")


def test_a_base_that_is_here_is_used_as_it_is(tmp_path):
    assert ready_base(HAS_ALL, BASE, cache=tmp_path, build=no_build, say=lambda _: None) == BASE


def test_a_base_that_was_made_is_used_without_asking_a_registry_again(tmp_path):
    made(tmp_path)
    said = []

    assert ready_base(HAS_ALL, BASE, cache=tmp_path, build=no_build, say=said.append) == "localhost/debian:trixie-slim"
    assert said == []


def test_a_made_base_is_taken_from_the_cache_into_a_tool_that_lacks_it(tmp_path):
    folder = made(tmp_path)
    built = []

    name = ready_base(HAS_NOTHING, BASE, cache=tmp_path, build=lambda *what: built.append(what), say=lambda _: None)

    assert built == [(folder, name)]
    assert "ADD base.tar /" in (folder / "Dockerfile").read_text()


def test_an_old_made_base_gives_way_to_a_registrys(tmp_path):
    tar = made(tmp_path) / "base.tar"
    long_ago = tar.stat().st_mtime - FRESH_SECONDS - 60
    os.utime(tar, (long_ago, long_ago))

    assert ready_base(HAS_ALL, BASE, cache=tmp_path, build=no_build, say=lambda _: None) == BASE


def test_a_base_that_can_neither_be_had_nor_made_says_what_to_do(tmp_path):
    with pytest.raises(KtError, match="alpine:3 is not on this machine, and no registry gave it") as refused:
        ready_base(HAS_NOTHING, "alpine:3", cache=tmp_path, build=no_build, say=lambda _: None)

    assert refused.value.try_[0].startswith("--base")


def made(cache):
    folder = cache / "debian-trixie-slim"
    folder.mkdir()
    (folder / "base.tar").touch()
    return folder
