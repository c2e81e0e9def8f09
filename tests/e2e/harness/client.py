"""A pod in the namespace that asks the Service, as the rest of the cluster would."""

from __future__ import annotations

import json
import subprocess
import threading
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from tests.e2e.harness.node import Node
from tests.e2e.harness.until import until


@dataclass(frozen=True)
class Result:
    """Who answered how many requests (`shop`, `laptop`: the service part), and what failed."""

    answers: dict[str, int]
    failed: dict[str, int]
    raw: dict[str, Any]

    @classmethod
    def of(cls, text: str) -> Result:
        raw = json.loads(text.strip().splitlines()[-1])
        answers: dict[str, int] = {}
        for who, count in raw["answers"].items():
            service = who.partition("@")[0]
            answers[service] = answers.get(service, 0) + count
        return cls(answers, raw["failed"], raw)

    @property
    def total(self) -> int:
        return sum(self.answers.values()) + sum(self.failed.values())


class Running:
    """A load that goes on. Resources: leaving the `with` ends it."""

    def __init__(self, command: list[str]) -> None:
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.lines: list[str] = []
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            with self._changed:
                self.lines.append(line.rstrip())
                self._changed.notify_all()

    def wait_line(self, text: str, *, after: int = 0, count: int = 1, seconds: float = 15.0) -> None:
        """Until COUNT lines hold TEXT (with --each: an answer of that service), not counting the first AFTER lines."""

        def are_there() -> bool:
            return sum(text in line for line in self.lines[after:]) >= count

        with self._changed:
            if not self._changed.wait_for(are_there, seconds):
                raise AssertionError(f"the client did not print {text!r} {count} times; last: {self.lines[-3:]}")

    def stop(self) -> Result:
        """End it: its stdin closes, and a load that runs --until-told sums up."""
        assert self._process.stdin
        self._process.stdin.close()
        return self.result()

    def result(self, seconds: float = 60.0) -> Result:
        """What it sums up at its end."""
        self._process.wait(seconds)
        self._reader.join(5.0)
        assert self._process.stderr
        complaint = self._process.stderr.read()
        if not self.lines:
            raise AssertionError(f"the client said nothing: {complaint}")
        return Result.of(self.lines[-1])

    def __enter__(self) -> Running:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._reader.join(5.0)
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream and not stream.closed:
                stream.close()


class InCluster:
    """The pod `client` of the namespace, or another POD."""

    def __init__(self, node: Node, namespace: str, *, pod: str = "client") -> None:
        self._node, self._namespace, self._pod = node, namespace, pod

    def _words(self, *words: str) -> list[str]:
        return [*self._node.kubectl_words, "-n", self._namespace, "exec", "-i", self._pod, "--", *words]

    def run(self, *words: str, text: str = "") -> str:
        done = subprocess.run(self._words(*words), input=text, capture_output=True, text=True)
        if done.returncode:
            raise AssertionError(f"{' '.join(words)} in pod {self._pod}: {done.stderr.strip()}\n{done.stdout[-500:]}")
        return done.stdout

    def load(self, url: str, *options: str) -> Result:
        """scripts/shop/load.py to its end."""
        return Result.of(self.run("python3", "/load.py", url, *options))

    def loading(self, *words: str) -> Running:
        """The same with these WORDS, while the test goes on; give --seconds, or end it by `stop` with --until-told."""
        return self.start("python3", "/load.py", *words)

    def start(self, *words: str) -> Running:
        """A program there, whose last line is as load.py's."""
        return Running(self._words(*words))

    def ask(self, url: str) -> str:
        """Which service answers one request on a new connection; the failure where none does."""
        result = self.load(url, "--count", "1")
        return next(iter([*result.answers, *result.failed]))

    def wait_for(self, url: str, who: str) -> None:
        """Until a new connection is answered by WHO. On a node of our own that is so by ready: the first one counts.

        In a cluster of several nodes ready means that the shadow's own node has followed; others may need a second.
        """
        seconds = 0.0 if self._node.own else 10.0
        until(lambda: self.ask(url) == who, f"{url} is answered by {who}", seconds=seconds, every=0.0)
