"""One user's connection to a FakeApi: what he may do, what he did, and how it breaks."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ktpy.cluster.http import Answer, Lines
from ktpy.errors import Forbidden
from ktpy.model.ref import KINDS, Object
from ktpy.model.rights import rights
from tests.fakes.api import FakeApi
from tests.fakes.paths import parsed

_VERBS = {"POST": "create", "PATCH": "patch", "DELETE": "delete"}


class Killed(Exception):
    """Stands for kill -9: from here on nothing of this user reaches the API server."""


class Wire:
    """Grants what the published Role grants and no more: a call outside of it is a 403, as it would be for a user."""

    def __init__(self, api: FakeApi) -> None:
        self.api = api
        self.rights = {str(right) for right in rights()}
        self.is_incomplete = False  # as where a cloud's own authorizer has a say
        self.calls: list[str] = []
        self.before: Callable[[str], None] = lambda deed: None
        self._lock = threading.Lock()
        self._faults: list[tuple[int, str, Exception]] = []
        self._dead: Exception | None = None
        self._open: list[Lines] = []

    def fail_at(self, number: int, error: Exception, *, when: str = "before") -> None:
        """Call NUMBER (the first is 1) raises ERROR: before it took effect, or after it did. `Killed` is for good."""
        self._faults.append((number, when, error))

    def spare(self) -> None:
        """Take back every fault that has not come true; a user who is dead already is told so."""
        with self._lock:
            self._faults.clear()
            if self._dead:
                raise self._dead

    def changes(self) -> list[str]:
        """The calls that could change something, in order."""
        verbs, harmless = ("create", "patch", "delete"), "SelfSubject"
        return [call for call in self.calls if call.startswith(verbs) and harmless not in call]

    def call(
        self, method: str, path: str, query: Mapping[str, str], body: Any = None, *, content: str = "application/json"
    ) -> Answer:
        deed = _deed(method, path, query)
        number = self._begin(deed)
        if not deed.startswith("get version") and (refused := self._refused(method, path, query, body)):
            answer = refused
        else:
            answer = self.api.call(method, path, query, body, content=content)
        self._break(number, "after")
        return answer

    @contextlib.contextmanager
    def lines(self, path: str, query: Mapping[str, str]) -> Iterator[Lines]:
        number = self._begin(f"watch {parsed(path).kind}")
        with self.api.lines(path, query) as lines:
            with self._lock:
                self._open.append(lines)
            self._break(number, "after")
            yield _Breakable(self, lines)

    def ask_pod(self, namespace: str, pod: str, port: int, method: str, path: str, body: str) -> tuple[int, str]:
        number = self._begin(f"ask {method} {path}")
        if not {"get pods/portforward", "create pods/portforward"} <= self.rights:
            raise Forbidden(f"pods/portforward is forbidden in {namespace}.")
        answer = self.api.ask_pod(namespace, pod, port, method, path, body)
        self._break(number, "after")
        return answer

    def _begin(self, deed: str) -> int:
        self.before(deed)
        with self._lock:
            if self._dead:
                raise self._dead
            self.calls.append(deed)
            number = len(self.calls)
        self._break(number, "before")
        return number

    def _break(self, number: int, when: str) -> None:
        for at, moment, error in self._faults:
            if (at, moment) == (number, when):
                if isinstance(error, Killed):
                    self.die(error)
                raise error
        if self._dead:  # while this call was under way
            raise self._dead

    def die(self, error: Exception | None = None) -> None:
        """Nothing gets through any more; open watches break."""
        with self._lock:
            self._dead = error or Killed()
            watches = list(self._open)
        for lines in watches:
            lines.cancel()

    def _refused(self, method: str, path: str, query: Mapping[str, str], body: Any) -> Answer | None:
        key = parsed(path)
        if key.kind == "SelfSubjectAccessReview":
            asked = body["spec"]["resourceAttributes"]
            allowed = _right(asked["verb"], asked["resource"], asked["group"], asked["subresource"]) in self.rights
            return Answer(201, {**body, "status": {"allowed": allowed}}, float(int(self.api.time)))
        if key.kind == "SelfSubjectRulesReview":
            rules = [_rule(right) for right in sorted(self.rights)]
            status = {"resourceRules": rules, "incomplete": self.is_incomplete}
            return Answer(201, {**body, "status": status}, float(int(self.api.time)))
        group, plural = KINDS[key.kind]
        verb = _VERBS.get(method) or ("get" if key.name else "list")
        right = _right(verb, plural, group.rpartition("/")[0])
        if right in self.rights and key.namespace:
            return None
        message = f'{plural} is forbidden: User "fake" cannot {verb} resource "{plural}"'
        status = {"kind": "Status", "status": "Failure", "reason": "Forbidden", "message": message}
        return Answer(403, status, float(int(self.api.time)))


class _Breakable:
    """A watch that ends by the user's death, not quietly."""

    def __init__(self, wire: Wire, lines: Lines) -> None:
        self._wire, self._lines = wire, lines

    def cancel(self) -> None:
        self._lines.cancel()

    def __iter__(self) -> Iterator[Any]:
        yield from self._lines
        if self._wire._dead:
            raise self._wire._dead


def _right(verb: str, resource: str, group: str, subresource: str = "") -> str:
    return f"{verb} {resource}{f'.{group}' if group else ''}" + (f"/{subresource}" if subresource else "")


def _rule(right: str) -> Object:
    verb, _, what = right.partition(" ")
    what, _, subresource = what.partition("/")
    resource, _, group = what.partition(".")
    names = resource + (f"/{subresource}" if subresource else "")
    return {"verbs": [verb], "apiGroups": [group], "resources": [names]}


def _deed(method: str, path: str, query: Mapping[str, str]) -> str:
    """`patch Service shop`, `list Pod`, `create Lease (dry run)`."""
    if path == "/version":
        return "get version"
    key = parsed(path)
    verb = _VERBS.get(method) or ("get" if key.name else "list")
    dry = " (dry run)" if "dryRun" in query else ""
    return f"{verb} {key.kind} {key.name}".rstrip() + dry
