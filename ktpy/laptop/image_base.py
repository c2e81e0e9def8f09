"""The image that ours are built on: from this machine or a registry, else made of Debian's packages."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from ktpy.errors import KtError
from ktpy.laptop.image_run import Say, ask, run
from ktpy.laptop.image_tools import Tool, has_image
from ktpy.model.image import LOCAL

PULL_SECONDS = 300.0
MAKE_SECONDS = 900.0
APT_SECONDS = 60.0
FRESH_SECONDS = 30 * 86400.0  # a made base has the security fixes of its day
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
TARGETS = ("apt-get", "indextargets", "--format", "$(LABEL)|$(RELEASE)|$(REPO_URI)", "Created-By: Packages")

_POCKETS = ("", "updates", "security")  # of a release; not what is proposed or backported

# Nobody reads manuals in a container.
_LEFT_OUT = tuple(f"--dpkgopt=path-exclude=/usr/share/{folder}/*" for folder in ("man", "doc", "locale", "info"))
_RECIPE = 'FROM scratch\nADD base.tar /\nCMD ["/bin/bash"]\n'

Build = Callable[[Path, str], None]
"""Builds the image of a folder under a name."""


def default_base(dockerfile: str) -> str:
    """The base that a Dockerfile names itself."""
    found = re.search(r"^ARG BASE_IMAGE=(\S+)$", dockerfile, re.MULTILINE)
    if not found:
        raise ValueError("this Dockerfile has no ARG BASE_IMAGE")
    return found[1]


def suite_of(base: str) -> str | None:
    """The Debian release that BASE is; None when it is something else, which packages do not make."""
    found = re.fullmatch(r"(?:.*/)?debian:([a-z]+)(?:-slim)?", base)
    return found[1] if found else None


def mirrors(targets: str, suite: str) -> tuple[str, ...]:
    """Where this machine's apt (its index targets) gets Debian from, as source lines for SUITE."""
    lines: dict[str, None] = {}  # a set that keeps its order
    for target in targets.splitlines():
        label, release, uri = target.split("|")
        pocket = "security" if label == "Debian-Security" else release.partition("-")[2]
        if label in ("Debian", "Debian-Security") and pocket in _POCKETS and uri.startswith(("http://", "https://")):
            lines[f"deb {uri} {'-'.join(filter(None, (suite, pocket)))} main"] = None
    return tuple(lines)


def make_command(suite: str, output: Path, sources: tuple[str, ...], *, keyring: Path | None) -> tuple[str, ...]:
    """mmdebstrap for a small base. Without sources it asks Debian's own servers."""
    key = (f"--keyring={keyring}",) if keyring else ()
    options = ("--variant=minbase", "--components=main", "--include=ca-certificates", *key)
    return ("mmdebstrap", *options, '--aptopt=Acquire::Languages "none"', *_LEFT_OUT, suite, str(output), *sources)


def ready_base(tool: Tool, base: str, *, cache: Path, build: Build, say: Say) -> str:
    """A name to build FROM that TOOL has in its store: BASE, or one made of packages when no registry gave it.

    Errors: KtError when it can neither be had nor made.
    """
    made = f"{LOCAL}/{base.rpartition('/')[2]}"
    folder = cache / base.rpartition("/")[2].replace(":", "-")
    tar = folder / "base.tar"
    if not _is_fresh(tar):
        if not tar.exists() and has_image(tool, base):
            return base
        pulled, said = _pull(tool, base, say)
        if pulled:
            return base
        _make(base, tar, said, say)
    elif has_image(tool, made):
        return made
    (folder / "Dockerfile").write_text(_RECIPE)
    build(folder, made)
    return made


def _is_fresh(tar: Path) -> bool:
    return tar.exists() and time.time() - tar.stat().st_mtime < FRESH_SECONDS


def _pull(tool: Tool, base: str, say: Say) -> tuple[bool, str]:
    say(f"looking for {base} in a registry")
    return ask((*tool.command, "pull", base), seconds=PULL_SECONDS)


def _make(base: str, tar: Path, why: str, say: Say) -> None:
    suite = suite_of(base)
    reason = why.splitlines()[-1] if why else "no reason given"
    if not suite or not ask(("mmdebstrap", "--version"), seconds=APT_SECONDS)[0]:
        raise KtError(
            f"{base} is not on this machine, and no registry gave it: {reason}",
            ("--base IMAGE      to build on one you have", "apt-get install mmdebstrap   to make it of packages"),
        )
    say(f"no registry has it; making {base} of Debian's packages, once")
    tar.parent.mkdir(parents=True, exist_ok=True)
    known, targets = ask(TARGETS, seconds=APT_SECONDS)
    sources = mirrors(targets, suite) if known else ()
    keyring = KEYRING if KEYRING.exists() else None
    with tempfile.TemporaryDirectory(dir=tar.parent) as scratch:  # so that base.tar is whole or not there
        part = Path(scratch) / tar.name
        command = make_command(suite, part, sources, keyring=keyring)
        run(command, doing=f"Making {base} of packages", say=say, seconds=MAKE_SECONDS)
        part.replace(tar)
