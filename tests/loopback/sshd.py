"""A real OpenSSH sshd on a free loopback port, configured as in the shadow pod, run by a user without rights."""

from __future__ import annotations

import contextlib
import os
import pwd
import random
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ktpy.net.keys import SessionKeys

CONFIG = """
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host
PidFile none
AuthorizedKeysFile {folder}/authorized_keys
StrictModes no
UsePAM no
PubkeyAuthentication yes
PasswordAuthentication no
KbdInteractiveAuthentication no
AuthenticationMethods publickey
AllowUsers {user}
PermitTTY no
PermitUserRC no
X11Forwarding no
AllowAgentForwarding no
AllowStreamLocalForwarding no
PermitTunnel no
AllowTcpForwarding yes
GatewayPorts clientspecified
PermitOpen any
ForceCommand /bin/false
MaxSessions 0
ClientAliveInterval 15
ClientAliveCountMax 3
LogLevel VERBOSE
{more}
"""

# Never as root. Not "nobody": systemd's name service calls that account locked.
USER = "daemon" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
AS_USER: dict[str, Any] = {"user": USER, "group": USER, "extra_groups": []} if os.geteuid() == 0 else {}


def find_sshd() -> str:
    found = shutil.which("sshd", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    if not found:
        raise AssertionError("no sshd here: apt-get install --no-install-recommends openssh-server openssh-client")
    return found


_given: set[int] = set()


def free_port() -> int:
    """One that nobody listens on, that was not given before, and that the kernel gives to no client meanwhile."""
    while True:
        port = random.randrange(15000, 32768)  # below the kernel's own (net.ipv4.ip_local_port_range)
        with contextlib.suppress(OSError):
            if port not in _given and socket.create_server(("127.0.0.1", port)).close() is None:
                _given.add(port)
                return port


@dataclass
class Sshd:
    """Resources: `running()` stops it. FOLDER holds its keys and its log."""

    port: int
    folder: Path
    user: str
    more: str
    process: subprocess.Popen[bytes] | None = field(default=None)

    def start(self) -> None:
        config = self.folder / "sshd_config"
        config.write_text(CONFIG.format(port=self.port, folder=self.folder, user=self.user, more=self.more))
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [find_sshd(), "-D", "-e", "-f", str(config)],
                stderr=log,
                stdin=subprocess.DEVNULL,
                **AS_USER,
            )
        end = time.monotonic() + 20
        while not self._answers():
            assert time.monotonic() < end, self.log()
            assert self.process.poll() is None, self.log()

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as peer:
            return peer.recv(4) == b"SSH-"
        return False

    def kill(self) -> None:
        """The listener and every session of it, as a pod's end would."""
        if self.process is not None:
            for pid in [self.process.pid, *_children(self.process.pid)]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, 9)
            self.process.wait()
            self.process = None

    def log(self) -> str:
        return (self.folder / "log").read_text()


def _children(pid: int) -> list[int]:
    """All processes below PID."""
    try:
        near = [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []
    return [each for child in near for each in (child, *_children(child))]


@contextlib.contextmanager
def running(keys: SessionKeys, ports: Sequence[int], *, more: str = "") -> Iterator[Sshd]:
    """An sshd that knows KEYS and lets them listen on PORTS."""
    with tempfile.TemporaryDirectory(prefix="ktpy-sshd-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "host").write_text(keys.host_private)
        (folder / "host").chmod(0o600)
        (folder / "authorized_keys").write_text(keys.authorized_line(ports) + "\n")
        if os.geteuid() == 0:
            shutil.chown(folder / "host", USER)
        sshd = Sshd(free_port(), folder, USER, more)
        sshd.start()
        try:
            yield sshd
        finally:
            sshd.kill()
