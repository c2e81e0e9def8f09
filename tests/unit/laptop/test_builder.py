"""Which words each tool is given, and where a build starts."""

from pathlib import Path

import pytest

from ktpy.errors import KtError
from ktpy.laptop import builder
from ktpy.laptop.image_tools import Tool
from ktpy.model.image import IMAGES, Image

DOCKER = Tool("docker", ("docker",))
PODMAN = Tool("podman", ("podman",))
BUILDAH = Tool("buildah", ("buildah", "--root", "/store"))
CONTEXT = Path("/context")
REF = "localhost/ktpy-shadow:0.1.0"
TWO = ("linux/amd64", "linux/arm64")


@pytest.mark.parametrize(
    ("tool", "options", "expected"),
    [
        (DOCKER, {}, f"docker build --tag {REF} /context"),
        (DOCKER, {"platforms": TWO}, f"docker build --tag {REF} --platform linux/amd64,linux/arm64 /context"),
        (DOCKER, {"base": "b:1"}, f"docker build --tag {REF} --build-arg BASE_IMAGE=b:1 /context"),
        (PODMAN, {}, f"podman build --tag {REF} --layers --isolation=chroot --pull=false /context"),
        (
            BUILDAH,
            {"base": "b:1", "extra": ("--volume", "/ca:/ca:ro")},
            f"buildah --root /store build --tag {REF} --layers --isolation=chroot --pull=false"
            " --build-arg BASE_IMAGE=b:1 --volume /ca:/ca:ro /context",
        ),
        (
            BUILDAH,
            {"platforms": TWO},
            f"buildah --root /store build --manifest {REF} --layers --isolation=chroot --pull=false"
            " --platform linux/amd64,linux/arm64 /context",
        ),
    ],
)
def test_each_tool_is_told_to_build_in_its_words(tool, options, expected):
    assert " ".join(builder.build_command(tool, CONTEXT, REF, **options)) == expected


@pytest.mark.parametrize(
    ("tool", "form", "expected"),
    [
        (DOCKER, "docker-archive", f"docker save --output /out.tar {REF}"),
        (PODMAN, "oci-archive", f"podman save --format oci-archive --output /out.tar {REF}"),
        (BUILDAH, "docker-archive", f"buildah --root /store push {REF} docker-archive:/out.tar:{REF}"),
        (BUILDAH, "oci-archive", f"buildah --root /store push {REF} oci-archive:/out.tar:{REF}"),
    ],
)
def test_an_archive_keeps_the_image_and_its_name(tool, form, expected):
    assert " ".join(builder.save_command(tool, REF, Path("/out.tar"), form=form)) == expected


def test_a_format_that_a_tool_does_not_write_is_refused_with_one_that_does():
    with pytest.raises(KtError, match="docker writes no oci-archive") as refused:
        builder.save_command(DOCKER, REF, Path("/out.tar"), form="oci-archive")

    assert refused.value.try_ == ("--tool podman or --tool buildah",)


@pytest.mark.parametrize(
    ("tool", "options", "expected"),
    [
        (DOCKER, {}, [f"docker tag {REF} r/x:1", "docker push r/x:1"]),
        (PODMAN, {}, [f"podman push {REF} docker://r/x:1"]),
        (
            BUILDAH,
            {"extra": ("--tls-verify=false",)},
            [f"buildah --root /store push --tls-verify=false {REF} docker://r/x:1"],
        ),
        (BUILDAH, {"platforms": TWO}, [f"buildah --root /store manifest push --all {REF} docker://r/x:1"]),
    ],
)
def test_each_tool_is_told_to_push_in_its_words(tool, options, expected):
    assert [" ".join(command) for command in builder.push_commands(tool, REF, "r/x:1", **options)] == expected


def test_docker_pushes_what_was_built_under_its_own_name_without_tagging_it():
    assert builder.push_commands(DOCKER, "r/x:1", "r/x:1") == (("docker", "push", "r/x:1"),)


@pytest.mark.parametrize(
    ("platforms", "machine", "expected"),
    [
        ((), "x86_64", True),
        (("linux/amd64",), "x86_64", True),
        (("linux/arm64/v8",), "aarch64", True),
        (("linux/arm64",), "arm64", True),
        (("linux/arm64",), "x86_64", False),
        (TWO, "x86_64", False),
    ],
)
def test_this_machines_own_platform_is_known(platforms, machine, expected):
    assert builder.is_native(platforms, machine) is expected


@pytest.mark.parametrize("image", IMAGES.values(), ids=IMAGES.keys())
def test_every_image_has_a_build_context_that_names_its_base(image):
    dockerfile = builder.context_folder(image) / "Dockerfile"

    assert builder.default_base(dockerfile.read_text()) == "debian:trixie-slim"


@pytest.mark.parametrize("image", IMAGES.values(), ids=IMAGES.keys())
def test_in_a_checkout_the_context_is_the_folder_itself(image):
    with builder.whole_context(image) as context:
        assert context == builder.context_folder(image)


def test_installed_sources_are_brought_into_the_context(tmp_path, monkeypatch):
    (tmp_path / "shipped_image").mkdir()
    (tmp_path / "shipped_image" / "Dockerfile").write_text("FROM x")
    (tmp_path / "shipped" / "part" / "__pycache__").mkdir(parents=True)
    (tmp_path / "shipped" / "__init__.py").touch()
    (tmp_path / "shipped" / "part" / "a.py").touch()
    monkeypatch.syspath_prepend(tmp_path)

    with builder.whole_context(Image("x", "shipped_image", "nowhere", ("shipped",))) as context:
        found = {path.relative_to(context).as_posix() for path in context.rglob("*")}

    assert found == {"Dockerfile", "shipped", "shipped/__init__.py", "shipped/part", "shipped/part/a.py"}
    assert not context.exists()


def test_a_new_archive_replaces_the_old_one_only_when_it_is_whole(tmp_path):
    archive = tmp_path / "x.tar"
    archive.write_text("old")

    with pytest.raises(KtError):
        builder.save(Tool("docker", ("false",)), REF, archive, say=lambda _: None)

    assert archive.read_text() == "old"


def test_the_cache_is_the_users():
    assert builder.cache_folder({"XDG_CACHE_HOME": "/c"}) == Path("/c/ktpy/images")
    assert builder.cache_folder({}) == Path.home() / ".cache/ktpy/images"
