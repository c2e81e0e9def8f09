"""`ktpy images`: build the images and bring them into a cluster."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from ktpy import __version__
from ktpy.cli.app import App
from ktpy.cli.base import COMMON, Command, take_shared
from ktpy.errors import Usage
from ktpy.laptop import builder, config, image_load
from ktpy.laptop.image_secrets import secret_words
from ktpy.laptop.image_tools import Tool, find_tool
from ktpy.model.image import IMAGES, Image, file_name, reference

TOOL = click.Option(["--tool"], type=click.Choice(["docker", "podman", "buildah"]), help="Else the first that works.")
PREFIX = click.Option(["--prefix"], help="Where the images are to be found, e.g. registry.example/team.")
PLATFORM = click.Option(["--platform"], help="A comma list, e.g. linux/amd64,linux/arm64; else this machine's.")


@click.group("images", params=list(COMMON))
@click.pass_context
def command(ctx: click.Context, /, **shared: Any) -> None:
    """Build the images and bring them into a cluster: build, then load or push."""
    take_shared(ctx.ensure_object(App), shared)


def _reference(app: App, image: Image) -> str:
    return reference(app.settings().prefix or "", image.name, __version__)


def _take(app: App, prefix: str | None) -> None:
    if prefix:
        app.flags["prefix"] = prefix


def _platforms(text: str | None) -> Sequence[str]:
    return [part.strip() for part in (text or "").split(",") if part.strip()]


def _archive(tool: Tool, name: str, image: Image, app: App) -> Path:
    """The image as a file, written anew each time: it is quick, and never an older build."""
    file = builder.cache_folder(os.environ) / file_name(name, __version__)
    builder.save(tool, _reference(app, image), file, say=app.say.words)
    return file


@command.command("build", cls=Command)
@click.option("--base", help="The base image, instead of the Dockerfile's.")
@click.pass_context
def build(ctx: click.Context, /, tool: str | None, prefix: str | None, platform: str | None, base: str | None) -> None:
    """Build the images with docker, podman or buildah, whichever is there."""
    _take(ctx.obj, prefix)
    cache = builder.cache_folder(os.environ)
    found = find_tool(tool, cache)
    for image in IMAGES.values():
        extra = secret_words(builder.dockerfile(image), os.environ, Path.home())
        order = builder.Order(image, _reference(ctx.obj, image), tuple(_platforms(platform)), base or "", extra)
        builder.build(found, order, cache=cache, say=ctx.obj.say.words)
        ctx.obj.say.data(order.reference)


@command.command("load", cls=Command)
@click.option("--cluster", help="KIND or KIND:NAME, where the context's name does not tell.")
@click.pass_context
def load(ctx: click.Context, /, tool: str | None, prefix: str | None, cluster: str | None) -> None:
    """Put the images into the cluster of this context: kind, k3d, minikube, or the project's own test cluster."""
    from ktpy.cluster.login import login

    _take(ctx.obj, prefix)
    settings = ctx.obj.settings()
    where = (
        image_load.cluster_named(cluster)
        if cluster
        else image_load.expect_local(login(settings.kubeconfig, settings.context).context)
    )
    found = find_tool(tool, builder.cache_folder(os.environ))
    for name, image in IMAGES.items():
        file = _archive(found, name, image, ctx.obj)
        image_load.load(
            where, file, script=image_load.cluster_script(os.environ, settings.kubeconfig), say=ctx.obj.say.words
        )
        ctx.obj.say.data(_reference(ctx.obj, image))


@command.command("push", cls=Command)
@click.pass_context
def push(ctx: click.Context, /, tool: str | None, prefix: str | None, platform: str | None) -> None:
    """Push the images to PREFIX and remember it, so that every later command takes them from there."""
    local = {name: _reference(ctx.obj, image) for name, image in IMAGES.items()}
    _take(ctx.obj, prefix)
    target = ctx.obj.settings().prefix
    if not target:
        raise Usage(
            "Where to? No --prefix was given and none is set.", "ktpy images push --prefix registry.example/team"
        )
    cache = builder.cache_folder(os.environ)
    found = find_tool(tool, cache)
    for name, image in IMAGES.items():
        builder.push(
            found, local[name], _reference(ctx.obj, image), platforms=_platforms(platform), say=ctx.obj.say.words
        )
        ctx.obj.say.data(_reference(ctx.obj, image))
    if prefix:
        ctx.obj.say.words(f"prefix: {prefix} is now set in {config.store('prefix', prefix)}")


@command.command("save", cls=Command)
@click.option(
    "--to",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("."),
    help="The folder; default: here.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(builder.FORMATS),
    default=builder.FORMATS[0],
    help="docker-archive is quick to load.",
)
@click.pass_context
def save(ctx: click.Context, /, tool: str | None, prefix: str | None, folder: Path, form: str) -> None:
    """Write the images as archives, one file each."""
    _take(ctx.obj, prefix)
    found = find_tool(tool, builder.cache_folder(os.environ))
    for name, image in IMAGES.items():
        file = folder / file_name(name, __version__)
        builder.save(found, _reference(ctx.obj, image), file, form=form, say=ctx.obj.say.words)
        ctx.obj.say.data(str(file))


for _each in (build, load, push, save):
    _each.params += [TOOL, PREFIX]
for _each in (build, push):
    _each.params.append(PLATFORM)
