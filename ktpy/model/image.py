"""Which images ktpy has, and the one name each of them goes by on the laptop and in the cluster."""

from __future__ import annotations

import re
from typing import NamedTuple

from ktpy.errors import Usage

LOCAL = "localhost"
"""Where images live that no registry has.

A bare name would not be one name: docker and containerd file `ktpy-shadow:1` under the public registry's name, podman
and buildah under `localhost/`, and what one has built the other then looks for in a registry. A first part `localhost`
is taken for a registry's name by all of them (docker, podman, buildah, containerd, and so kind, k3d, minikube), so it
is kept as it is from the build to the pod; and since nothing listens there, a missing image fails at once, and never
brings a stranger's image of the same name.
"""

# A registry's name may have a port; folders after it are lower case. No tag: that is the version.
_PREFIX = re.compile(r"[A-Za-z0-9.-]+(:[0-9]+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*")


class Image(NamedTuple):
    """NAME as in the registry; PACKAGE ships its build context, which is FOLDER in a checkout.

    SOURCES are packages of Python that belong into the context as well. In a checkout they lie there.
    """

    name: str
    package: str
    folder: str
    sources: tuple[str, ...] = ()


IMAGES = {
    "shadow": Image("ktpy-shadow", "ktpy.shadow_image", "shadow-image"),
    "router": Image("ktpy-router", "ktpy.router_image", "router-image", ("ktpy_router",)),
}


def reference(prefix: str, name: str, version: str) -> str:
    """PREFIX/NAME:VERSION; without a prefix the name of an image that no registry has."""
    place = prefix.rstrip("/") or LOCAL
    if not _PREFIX.fullmatch(place):
        raise Usage(f"{prefix!r} is no place for images.", "--prefix registry.example:5000/team")
    return f"{place}/{name}:{tag(version)}"


def how_to_bring(image: str) -> tuple[str, str]:
    """The two commands that bring IMAGE to where a cluster finds it."""
    place = image.rpartition("/")[0]
    if place == LOCAL:
        return (
            "ktpy images build",
            "ktpy images load      or, for a cluster elsewhere: images push --prefix REGISTRY",
        )
    return "ktpy images build", f"ktpy images push --prefix {place or 'REGISTRY/PATH'}"


def tag(version: str) -> str:
    """VERSION as an image's tag, where the + of a local version is not allowed."""
    return version.replace("+", "-")[:128]


def file_name(name: str, version: str) -> str:
    """What the archive of an image is called."""
    return f"{name}-{tag(version)}.tar"
