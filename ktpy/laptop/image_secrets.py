"""How a build may reach PyPI the way this machine's pip does: its configuration and authority, as build secrets."""

from __future__ import annotations

import configparser
import re
from collections.abc import Mapping
from pathlib import Path

_WANTED = re.compile(r"--mount=type=secret,id=([a-z-]+)")
_AUTHORITIES = ("PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")


def secret_words(dockerfile: str, environ: Mapping[str, str], home: Path) -> tuple[str, ...]:
    """Words for the tool's build: a secret for each that the DOCKERFILE can take and this machine has."""
    have = {"pip-conf": pip_conf(environ, home), "pip-ca": authority(environ, home)}
    wanted = dict.fromkeys(_WANTED.findall(dockerfile))
    given = {name: have[name] for name in wanted if have.get(name)}
    return tuple(word for name, path in given.items() for word in ("--secret", f"id={name},src={path}"))


def pip_conf(environ: Mapping[str, str], home: Path) -> Path | None:
    """The file that says where packages come from: the first of pip's own places."""
    named = environ.get("PIP_CONFIG_FILE")
    xdg = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    usual = (xdg / "pip" / "pip.conf", home / ".pip" / "pip.conf", Path("/etc/pip.conf"))
    places = (Path(named),) if named else usual
    return next((place for place in places if place.is_file()), None)


def authority(environ: Mapping[str, str], home: Path) -> Path | None:
    """The bundle of certificates that this machine's pip trusts, when one was set."""
    named = [environ[name] for name in _AUTHORITIES if environ.get(name)]
    conf = pip_conf(environ, home)
    if conf:
        parser = configparser.ConfigParser(interpolation=None)
        try:
            parser.read_string(conf.read_text())
            named.append(parser.get("global", "cert", fallback=""))
        except (configparser.Error, OSError, UnicodeDecodeError):
            pass  # pip will say so itself
    return next((Path(name) for name in named if name and Path(name).is_file()), None)
