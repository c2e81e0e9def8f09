"""`preview`: a process of this laptop becomes a Service of the namespace, which was not there before."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from ktpy import policing, undo
from ktpy.errors import Conflict, Forbidden, KtError, NotFound, Taken, Unreachable
from ktpy.kt import Kt
from ktpy.model import names, ports
from ktpy.model import preview as published
from ktpy.model.events import Note, Step
from ktpy.model.liveness import Holder, Life
from ktpy.model.names import SessionId
from ktpy.model.ports import Route
from ktpy.model.preview import Wanted
from ktpy.model.ref import Object, Ref, ref_of, uid_of
from ktpy.model.rights import needed
from ktpy.modes import look
from ktpy.modes.exchange import last_writer
from ktpy.modes.link import Link, linked
from ktpy.rehearsal import Deed, creations, rehearsed
from ktpy.session import Session, persist
from ktpy.stop import Stop
from ktpy.watching import View
from ktpy.workers import Workers, each, together

log = logging.getLogger(__name__)
MODE = names.ROLE_PREVIEW
RIGHTS = ("leases", "secrets", "pods", "services")


@dataclass(frozen=True)
class Plan:
    """What is WANTED, in a namespace that has no Service of that name. OTHERS: the living sessions there."""

    wanted: Wanted
    namespace: str
    others: Sequence[Holder] = field(default=())

    @property
    def ref(self) -> Ref:
        return Ref("Service", self.wanted.name, self.namespace)

    @property
    def routes(self) -> Sequence[Route]:
        return self.wanted.routes


def looked(kt: Kt, wanted: Wanted, *, take_over: bool = False, dry_run: bool = False) -> Plan:
    """Look at everything that could refuse it. Changes nothing (TAKE_OVER: ends a dead holder's session)."""
    started = time.monotonic()
    ref = kt.cluster.ref("Service", wanted.name)
    _, found = together(lambda: _must_have_rights(kt, wanted), lambda: kt.cluster.get(ref))
    if found is not None:
        _must_go(kt, found, take_over=take_over and not dry_run)
    plan = Plan(wanted, kt.cluster.namespace, look.others_here(kt))
    _must_pass_dry_run(kt, plan)
    _tell_who_isolates(kt, plan)
    kt.tell(Step("look", f"{ref} in namespace {kt.cluster.namespace} would be new", time.monotonic() - started))
    return plan


def _tell_who_isolates(kt: Kt, plan: Plan) -> None:
    """There are no pods whose callers could be let in too: who may call a new Service, its namespace decides."""
    labels = objects(kt, plan)[2]["metadata"]["labels"]
    if isolating := policing.isolating(kt, labels):
        kt.tell(
            Note(
                f"NetworkPolicies {', '.join(isolating)} hold for {plan.ref} too: only those whom they let in reach "
                f"it. To let others in, write one for pods labelled {names.ROLE}={names.ROLE_SHADOW}."
            )
        )


def _must_have_rights(kt: Kt, wanted: Wanted) -> None:
    look.must_have_rights(kt, needed(*RIGHTS))
    if wanted.host:
        look.must_have_ingress_rights(kt)


def _must_go(kt: Kt, found: Object, *, take_over: bool) -> None:
    """Raises Taken for a Service that is there, unless it is a dead preview's that TAKE_OVER may end."""
    session = published.publisher(found)
    holder = undo.holder_named(kt.cluster, session) if session else None
    if not take_over or holder is None or holder.life is Life.ALIVE:
        raise _taken(kt, ref_of(found), found)
    undo.end(kt.cluster, holder, f"{kt.user.name} on {kt.user.host} (--take-over)")
    after = kt.cluster.get(ref_of(found))
    if after is not None:
        raise _taken(kt, ref_of(after), after)


def _taken(kt: Kt, ref: Ref, found: Object | None) -> Taken:
    """The refusal, which says whose it is. FOUND: None where it cannot be read."""
    other = f"ktpy preview OTHER-NAME      a name of its own, or: ktpy exchange {ref.name}"
    if found is None:
        return Taken(f"{ref} exists already. Nothing was created.", [f"kubectl get {ref} -o yaml", other])
    if found["metadata"].get("deletionTimestamp"):
        return Taken(f"{ref} is still being deleted. Nothing was created.", f"kubectl get {ref} --watch")
    session = published.publisher(found)
    if session is None:
        who = last_writer(found)
        return Taken(f"{ref} exists already and is no preview; {who} wrote it last. Nothing was created.", other)
    holder = undo.holder_named(kt.cluster, session)
    if holder.life is Life.ALIVE:
        return Taken(
            f"{ref} is published by {holder}. Nothing was created.",
            [f"ask {holder.owner} to stop it, where it runs: ktpy leave {ref.name}", "ktpy preview OTHER-NAME"],
        )
    return Taken(
        f"{ref} is published by {holder}, whose heartbeat stopped. Nothing was created.",
        [
            f"ktpy preview {ref.name} --take-over      to end it and go on",
            f"ktpy recover {ref.name}      to end it only",
        ],
    )


def _read(kt: Kt, ref: Ref) -> Object | None:
    """Few may read Ingresses."""
    try:
        return kt.cluster.get(ref)
    except Forbidden:
        return None


def _must_pass_dry_run(kt: Kt, plan: Plan) -> None:
    """The server's word on every object; a name that is taken is refused in ours."""

    def tried(thing: Object) -> None:
        try:
            kt.cluster.create(thing, dry_run=True)
        except Conflict as error:
            raise _taken(kt, ref_of(thing), _read(kt, ref_of(thing))) from error

    each(tried, objects(kt, plan))


def objects(kt: Kt, plan: Plan) -> tuple[Object, ...]:
    """What would be created, with stand-ins for the session and its keys."""
    made = rehearsed(kt, MODE, plan.ref, ports.pod_ports(plan.routes), published.worn)
    return *made.objects, *_offered(plan.wanted, made.session, made.owner)


def _offered(wanted: Wanted, session: SessionId, owner: Object) -> tuple[Object, ...]:
    """The Service, and the Ingress where one is wanted."""
    service = published.service(wanted, session, owner)
    return (service, published.ingress(wanted, session, owner)) if wanted.host else (service,)


def steps(kt: Kt, plan: Plan) -> list[Deed]:
    """What a preview does, in order: the deed, its object, and what undoes it."""
    return creations(objects(kt, plan))


@contextlib.contextmanager
def preview(kt: Kt, plan: Plan, *, gate: Callable[[], None] = lambda: None) -> Iterator[Link]:
    """Publish the laptop's ports as a new Service while the block lasts.

    The Service is made before its pod: kube-proxy writes its rules once a second at most, and made after the pod it
    would have to be waited for. Nobody misses what refuses him meanwhile: the name is new. GATE is waited for before
    ready (the laptop's side may still be starting).
    """
    with Session.open(kt, MODE, plan.ref) as session:
        made = _made(kt, session, plan)
        base = names.shadow_name(plan.ref.name, MODE, session.id)
        with (
            linked(kt, session, plan.routes, base=base, wears=published.worn(session.id)) as link,
            _gone_first(kt, session, made),
            _watched(kt, session, made[0]),
        ):
            gate()
            kt.stop.check()
            _follow(kt, link, made[0])
            yield link


def _follow(kt: Kt, link: Link, service: Object) -> None:
    """Ready is when the Service's own address leads here."""
    started = time.monotonic()
    seen = link.follow(service["spec"]["clusterIP"], service["spec"]["ports"][0]["port"])
    kt.stop.check()
    if seen:
        kt.tell(Step("follow", "the Service's address leads here", time.monotonic() - started))
    else:
        kt.tell(Note("The Service's address was not yet seen to lead here; nodes may need some more seconds."))


def _made(kt: Kt, session: Session, plan: Plan) -> Sequence[Object]:
    """The Service is there, and the Ingress. A failure on the way leaves them to the session's give-back."""
    started = time.monotonic()
    made = [_created(session, thing) for thing in _offered(plan.wanted, session.id, session.owner)]
    words = " and ".join(str(ref_of(thing)) for thing in made)
    kt.tell(Step("publish", f"{words} {'is' if len(made) == 1 else 'are'} there", time.monotonic() - started))
    _say_what_is_pending(kt, plan, made)
    return made


@contextlib.contextmanager
def _gone_first(kt: Kt, session: Session, made: Sequence[Object]) -> Iterator[None]:
    """Leaving: the Service goes first, while tunnel and shadow still serve what is under way."""
    try:
        yield
    finally:
        persist(kt, lambda: _is_gone(kt, session, made[1:]))


@contextlib.contextmanager
def _watched(kt: Kt, session: Session, service: Object) -> Iterator[None]:
    """What becomes of the Service is noticed at once."""
    with Workers(kt.stop) as workers:
        watch = _Watch(kt, session, service)
        watch.view = View(kt.cluster, workers, "Service", name=ref_of(service).name, on_change=kt.stop.poke)
        workers.start("preview", lambda: watch.run(workers.done))
        yield


def _created(session: Session, thing: Object) -> Object:
    """THING made. Errors: Taken where somebody was a moment quicker."""
    try:
        return session.create(thing)
    except Conflict as error:
        raise _taken(session.kt, ref_of(thing), _read(session.kt, ref_of(thing))) from error


def _say_what_is_pending(kt: Kt, plan: Plan, made: Sequence[Object]) -> None:
    if plan.wanted.external and not published.address_of(made[0]):
        kt.tell(
            Note(
                f"The external address of {plan.ref} is pending: a load balancer takes its time, and a cluster without "
                f"one never gives it. To see it: kubectl -n {plan.namespace} get service {plan.ref.name} --watch"
            )
        )
    if made[1:] and not made[1]["spec"].get("ingressClassName"):
        kt.tell(
            Note(
                f"{ref_of(made[1])} names no class and the cluster has no default one: maybe no controller serves it. "
                "Then: --ingress-class NAME (kubectl get ingressclass)"
            )
        )


def _is_gone(kt: Kt, session: Session, ingresses: Sequence[Object]) -> bool:
    """Take away what was published; false: the API server did not answer."""
    started = time.monotonic()
    try:
        for thing in ingresses:
            kt.cluster.delete(ref_of(thing), uid=uid_of(thing))
        for service in undo.published_by(kt.cluster, session.id, session.owner):
            what = "its writer's now" if published.is_adopted(service, session.id) else "gone"
            if undo.take_away(kt.cluster, service, session.id):
                kt.tell(Step("give back", f"{ref_of(service)} is {what}", time.monotonic() - started))
    except (Unreachable, Conflict) as error:
        log.debug("taking away: %s", error)
        return False
    except KtError as error:  # the session's own give-back says what is left; an Ingress goes with its owner, the Lease
        log.debug("taking away: %s", error)
    return True


class _Watch:
    """Notices when the Service is deleted or written over under us, and when a load balancer has an address for it."""

    def __init__(self, kt: Kt, session: Session, service: Object) -> None:
        self._kt, self._session, self._service = kt, session, service
        self._ref = ref_of(service)
        self._address = published.address_of(service)
        self.view: View | None = None

    def _seen(self) -> Object | None:
        return self.view.objects.get(self._ref.name) if self.view else None

    def _is_lost(self) -> bool:
        return bool(self.view and self.view.is_complete) and not self._is_whole(self._seen())

    def _is_whole(self, service: Object | None) -> bool:
        if service is None or uid_of(service) != uid_of(self._service):
            return False
        return not service["metadata"].get("deletionTimestamp") and not published.is_adopted(service, self._session.id)

    def _has_address(self) -> bool:
        service = self._seen()
        return service is not None and published.address_of(service) not in ("", self._address)

    def run(self, done: Stop) -> None:
        """A worker. Raises what ends the run."""
        stop = self._kt.stop
        while not stop.wait_for(lambda: done.is_asked or self._is_lost() or self._has_address()) and not done.is_asked:
            try:
                self._tell_address()
                if self._is_lost():
                    self._judge()
            except (Unreachable, Conflict) as error:
                log.debug("the Service cannot be judged now: %s", error)
                done.wait(1.0)

    def _tell_address(self) -> None:
        if not self._has_address():
            return
        self._address = published.address_of(self._seen() or {})
        port = self._service["spec"]["ports"][0]["port"]
        self._kt.tell(Note(f"{self._ref} is reached from outside at {self._address}, port {port}."))

    def _judge(self) -> None:
        # What the view shows may be older than our own create: ask.
        service = self._kt.cluster.get(self._ref)
        if self._is_whole(service):
            self._kt.stop.wait(0.2)
            return
        self._session.renew()  # raises Taken with the name of whoever ended this session
        if service is not None and uid_of(service) == uid_of(self._service) and published.is_adopted(
            service, self._session.id
        ):  # fmt: skip
            raise Taken(
                f"{last_writer(service)} wrote another selector over {self._ref}: it is that writer's Service from "
                "here on, and this session ends.",
                [f"ktpy exchange {self._ref.name}      to answer for it", "ktpy preview OTHER-NAME"],
            )
        raise NotFound(f"{self._ref} was deleted while this laptop answered for it.")
