"""Compiles the node's programs from their Go modules, once, into the cache."""

import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from .state import Refused, cache_root, locked
from .toolchain import go_command

SOURCES = Path(__file__).parent / "go"
KUBERNETES = "v1.35.4"
CONTAINERD = "v2.1.9"
SAY_EVERY = 10  # seconds


def _stamp(package: str, version: str) -> str:
    major, minor, _ = version.removeprefix("v").split(".")
    values = {"gitVersion": version, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    return " ".join(f"-X {package}.{key}={value}" for key, value in values.items())


@dataclass(frozen=True)
class Recipe:
    """One Go module below go/: what to compile, and the names it is to be called by."""

    name: str
    package: str = "."  # "tool" stands for the module's own list of programs
    stamps: str = ""
    links: tuple[str, ...] = ()


# Without the stamps every component says v0.0.0, which kubectl and the emulated versions do read.
KUBE = Recipe(
    "kube",
    stamps=" ".join(_stamp(p, KUBERNETES) for p in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")),
    links=("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "kubelet", "kubectl"),
)
RECIPES = (
    KUBE,
    Recipe("etcd"),
    Recipe("containerd", "tool", f"-X github.com/containerd/containerd/v2/version.Version={CONTAINERD}"),
    Recipe("cni", "tool"),
    Recipe("coredns"),
    Recipe("pause"),
)


def build_all() -> dict[str, Path]:
    """The folder of each module's programs, compiled if they are not in the cache."""
    go = go_command(SOURCES)
    # Settings from the caller's shell must neither change the programs nor fetch another toolchain.
    env = {**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": "", "GOWORK": "off"}
    asked = subprocess.run([go, "env", "GOVERSION"], env=env, capture_output=True, text=True, check=True)
    return {recipe.name: _built(recipe, go, asked.stdout.strip(), env) for recipe in RECIPES}


def _built(recipe: Recipe, go: Path, version: str, env: dict[str, str]) -> Path:
    folder = cache_root() / f"{recipe.name}-{_key(recipe, version)}"
    if folder.exists():
        return folder
    with locked(f"build-{recipe.name}"):
        if not folder.exists():
            folder.parent.mkdir(parents=True, exist_ok=True)
            for wreck in folder.parent.glob(f".building-{recipe.name}-*"):  # of a run that was killed
                shutil.rmtree(wreck)
            with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".building-{recipe.name}-") as scratch:
                draft = Path(scratch, "bin")
                draft.mkdir()
                _compile(recipe, go, draft, env)
                for link in recipe.links:
                    (draft / link).symlink_to(recipe.name)
                draft.replace(folder)
    return folder


def _key(recipe: Recipe, version: str) -> str:
    digest = hashlib.sha256(f"{version} {platform.machine()} {recipe}".encode())
    for file in sorted((SOURCES / recipe.name).iterdir()):
        digest.update(f"\n{file.name}\n".encode() + file.read_bytes())
    return digest.hexdigest()[:12]


def _compile(recipe: Recipe, go: Path, out: Path, env: dict[str, str]) -> None:
    """Run go build, telling on one line how far it is; -v makes it name each package that it compiles."""
    command = [str(go), "build", "-v", "-trimpath", "-buildvcs=false", "-mod=readonly"]
    command += ["-ldflags", f"-s -w {recipe.stamps}", "-o", f"{out}/", recipe.package]
    begun = said = time.monotonic()
    print(f"{recipe.name}: compiling", flush=True)
    lines: list[str] = []
    with subprocess.Popen(
        command, cwd=SOURCES / recipe.name, env=env, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as go_build:
        for line in go_build.stderr or ():
            lines.append(line)
            now = time.monotonic()
            if now - said >= SAY_EVERY:
                said = now
                print(f"{recipe.name}: {len(lines)} packages, {now - begun:.0f} s", flush=True)
    if go_build.returncode:
        raise Refused(f"{recipe.name} does not compile:\n{''.join(lines[-20:])}")
    print(f"{recipe.name}: done in {time.monotonic() - begun:.0f} s", flush=True)
