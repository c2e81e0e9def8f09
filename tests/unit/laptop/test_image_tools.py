"""The first builder that works is taken; if none does, each says why."""

from pathlib import Path

import pytest

from ktpy.errors import KtError
from ktpy.laptop.image_tools import Tool, find_tool, has_command, has_image, health_command, no_tool, tool_named

CACHE = Path("/cache")


def test_docker_is_asked_for_its_engine():
    assert health_command(tool_named("docker", CACHE)) == ("docker", "version", "--format", "{{.Server.Version}}")


def test_buildah_keeps_its_images_in_our_cache():
    command = health_command(tool_named("buildah", CACHE))

    assert command[:3] == ("buildah", "--root", "/cache/storage")
    assert command[-1] == "info"


@pytest.mark.parametrize(
    ("name", "words"), [("docker", ("image", "inspect")), ("podman", ("image", "inspect")), ("buildah", ("inspect",))]
)
def test_each_tool_is_asked_for_an_image_in_its_words(name, words):
    command = has_command(Tool(name, (name,)), "x:1")

    assert command[1 : 1 + len(words)] == words
    assert command[-1] == "x:1"


def test_having_an_image_is_what_the_tool_says():
    assert has_image(Tool("docker", ("true",)), "x:1")
    assert not has_image(Tool("docker", ("false",)), "x:1")


def test_without_a_builder_each_ones_reason_is_told():
    error = no_tool({"docker": "Cannot connect to the engine", "podman": "not found", "buildah": "not found"})

    assert error.what == (
        "No image builder works here: docker: Cannot connect to the engine, podman: not found, buildah: not found."
    )
    assert error.try_[0] == "apt-get install buildah"


def test_the_tool_that_is_wanted_is_the_only_one_tried():
    with pytest.raises(KtError, match="works here: no-such-tool: not found"):
        find_tool("no-such-tool", CACHE)
