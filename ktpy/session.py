"""One run of a mode: its Lease, its heartbeat, and the verbs that mark what they touch; leaving it gives all back."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping

from ktpy import undo
from ktpy.errors import Conflict, LeftBehind, NotFound, Taken, Unreachable
from ktpy.kt import Kt
from ktpy.model import manifests, names
from ktpy.model.events import Waiting
from ktpy.model.liveness import rfc3339
from ktpy.model.manifests import Identity
from ktpy.model.names import SessionId
from ktpy.model.ref import Object, Ref, annotations_of, uid_of
from ktpy.stop import Stop
from ktpy.workers import Workers

log = logging.getLogger(__name__)
GIVE_BACK_SECONDS = 20.0  # of trying while the API server does not answer


class Session:
    """Errors: Taken from every verb once somebody else has ended this session; it never makes its Lease anew."""

    def __init__(self, kt: Kt, identity: Identity, lease: Object) -> None:
        self.kt = kt
        self.id = identity.session
        self.identity = identity
        self.workers = Workers(kt.stop)
        self.beats = 0
        """Heartbeats written in their time; the run's Stop is poked at each."""
        self._lease = lease
        self._lock = threading.Lock()

    @classmethod
    @contextlib.contextmanager
    def open(cls, kt: Kt, mode: str, target: Ref, *, notes: Mapping[str, str] | None = None) -> Iterator[Session]:
        """A Lease with a heartbeat, and NOTES for whoever gives back. Resources: leaving gives back everything.

        Errors: LeftBehind where that failed.
        """
        identity = new_identity(kt, mode, target)
        try:
            now = rfc3339(kt.cluster.now())
            lease = kt.cluster.create(manifests.lease(identity, kt.cluster.namespace, now, notes=notes))
        except Unreachable:  # it may have been made all the same
            _give_all_back(kt, identity.session)
            raise
        session = cls(kt, identity, lease)
        try:
            with session.workers:
                session.workers.start("heartbeat", session._beat)
                yield session
        finally:
            _give_all_back(kt, identity.session)

    @property
    def owner(self) -> Object:
        """The Lease, as owner of what is created."""
        return self._lease

    def create(self, thing: Object) -> Object:
        """Create one of this session's objects; refused once the session is no longer ours."""
        return self.kt.cluster.create(thing)

    def take(self, ref: Ref, how: Callable[[Object], Object]) -> Object:
        """Change somebody else's object; HOW writes the undo note in the same write.

        The Lease is renewed between reading and writing: a session that was ended meanwhile must not write, and a
        write that is later than the give-back meets a newer version.
        """
        changed = self.kt.cluster.change(ref, how, before=self.renew)
        if changed is None:
            raise NotFound(f"{ref} is gone.")
        return changed

    def renew(self) -> None:
        """One heartbeat. Raises Taken when the Lease is gone or somebody else's."""
        with self._lock:
            for _ in range(3):
                try:
                    self._lease = self.kt.cluster.patch(self._lease, self._heartbeat())
                    return
                except NotFound as error:
                    raise self._ended() from error
                except Conflict:
                    self._lease = self._still_ours()
        raise Taken(f"The Lease of session {self.id} is written by somebody else all the time.")

    def _heartbeat(self) -> list[dict[str, object]]:
        """renewTime only has to differ: readers go by the server's own stamp of this write."""
        return [{"op": "replace", "path": "/spec/renewTime", "value": rfc3339(self.kt.laptop.clock())}]

    def _still_ours(self) -> Object:
        lease = self.kt.cluster.get(self.kt.cluster.ref("Lease", names.lease_name(self.id)))
        if lease is None or uid_of(lease) != uid_of(self._lease):
            raise self._ended()
        if annotations_of(lease).get(names.ENDED_BY):
            raise self._ended(annotations_of(lease)[names.ENDED_BY])
        return lease

    def _ended(self, who: str = "") -> Taken:
        who = who or self._who_ended_it() or "somebody's `ktpy clean` or `ktpy recover` (its Lease is gone)"
        return Taken(f"Session {self.id} was ended by {who}; nothing of it is left in force.", "ktpy birdseye")

    def _who_ended_it(self) -> str:
        """The Lease's last state, which the API server still has in its watch history for some minutes."""
        since = self._lease["metadata"]["resourceVersion"]
        who = ""
        try:
            with self.kt.cluster.watch("Lease", name=names.lease_name(self.id), since=since, seconds=2) as lines:
                for event in lines:
                    who = annotations_of(event["object"]).get(names.ENDED_BY, who) if event["type"] != "ERROR" else who
                    if event["type"] in ("DELETED", "ERROR"):
                        break
        except (Unreachable, KeyError):
            log.debug("the history of the Lease cannot be read", exc_info=True)
        return who

    def _beat(self) -> None:
        wait = names.HEARTBEAT_SECONDS
        while not self.workers.done.wait(wait):
            try:
                self.renew()
                self.beats += 1
                self.kt.stop.poke()
                wait = names.HEARTBEAT_SECONDS
            except Unreachable as error:
                log.debug("heartbeat: %s", error)
                wait = 1.0


def persist(kt: Kt, is_done: Callable[[], bool]) -> None:
    """Try until IS_DONE, for a while, and say what is waited for: what is not given back is everybody's outage."""
    until = time.monotonic() + GIVE_BACK_SECONDS
    while not is_done() and (left := until - time.monotonic()) > 0:
        recover = f"ktpy recover -n {kt.cluster.namespace}"
        kt.tell(Waiting("give back", f"the API server, {left:.0f} s more; after that it takes: {recover}"))
        Stop().wait(1.0)


def new_identity(kt: Kt, mode: str, target: Ref) -> Identity:
    session = names.session_id(kt.user.name, kt.chance())
    return Identity(session, kt.user.name, kt.user.host, mode, str(target))


def _give_all_back(kt: Kt, session: SessionId) -> None:
    """While the API server does not answer there is nothing to do but to try again for a while."""
    report = undo.Report()

    def is_done() -> bool:
        nonlocal report
        report = undo.give_back(kt.cluster, session, late_writes=False, linger=kt.settings.linger)
        return not report.left or not report.again

    persist(kt, is_done)
    if report.left:
        raise LeftBehind(
            f"Session {session} could not give everything back: {'; '.join(report.left)}.",
            f"ktpy recover -n {kt.cluster.namespace}      once that is mended",
        )
