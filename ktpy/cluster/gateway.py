"""The Kubernetes API in our verbs. Raw JSON throughout; anything shared changes only by `change`."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ktpy.cluster.failures import raise_for
from ktpy.cluster.http import JSON_PATCH, Answer, Api, Lines
from ktpy.errors import Conflict, NotFound
from ktpy.model.names import MANAGER
from ktpy.model.patch import Operation, difference, guarded, without_our_field_entries
from ktpy.model.ref import KINDS, Object, Ref, collection, path, ref_of
from ktpy.model.rights import Right

log = logging.getLogger(__name__)

TRIES = 8  # of one change against others' writes; each try reads anew


class Cluster:
    """One namespace of one cluster.

    Errors, from every verb: Forbidden, NotFound where absence is not an answer, Unreachable, KtError.
    """

    def __init__(self, api: Api, namespace: str) -> None:
        self._api = api
        self.namespace = namespace
        self._clock: float | None = None

    def ref(self, kind: str, name: str) -> Ref:
        return Ref(kind, name, self.namespace)

    # reading

    def get(self, ref: Ref) -> Object | None:
        """The object; None where there is none."""
        answer = self._call("GET", path(ref))
        if answer.status == 404:
            return None
        raise_for(answer, f"Cannot read {ref}")
        return _object(answer.body, ref.kind)

    def find(self, kind: str, *, labels: Mapping[str, str | None] | None = None) -> Sequence[Object]:
        """All objects of KIND that wear LABELS (value None: the key with any value)."""
        return self.find_at(kind, labels=labels)[0]

    def find_at(self, kind: str, *, name: str | None = None, labels: Mapping[str, str | None] | None = None,
                everywhere: bool = False) -> tuple[Sequence[Object], str]:  # fmt: skip
        """The objects, and the resourceVersion from which a watch goes on. EVERYWHERE: of all namespaces."""
        where = None if everywhere else self.namespace
        answer = self._call("GET", collection(kind, where), _selectors(name, labels))
        raise_for(answer, f"Cannot list {KINDS[kind][1]} in {f'namespace {where}' if where else 'all namespaces'}")
        return [_object(item, kind) for item in answer.body["items"]], answer.body["metadata"]["resourceVersion"]

    def now(self) -> float:
        """The server's time in seconds since 1970: the Date header of its last answer (whole seconds, never ahead)."""
        if self._clock is None:
            self._call("GET", "/version")
        return self._clock or 0.0

    def may(self, right: Right) -> bool:
        """Whether this user holds RIGHT here, by an access review (which every user may make)."""
        attributes = {
            "namespace": self.namespace,
            "verb": right.verb,
            "group": right.group,
            "resource": right.resource,
            "subresource": right.subresource,
        }
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
        answer = self._call("POST", collection("SelfSubjectAccessReview", None), {}, body)
        raise_for(answer, "Cannot review this user's rights")
        return bool(answer.body["status"]["allowed"])

    def rules(self) -> Sequence[Object]:
        """What this user may do here, as far as rules tell it: `verbs`, `apiGroups`, `resources`, `resourceNames` each.

        None where the server calls its answer incomplete: an authorizer without rules may refuse what they grant.
        """
        kind = "SelfSubjectRulesReview"
        body = {"apiVersion": "authorization.k8s.io/v1", "kind": kind, "spec": {"namespace": self.namespace}}
        answer = self._call("POST", collection(kind, None), {}, body)
        raise_for(answer, "Cannot review this user's rights")
        status = answer.body["status"]
        return [] if status.get("incomplete") else list(status.get("resourceRules") or ())

    @contextlib.contextmanager
    def watch(self, kind: str, *, name: str | None = None, labels: Mapping[str, str | None] | None = None,
              since: str = "", seconds: int | None = None) -> Iterator[Lines]:  # fmt: skip
        """Changes of objects of KIND as {"type", "object"} since resourceVersion SINCE (empty: all that exist first).

        SECONDS: the server ends the watch by itself.
        """
        query = {"allowWatchBookmarks": "true", **_selectors(name, labels)}
        if since:
            query["resourceVersion"] = since
        if seconds is not None:
            query["timeoutSeconds"] = str(seconds)
        with self._api.lines(collection(kind, self.namespace), query) as lines:
            yield lines

    # writing

    def create(self, thing: Object, *, dry_run: bool = False) -> Object:
        """Create THING; DRY_RUN asks for all the server's checks and creates nothing. Raises Conflict if it exists."""
        ref = ref_of(thing)
        query = {"fieldManager": MANAGER, **({"dryRun": "All"} if dry_run else {})}
        answer = self._call("POST", collection(ref.kind, self.namespace), query, thing)
        raise_for(answer, f"{ref} cannot be created")
        return _object(answer.body, ref.kind)

    def delete(self, ref: Ref, *, uid: str | None = None, grace: int | None = None) -> bool:
        """Delete the object, only if it is still UID; false where it is gone already. GRACE: seconds for a pod."""
        options: dict[str, Any] = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        if uid:
            options["preconditions"] = {"uid": uid}
        if grace is not None:
            options["gracePeriodSeconds"] = grace
        answer = self._call("DELETE", path(ref), {}, options)
        if answer.status == 404:
            return False
        if answer.status == 409 and uid:
            log.debug("%s is another object by now: left alone", ref)
            return False
        raise_for(answer, f"{ref} cannot be deleted")
        return True

    def patch(self, old: Object, operations: Sequence[Operation]) -> Object:
        """OPERATIONS on OLD, refused (Conflict) if the object is no longer OLD's version."""
        ref = ref_of(old)
        answer = self._call(
            "PATCH", path(ref), {"fieldManager": MANAGER}, guarded(old, list(operations)), content=JSON_PATCH
        )
        if answer.status == 422 and self._has_moved(old):
            raise Conflict(f"{ref} cannot be changed: it has changed meanwhile.")
        raise_for(answer, f"{ref} cannot be changed")
        return _object(answer.body, ref.kind)

    def _has_moved(self, old: Object) -> bool:
        """The server checks the version only after it has applied a patch: one that no longer fits is a 422 to it."""
        now = self.get(ref_of(old))
        return now is None or now["metadata"]["resourceVersion"] != old["metadata"]["resourceVersion"]

    def change(self, ref: Ref, how: Callable[[Object], Object], *, before: Callable[[], object] = lambda: None,
               start: Object | None = None) -> Object | None:  # fmt: skip
        """Read, apply the pure HOW, write the difference; read again whenever somebody else wrote in between.

        BEFORE runs between each reading and its writing, and may raise to call it off. START saves the first reading.
        Returns the object as it is afterwards; None where it is gone.
        """
        now = start
        for _ in range(TRIES):
            now = now or self.get(ref)
            if now is None:
                return None
            wanted = how(now)
            if wanted == now:
                return now
            before()
            try:
                return self.patch(now, difference(now, wanted))
            except NotFound:
                return None
            except Conflict:
                now = None
        raise Conflict(f"{ref} is written by others all the time: {TRIES} tries met a newer version each.")

    def forget_us(self, thing: Object) -> Object | None:
        """Take our entry out of THING's managedFields, so that its owner's next server-side apply meets no conflict."""
        now: Object | None = thing
        for _ in range(TRIES):
            if now is None:
                return None
            operations = without_our_field_entries(now)
            if not operations:
                return now
            try:
                return self.patch(now, operations)
            except NotFound:
                return None
            except Conflict:
                now = self.get(ref_of(now))
        raise Conflict(f"{ref_of(thing)} is written by others all the time.")

    # speaking with pods

    def ask_pod(self, pod: str, port: int, method: str, path: str, body: str = "") -> tuple[int, str]:
        """Status and text of one HTTP request to PORT on the loopback of POD, through a port-forward."""
        return self._api.ask_pod(self.namespace, pod, port, method, path, body)

    # plumbing

    def _call(self, method: str, where: str, query: Mapping[str, str] | None = None, body: Any = None, *,
              content: str = "application/json") -> Answer:  # fmt: skip
        answer = self._api.call(method, where, query or {}, body, content=content)
        if answer.date is not None:
            self._clock = answer.date
        return answer


def _object(body: Any, kind: str) -> Object:
    """List items name neither kind nor version."""
    return {"apiVersion": KINDS[kind][0], "kind": kind, **body}


def _selectors(name: str | None, labels: Mapping[str, str | None] | None) -> dict[str, str]:
    """The selectors of a list or watch as the API takes them."""
    query = {}
    if name:
        query["fieldSelector"] = f"metadata.name={name}"
    if labels:
        query["labelSelector"] = ",".join(key if value is None else f"{key}={value}" for key, value in labels.items())
    return query
