"""What was done to a Service, told to whoever describes it: Events, after the deed, and a failure is nobody's."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator

from ktpy.errors import KtError, Taken
from ktpy.kt import Kt
from ktpy.model import happened
from ktpy.model.liveness import Holder
from ktpy.model.manifests import Identity
from ktpy.model.ref import Object
from ktpy.session import Session

log = logging.getLogger(__name__)


@contextlib.contextmanager
def told(session: Session, service: Object) -> Iterator[Callable[[Callable[[Identity], tuple[str, str]]], None]]:
    """The way to say what SESSION has of SERVICE; once that was said, leaving says that it was given back.

    Not where somebody else has ended the session: he says so himself.
    """
    kt, was_said = session.kt, False

    def taken(what: Callable[[Identity], tuple[str, str]]) -> None:
        nonlocal was_said
        was_said = True
        session.workers.start("event", lambda: _send(kt, service, what(session.identity)))

    try:
        yield taken
    finally:
        if was_said and not isinstance(kt.stop.error, Taken):
            session.workers.start("event", lambda: _send(kt, service, happened.given_back(session.identity)))


def ended(kt: Kt, holder: Holder, who: str) -> None:
    """Say on the Service that HOLDER's session was for that WHO has ended it."""
    kind, _, name = holder.target.partition("/")
    if kind != "service":
        return
    try:
        service = kt.cluster.get(kt.cluster.ref("Service", name))
    except KtError as error:
        log.debug("no event: %s", error)
        return
    if service is not None:
        _send(kt, service, happened.ended(holder, who))


def _send(kt: Kt, service: Object, what: tuple[str, str]) -> None:
    try:
        kt.cluster.create(happened.event(service, what, now=kt.cluster.now(), tail=kt.chance()))
    except KtError as error:
        log.debug("no event: %s", error)
