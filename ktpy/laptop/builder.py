"""Builds ktpy's images with docker, podman or buildah, and saves or pushes them."""

from __future__ import annotations

import platform
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from ktpy.errors import KtError
from ktpy.laptop.image_base import default_base, ready_base
from ktpy.laptop.image_run import Say, ask, run
from ktpy.laptop.image_tools import ASK_SECONDS, Tool
from ktpy.model.image import Image

BUILD_SECONDS = 1800.0
SAVE_SECONDS = 300.0
PUSH_SECONDS = 1800.0
FORMATS = ("docker-archive", "oci-archive")


@dataclass(frozen=True)
class Order:
    """What to build: IMAGE under the name REFERENCE; no platforms means this machine's, no base the Dockerfile's."""

    image: Image
    reference: str
    platforms: tuple[str, ...] = ()
    base: str = ""
    extra: tuple[str, ...] = ()  # further words for the tool's build, e.g. secrets where pip needs a CA


def build(tool: Tool, order: Order, *, cache: Path, say: Say) -> None:
    """Build one image; it is then in the tool's own store.

    Errors: KtError when the base can neither be had nor made, or a step of the build fails.
    """
    base = _base_for(tool, order, context_folder(order.image), cache=cache, say=say)
    say(f"building {order.reference} with {tool.name} on {base}")
    if len(order.platforms) > 1 and tool.name != "docker":
        # The other two add to a list that is there, and an old build's images would stay in it.
        ask((*tool.command, "rmi", "--force", order.reference), seconds=ASK_SECONDS)
    with whole_context(order.image) as context:
        command = build_command(tool, context, order.reference, platforms=order.platforms, base=base, extra=order.extra)
        run(command, doing=f"Building {order.reference}", say=say, seconds=BUILD_SECONDS)


def save(tool: Tool, reference: str, output: Path, *, form: str = "docker-archive", say: Say) -> None:
    """Write a built image as one file. A docker-archive is not compressed: larger, and twice as fast to import.

    Errors: KtError when the tool cannot write FORM, or has no such image.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    part = output.with_name(output.name + ".part")  # neither podman nor buildah writes over a file
    part.unlink(missing_ok=True)
    command = save_command(tool, reference, part, form=form)
    run(command, doing=f"Saving {reference}", say=say, seconds=SAVE_SECONDS)
    part.replace(output)


def push(
    tool: Tool, reference: str, target: str, *, platforms: Sequence[str] = (), extra: Sequence[str] = (), say: Say
) -> None:
    """Send a built image to a registry under the name TARGET.

    Errors: KtError when the registry refuses or does not answer.
    """
    for command in push_commands(tool, reference, target, platforms=platforms, extra=extra):
        run(command, doing=f"Pushing {target}", say=say, seconds=PUSH_SECONDS)


def context_folder(image: Image) -> Path:
    """The image's build context: shipped beside this package, or a folder of the checkout."""
    spec = find_spec(image.package)
    places = list(spec.submodule_search_locations or ()) if spec else []
    checkout = Path(__file__).resolve().parents[2] / image.folder
    for place in (*map(Path, places), checkout):
        if (place / "Dockerfile").is_file():
            return place
    raise FileNotFoundError(f"{image.folder} is neither installed nor in a checkout")


@contextmanager
def whole_context(image: Image) -> Iterator[Path]:
    """The image's build context with its sources, which lie elsewhere once they are installed."""
    folder = context_folder(image)
    if all((folder / name).is_dir() for name in image.sources):
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="ktpy-context-") as made:
        shutil.copytree(folder, made, dirs_exist_ok=True)
        for name in image.sources:
            spec = find_spec(name)
            if not spec or not spec.submodule_search_locations:
                raise FileNotFoundError(f"{name} is neither installed nor in a checkout")
            place = next(iter(spec.submodule_search_locations))
            shutil.copytree(place, Path(made) / name, ignore=shutil.ignore_patterns("__pycache__"))
        yield Path(made)


def dockerfile(image: Image) -> str:
    """The text that says how the image is made, and what it can be given for that."""
    return (context_folder(image) / "Dockerfile").read_text()


def build_command(
    tool: Tool,
    context: Path,
    reference: str,
    *,
    platforms: Sequence[str] = (),
    base: str = "",
    extra: Sequence[str] = (),
) -> tuple[str, ...]:
    """The words that build CONTEXT as REFERENCE; for several platforms a list of images under that name."""
    is_list = len(platforms) > 1 and tool.name != "docker"
    words = [*tool.command, "build", "--manifest" if is_list else "--tag", reference]
    if tool.name != "docker":
        # No namespaces, cgroups or network set-up for steps that are our own: works without root and inside containers.
        # --pull=false: take what is there, ask a registry only for what is not.
        words += ["--layers", "--isolation=chroot", "--pull=false"]
    if platforms:
        words += ["--platform", ",".join(platforms)]
    if base:
        words += ["--build-arg", f"BASE_IMAGE={base}"]
    return (*words, *extra, str(context))


def save_command(tool: Tool, reference: str, output: Path, *, form: str) -> tuple[str, ...]:
    if form not in FORMATS:
        raise KtError(f"{form!r} is no archive format.", f"one of: {', '.join(FORMATS)}")
    if tool.name == "buildah":
        return (*tool.command, "push", reference, f"{form}:{output}:{reference}")
    if tool.name == "podman":
        return (*tool.command, "save", "--format", form, "--output", str(output), reference)
    if form != "docker-archive":
        raise KtError(f"docker writes no {form}.", "--tool podman or --tool buildah")
    return (*tool.command, "save", "--output", str(output), reference)


def push_commands(
    tool: Tool, reference: str, target: str, *, platforms: Sequence[str] = (), extra: Sequence[str] = ()
) -> tuple[tuple[str, ...], ...]:
    """What to run, one after the other. docker can only push what bears the target's name."""
    if tool.name == "docker":
        named = () if reference == target else ((*tool.command, "tag", reference, target),)
        return (*named, (*tool.command, "push", *extra, target))
    whole_list = ("manifest", "push", "--all") if len(platforms) > 1 else ("push",)
    return ((*tool.command, *whole_list, *extra, reference, f"docker://{target}"),)


def is_native(platforms: Sequence[str], machine: str) -> bool:
    """Whether only images for this MACHINE (as uname says it) are asked for."""
    ours = {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)
    return all(each.split("/")[:2] == ["linux", ours] for each in platforms)


def cache_folder(environ: Mapping[str, str]) -> Path:
    """Where bases, archives and buildah's store lie, for this user."""
    root = environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "ktpy" / "images"


def _base_for(tool: Tool, order: Order, context: Path, *, cache: Path, say: Say) -> str:
    """A base that was asked for is the tool's to find; so is that of other platforms, which we cannot make."""
    base = default_base((context / "Dockerfile").read_text())
    if order.base or not is_native(order.platforms, platform.machine()):
        return order.base or base

    def build_base(folder: Path, made: str) -> None:
        run(build_command(tool, folder, made), doing=f"Importing {made}", say=say, seconds=BUILD_SECONDS)

    return ready_base(tool, base, cache=cache, build=build_base, say=say)
