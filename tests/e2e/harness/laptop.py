"""The developer's own process on the laptop: the shop again, under the name `laptop`, on ports the kernel picks."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.e2e.harness.people import Person
from tests.e2e.harness.wheel import CHECKOUT


@dataclass(frozen=True)
class Server:
    """PORTS it listens on, on the laptop's loopback only."""

    process: subprocess.Popen[str]
    ports: tuple[int, ...]

    @property
    def port(self) -> int:
        return self.ports[0]


def shop_command(person: Person, *words: str) -> list[str]:
    """`python shop.py --name laptop WORDS`, as PERSON may run it (the checkout may be root's alone)."""
    script = person.home.parent / "shop.py"
    if not script.exists():
        shutil.copy(CHECKOUT / "scripts/shop/shop.py", script)
        script.chmod(0o644)
    return [str(person.venv / "bin/python"), str(script), "--name", "laptop", "--listen", "127.0.0.1", *words]


@contextmanager
def serving(person: Person, *, ports: int = 1, at: int = 0, name: str = "laptop") -> Iterator[Server]:
    """A server as PERSON on so many PORTS, or AT one that is free again, whose answers say NAME."""
    words = shop_command(person, "--name", name, *(word for _ in range(ports) for word in ("--port", str(at))))
    with subprocess.Popen(person.command(*words), stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            line = process.stdout.readline()
            yield Server(process, tuple(map(int, re.findall(r"\d+", line.partition("answers on")[2]))))
        finally:
            process.terminate()


def free_port(person: Person) -> int:
    """A port of the laptop at which nothing listens; the kernel gave it out once and is slow to do so again."""
    program = "import socket; s = socket.socket(); s.bind(('127.0.0.1', 0)); print(s.getsockname()[1])"
    words = person.command(str(person.venv / "bin/python"), "-c", program)
    return int(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
