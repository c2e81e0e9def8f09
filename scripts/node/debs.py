"""Fetches the few C programs of the node as Debian packages and unpacks them into the cache; nothing is installed."""

import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from .state import Refused, cache_root, locked

# runc, nft, and the libraries of theirs that a slim machine may lack.
PACKAGES = (
    *("runc", "libseccomp2", "nftables", "libnftables1", "libnftnl11", "libmnl0", "libxtables12"),
    *("libjansson4", "libedit2", "libgmp10", "libbsd0", "libmd0", "libtinfo6"),
)

# What this was tested with. Another release of Debian offers others: apt has checked their signatures then.
TESTED = {
    "libbsd0_0.11.7-2_amd64.deb": "bb31cc8b40f962a85b2cec970f7f79cc704a1ae4bad24257a822055404b2c60b",
    "libedit2_3.1-20221030-2_amd64.deb": "1cf14abf2716d3279db12d0657a5737cf70074a1e71d3bdf73206625e3c89ce6",
    "libgmp10_2%3a6.2.1+dfsg1-1.1_amd64.deb": "187aedef2ed763f425c1e523753b9719677633c7eede660401739e9c893482bd",
    "libjansson4_2.14-2_amd64.deb": "3fc9742f9f1a37bcb9931df6074b4d1483419ef832ad5349f47323e75fc27864",
    "libmd0_1.0.4-2_amd64.deb": "03539fd30c509e27101d13a56e52eda9062bdf1aefe337c07ab56def25a13eab",
    "libmnl0_1.0.4-3_amd64.deb": "4581f42e3373cb72f9ea4e88163b17873afca614a6c6f54637e95aa75983ea7c",
    "libnftables1_1.0.6-2+deb12u2_amd64.deb": "3a8223f9bfba99d97bf25296ac83de307ab036e1df63e5965f88809266851947",
    "libnftnl11_1.2.4-2_amd64.deb": "9e619e1470a1915264e906020f3bfc046fd8458043b1342686d997b5078213af",
    "libseccomp2_2.5.4-1+deb12u1_amd64.deb": "108fe67957ca7cf9ba51d801118a1b37d404bea7b6e365025cd00779e9eca38d",
    "libtinfo6_6.4-4_amd64.deb": "072d908f38f51090ca28ca5afa3b46b2957dc61fe35094c0b851426859a49a51",
    "libxtables12_1.8.9-2_amd64.deb": "cb841d66950a43af4a398625313d2f3da9065299c9738538de6c2c3495857040",
    "nftables_1.0.6-2+deb12u2_amd64.deb": "966ff20ce58c17163a771c02ddbca264291408f94c512bd85dd18da0ebdbe88c",
    "runc_1.1.5+ds1-1+deb12u1_amd64.deb": "a00351f8c0318de0b424ecf5cd0fdb69880a89f3511cae4f6fff7de3e57881c5",
}


@dataclass(frozen=True)
class Tools:
    """The unpacked packages."""

    folder: Path

    @property
    def path(self) -> str:
        return f"{self.folder}/usr/sbin:{self.folder}/usr/bin"

    @property
    def libraries(self) -> str:
        return f"{self.folder}/usr/lib/{platform.machine()}-linux-gnu"

    @property
    def runc(self) -> Path:
        return self.folder / "usr/sbin/runc"


def fetch_all() -> Tools:
    """The tools of the node, downloaded and unpacked if they are not in the cache."""
    key = hashlib.sha256(" ".join(PACKAGES).encode() + repr(TESTED).encode()).hexdigest()[:12]
    folder = cache_root() / f"debs-{key}"
    if folder.exists():
        return Tools(folder)
    with locked("debs"):
        if not folder.exists():
            _fetch(folder)
    return Tools(folder)


def _fetch(folder: Path) -> None:
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        raise Refused("runc and nft come from Debian packages, and this machine has no apt-get to fetch them with.")
    print(f"debs: fetching {' '.join(PACKAGES)}", flush=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    for wreck in folder.parent.glob(".fetching-*"):  # of a run that was killed
        shutil.rmtree(wreck)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".fetching-") as scratch:
        _download(Path(scratch))
        draft = Path(scratch, "tree")
        draft.mkdir()
        for package in sorted(Path(scratch).glob("*.deb")):
            _check(package)
            subprocess.run(["dpkg-deb", "-x", package, draft], check=True)
        lib, usr_lib = draft / "lib", draft / "usr" / "lib"
        if lib.exists():  # bookworm still ships some libraries for a /lib beside /usr/lib
            shutil.copytree(lib, usr_lib, dirs_exist_ok=True, symlinks=True)
        draft.replace(folder)


def _download(folder: Path) -> None:
    """Ask the mirror of the machine's own configuration; renew the list of packages only when it must be."""
    fetch = ["apt-get", "download", "-qq", *PACKAGES]
    as_found = subprocess.run(fetch, cwd=folder, env=_plain_apt(), capture_output=True, text=True)
    if as_found.returncode == 0:
        return
    # A private state, so that the machine's own lists stay as they are. One source of many may fail here.
    private = ["-o", f"Dir::State::Lists={folder}/lists", "-o", f"Dir::Cache={folder}/apt"]
    for part in ("lists/partial", "apt/archives/partial"):
        (folder / part).mkdir(parents=True)
    subprocess.run(["apt-get", *private, "update", "-qq"], env=_plain_apt(), capture_output=True)
    renewed = subprocess.run([*fetch, *private], cwd=folder, env=_plain_apt(), capture_output=True, text=True)
    if renewed.returncode:
        raise Refused(f"Debian packages cannot be had:\n{renewed.stderr.strip() or as_found.stderr.strip()}")


def _plain_apt() -> dict[str, str]:
    return {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}


def _check(package: Path) -> None:
    found = hashlib.sha256(package.read_bytes()).hexdigest()
    tested = TESTED.get(package.name)
    if tested is None:
        print(f"debs: {package.name} is another version than the tested one", flush=True)
    elif tested != found:
        raise Refused(f"{package.name} has checksum {found}, tested was {tested}.")
