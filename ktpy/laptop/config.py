"""The user's config file: one YAML map of settings, under the user's config folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ktpy.errors import KtError


def path() -> Path:
    """Where it is ($XDG_CONFIG_HOME/ktpy/config.yaml on Linux)."""
    from platformdirs import user_config_path  # not for `ktpy --help`

    return user_config_path("ktpy") / "config.yaml"


def read() -> dict[str, Any]:
    """Its settings; empty where there is no file. Raises KtError where it cannot be read."""
    file = path()
    if not file.exists():
        return {}
    import yaml  # only where there is something to read

    try:
        found = yaml.safe_load(file.read_text()) or {}
    except (OSError, yaml.YAMLError) as error:
        raise KtError(f"{file} cannot be read: {error}.") from error
    if not isinstance(found, dict):
        raise KtError(f"{file} is not a list of settings.", "prefix: registry.example/team")
    return {str(key): value for key, value in found.items()}


def store(name: str, value: str) -> Path:
    """Set one value and keep the rest."""
    import yaml

    file = path()
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_suffix(".new")
    new.write_text(yaml.safe_dump({**read(), name: value}, sort_keys=True))
    new.rename(file)
    return file
