"""Which program builds images here: docker, podman or buildah, the first that is there and works."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from ktpy.errors import KtError
from ktpy.laptop.image_run import ask

NAMES = ("docker", "podman", "buildah")
ASK_SECONDS = 20.0


class Tool(NamedTuple):
    """NAME decides the words it understands; COMMAND starts it, with the options that go before any word."""

    name: str
    command: tuple[str, ...]


def tool_named(name: str, cache: Path) -> Tool:
    """How NAME is started. buildah is nobody's daily tool, so its store is ours and lies in CACHE."""
    if name != "buildah":
        return Tool(name, (name,))
    # The runroot holds locks and mounts of this boot; /run may not be writable, and the cache always is.
    place = ("--root", str(cache / "storage"), "--runroot", str(cache / "storage-run"), "--storage-driver", "overlay")
    return Tool(name, (name, *place))


def health_command(tool: Tool) -> tuple[str, ...]:
    """Fails when the tool could not build: a docker without its engine still answers most questions."""
    if tool.name == "docker":
        return (*tool.command, "version", "--format", "{{.Server.Version}}")
    return (*tool.command, "info")


def has_command(tool: Tool, image: str) -> tuple[str, ...]:
    """Succeeds when IMAGE is in the tool's own store."""
    if tool.name == "buildah":
        return (*tool.command, "inspect", "--type", "image", "--format", "{{.FromImageID}}", image)
    return (*tool.command, "image", "inspect", "--format", "{{.Id}}", image)


def find_tool(wanted: str | None, cache: Path) -> Tool:
    """The tool that is WANTED, or the first that works.

    Errors: KtError with each tool's reason and what to install.
    """
    reasons: dict[str, str] = {}
    for name in (wanted,) if wanted else NAMES:
        tool = tool_named(name, cache)
        works, said = ask(health_command(tool), seconds=ASK_SECONDS)
        if works:
            return tool
        reasons[name] = said.splitlines()[-1] if said else "does not work"
    raise no_tool(reasons)


def no_tool(reasons: Mapping[str, str]) -> KtError:
    each = ", ".join(f"{name}: {reason}" for name, reason in reasons.items())
    return KtError(f"No image builder works here: {each}.", ("apt-get install buildah", "or start docker or podman"))


def has_image(tool: Tool, image: str) -> bool:
    return ask(has_command(tool, image), seconds=ASK_SECONDS)[0]
