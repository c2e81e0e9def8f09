"""Where a cluster keeps its files, which number it has, and the locks that keep two runs from meeting."""

import fcntl
import json
import os
import pwd
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from . import kernel

MOST_CLUSTERS = 31
LAPTOP_DESCRIPTOR = 100  # of the node's first process, which holds the laptop's network namespace open by it
LONGEST_SOCKET = 107  # what fits into a sockaddr_un


class Refused(Exception):
    """Something that the user can put right; its text is all they need to read."""


def cache_root() -> Path:
    """Everything that is built or fetched once."""
    return _base("XDG_CACHE_HOME", ".cache") / "ktpy" / "node"


def state_root() -> Path:
    """One folder for each cluster that runs."""
    return _base("XDG_STATE_HOME", ".local/state") / "ktpy" / "node"


def _base(variable: str, below_home: str) -> Path:
    given = os.environ.get(variable, "")
    # Not $HOME: callers set that for the command which they run on the laptop.
    return Path(given) if given.startswith("/") else Path(pwd.getpwuid(os.geteuid()).pw_dir) / below_home


@dataclass(frozen=True)
class Cluster:
    """A cluster's name and number; all its paths, addresses and link names follow from them."""

    name: str
    index: int

    @property
    def folder(self) -> Path:
        return state_root() / self.name

    @property
    def _subnet(self) -> str:
        return f"172.31.{255 - self.index // 32}"

    @property
    def _first(self) -> int:
        return self.index % 32 * 8

    @property
    def machine_address(self) -> str:
        return f"{self._subnet}.{self._first + 1}"

    @property
    def address(self) -> str:
        """The node's one address, the same for the machine, the laptop and the pods."""
        return f"{self._subnet}.{self._first + 2}"

    @property
    def laptop_address(self) -> str:
        return f"{self._subnet}.{self._first + 6}"

    @property
    def server(self) -> str:
        return f"https://{self.address}:6443"

    @property
    def link(self) -> str:
        """The machine's end of the veth pair; 15 characters is all the kernel takes."""
        return f"kt-{self.name}"

    @property
    def cgroup(self) -> str:
        return f"ktpy-{self.name}"

    @property
    def context(self) -> str:
        """The kubeconfig's name for it, by which tools know what made it."""
        return self.name if self.name == "ktpy" else f"ktpy-{self.name}"

    @property
    def kubeconfig(self) -> Path:
        return self.folder / "kubeconfig"

    @property
    def containerd_socket(self) -> Path:
        return self.folder / "containerd.sock"

    @property
    def init_socket(self) -> Path:
        return self.folder / "init.sock"

    @property
    def logs(self) -> Path:
        return self.folder / "log"


@dataclass(frozen=True)
class Born:
    """The node's first process and its laptop's network, as nobody else can be called."""

    pid: int
    started: int
    laptop_cookie: int

    @property
    def alive(self) -> bool:
        return kernel.start_time(self.pid) == self.started

    @property
    def network(self) -> Path:
        return Path(f"/proc/{self.pid}/ns/net")

    @property
    def laptop_network(self) -> Path:
        """The node's first process holds the laptop's namespace open, so that it ends with it."""
        return Path(f"/proc/{self.pid}/fd/{LAPTOP_DESCRIPTOR}")


def checked_name(name: str) -> str:
    """A name that fits into a link's name, a path and a cgroup."""
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,10}[a-z0-9]", name):
        raise Refused(f"{name!r} is no cluster name: 2 to 12 of a-z, 0-9 and -, a letter first.")
    return name


def claim(name: str) -> Cluster:
    """The cluster of this name with the number it has, or else the lowest that is free."""
    known = find(name)
    if known:
        return known
    state_root().mkdir(parents=True, exist_ok=True)
    with locked("numbers", say=None):
        taken = {json.loads(file.read_text())["index"] for file in state_root().glob("*/cluster.json")}
        index = next((n for n in range(MOST_CLUSTERS) if n not in taken), None)
        if index is None:
            raise Refused(f"There are {MOST_CLUSTERS} clusters already. Try: scripts/cluster down --name NAME")
        cluster = Cluster(name, index)
        _check_place(cluster)
        cluster.folder.mkdir(mode=0o700, exist_ok=True)
        write(cluster.folder / "cluster.json", json.dumps(asdict(cluster)))
    return cluster


def find(name: str) -> Cluster | None:
    """The cluster of this name, if it has been brought up and not down."""
    try:
        return Cluster(**json.loads((state_root() / name / "cluster.json").read_text()))
    except FileNotFoundError:
        return None


def born(cluster: Cluster) -> Born | None:
    """Its namespaces, whether they still live or not."""
    try:
        return Born(**json.loads((cluster.folder / "born.json").read_text()))
    except FileNotFoundError:
        return None


def remember(cluster: Cluster, life: Born) -> None:
    write(cluster.folder / "born.json", json.dumps(asdict(life)))


def forget(cluster: Cluster, *, keep_logs: bool = False) -> None:
    """Remove the cluster's files; a failed start keeps its logs for the reader."""
    number = cluster.folder / "cluster.json"  # goes last: without it, a removal that was cut short is never finished
    entries = set(cluster.folder.iterdir()) - {number} if cluster.folder.exists() else set()
    for entry in [*entries, number]:
        if keep_logs and entry.name == "log":
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink(missing_ok=True)
    if not keep_logs and cluster.folder.exists():
        cluster.folder.rmdir()


def write(file: Path, text: str) -> None:
    """Write in one step, readable by the owner alone: keys and half-written files are seen by nobody."""
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
        out.write(text)
    draft.replace(file)


@contextmanager
def locked(what: str, *, say: str | None = "another run is busy with it, waiting") -> Iterator[None]:
    """Hold the lock of this name; the kernel lets it go even when this process is killed."""
    folder = cache_root() / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / what, "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (fcntl.LOCK_NB if say else 0))
        except BlockingIOError:
            print(f"{what}: {say}", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _check_place(cluster: Cluster) -> None:
    """containerd's and kubelet's folders need a plain file system, and sockets need short paths."""
    folder = state_root().resolve()
    if folder.is_relative_to("/var"):
        raise Refused(f"{folder} lies below /var, which the node covers. Try: XDG_STATE_HOME=/elsewhere")
    if len(str(cluster.containerd_socket)) + len(".ttrpc") > LONGEST_SOCKET:
        raise Refused(f"{folder} is too long a path for sockets. Try: XDG_STATE_HOME=/short")
    kind = _file_system(folder)
    if kind in {"overlay", "tmpfs", "ramfs"}:
        raise Refused(f"{folder} is on {kind}; containers need a disk. Try: XDG_STATE_HOME=/on/a/disk")


def _file_system(path: Path) -> str:
    device = path.stat().st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        if before.split()[2] == wanted:
            return after.split()[0]
    return "unknown"  # btrfs shows other device numbers than stat; it will do
