"""The API server through one `kubectl proxy`, for what is asked often: a kubectl costs a fifth of a second of CPU."""

from __future__ import annotations

import http.client
import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

SECONDS = 30.0


@dataclass(frozen=True)
class Direct:
    """PORT of the proxy, on loopback; it has an administrator's rights."""

    port: int

    def read(self, *paths: str) -> list[Any]:
        """The JSON at each of PATHS."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)) as server:
            return [_answer(server, "GET", path) for path in paths]

    def merge(self, path: str, change: Any) -> None:
        """A merge patch."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)) as server:
            _answer(server, "PATCH", path, json.dumps(change))


def _answer(server: http.client.HTTPConnection, method: str, path: str, body: str | None = None) -> Any:
    server.request(method, path, body, {"Content-Type": "application/merge-patch+json"} if body else {})
    answer = server.getresponse()
    text = answer.read().decode()
    if answer.status != http.client.OK:
        raise AssertionError(f"{method} {path}: {answer.status} {text}")
    return json.loads(text)


@contextmanager
def proxied(kubectl: Sequence[str]) -> Iterator[Direct]:
    """Resources: the proxy ends with the block."""
    with subprocess.Popen([*kubectl, "proxy", "--port=0"], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()  # Starting to serve on 127.0.0.1:38021
            yield Direct(int(line.rpartition(":")[2]))
        finally:
            process.terminate()
