"""Puts images into the node's containerd, among them the pause image, which is one static program and nothing else."""

import hashlib
import io
import json
import platform
import subprocess
import tarfile
from pathlib import Path

from .components import Programs
from .state import Cluster, Refused

PAUSE = "localhost/pause:1"  # containerd.toml names it too
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def write_archive(archive: Path, *, reference: str, program: Path, user: str = "65535:65535") -> None:
    """Write an image of one static program, laid out as docker save does."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tree:
        entry = tarfile.TarInfo(program.name)
        entry.mode, entry.size = 0o755, program.stat().st_size
        with program.open("rb") as content:
            tree.addfile(entry, content)
    config = {
        "architecture": ARCHITECTURES.get(platform.machine(), platform.machine()),
        "os": "linux",
        "config": {"Entrypoint": [f"/{program.name}"], "User": user},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer.getvalue()).hexdigest()}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [reference], "Layers": ["layer.tar"]}]
    with tarfile.open(archive, "w") as out:
        for name, data in (
            ("layer.tar", layer.getvalue()),
            ("config.json", json.dumps(config).encode()),
            ("manifest.json", json.dumps(manifest).encode()),
        ):
            part = tarfile.TarInfo(name)
            part.size = len(data)
            out.addfile(part, io.BytesIO(data))


def load_pause(cluster: Cluster, programs: Programs) -> None:
    """Every pod needs it, and nothing can be pulled."""
    archive = cluster.folder / "pause.tar"
    write_archive(archive, reference=PAUSE, program=programs.program("pause"))
    load(cluster, programs, archive)


def load(cluster: Cluster, programs: Programs, archive: Path) -> str:
    """Import a docker-archive or oci-archive under the names it carries; the answer is ctr's list of them."""
    if not archive.is_file():
        raise Refused(f"There is no archive {archive}.")
    # --local took half the time of containerd's own transfer service.
    importing = ["images", "import", "--local", str(archive)]
    ctr = [str(programs.program("ctr")), "--address", str(cluster.containerd_socket), "--namespace", "k8s.io"]
    done = subprocess.run([*ctr, *importing], capture_output=True, text=True)
    if done.returncode:
        raise Refused(f"{archive} cannot be loaded: {done.stderr.strip()}")
    return done.stdout.strip()
