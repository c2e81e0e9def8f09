"""`exchange`: all of a Service's traffic is answered by this laptop."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ktpy import policing, restore
from ktpy.errors import Conflict, KtError, NotFound, Taken, Unreachable
from ktpy.kt import Kt
from ktpy.model import diversion, happened, names, policy_plan, ports
from ktpy.model.events import Note, Step
from ktpy.model.front import Front
from ktpy.model.liveness import Holder
from ktpy.model.marks import EVERYTHING
from ktpy.model.names import SessionId
from ktpy.model.policy_plan import Due, Walls
from ktpy.model.ports import Expose, Route
from ktpy.model.ref import Object, Ref, ref_of
from ktpy.model.rights import needed
from ktpy.model.target import Target
from ktpy.modes import look
from ktpy.modes.link import Link, linked
from ktpy.rehearsal import Deed, Rehearsal, admitting, creations, patching, rehearsed
from ktpy.session import Session, persist
from ktpy.stop import Stop
from ktpy.telling import told
from ktpy.watching import View
from ktpy.workers import Workers

log = logging.getLogger(__name__)
MODE = "exchange"
RIGHTS = ("leases", "secrets", "pods", "services", "configmaps")


@dataclass(frozen=True)
class Plan:
    """What was seen before anything is changed: the SERVICE, its original PODS, a ROUTE for each of its ports.

    OTHERS: the living sessions in the namespace. WALLS: whom its NetworkPolicies keep apart, and what is DUE for that.
    """

    service: Object
    pods: Sequence[Object]
    routes: Sequence[Route]
    others: Sequence[Holder] = ()
    walls: Walls = Walls()
    due: Due = Due()

    @property
    def ref(self) -> Ref:
        return ref_of(self.service)

    @property
    def front(self) -> Front:
        return Front.alone(self.service, self.routes)


def looked(
    kt: Kt, wanted: Target, exposed: Sequence[Expose], *, take_over: bool = False, dry_run: bool = False
) -> Plan:
    """Look at everything that could refuse the exchange. Changes nothing (TAKE_OVER: ends a dead holder's session)."""
    started = time.monotonic()
    service = look.permitted_service_for(kt, wanted, needed(*RIGHTS))
    name = service["metadata"]["name"]
    pods = look.pods_behind(kt, service)
    all_ports = ports.ports_of(service, pods)
    routes = ports.chosen(exposed, name, all_ports, "exchange")
    ports.must_be_complete(routes, name, all_ports)
    look.must_allow_exchange(kt, service, exposed)
    look.must_be_free(kt, service, take_over=take_over and not dry_run)
    plan = Plan(service, pods, routes, look.others_here(kt))
    plan = replace(plan, walls=policing.seen(kt, plan.front))
    plan = replace(plan, due=_due(plan, _rehearsed(kt, plan)))
    policing.must_admit(kt, plan.front, plan.due)
    look.must_pass_dry_run(kt, objects(kt, plan))
    kt.tell(Step("look", f"{plan.ref} in namespace {kt.cluster.namespace}", time.monotonic() - started))
    return plan


def objects(kt: Kt, plan: Plan) -> tuple[Object, ...]:
    """What the exchange would create, with stand-ins for the session and its keys."""
    made = _rehearsed(kt, plan)
    return *made.objects, *_due(plan, made).make


def _due(plan: Plan, made: Rehearsal) -> Due:
    return policy_plan.due(plan.walls, plan.front, made.part(plan.front), None)


def _rehearsed(kt: Kt, plan: Plan) -> Rehearsal:
    return rehearsed(kt, MODE, plan.ref, ports.pod_ports(plan.routes), lambda session: worn(plan.service, session))


def steps(kt: Kt, plan: Plan) -> list[Deed]:
    """What an exchange does, in order: the deed, its object or patch, and what undoes it."""
    made = _rehearsed(kt, plan)
    after = diverted(plan.service, made.session, worn(plan.service, made.session))
    switch = patching(plan.service, after, diversion.given_back(after, made.session))
    return [*creations(made.objects), *admitting(_due(plan, made)), switch]


def worn(service: Object, session: SessionId) -> Mapping[str, str]:
    """What SESSION's shadow wears; SERVICE may be as another session held it, which keeps the owner's keys."""
    return dict.fromkeys(diversion.selector_of(service), names.selector_value(session))


def diverted(service: Object, session: SessionId, wears: Mapping[str, str]) -> Object:
    """SERVICE pointed at SESSION's shadow, which WEARS what its selector would ask for.

    Errors: Taken where another session holds it by now; KtError where its owner has given it other keys meanwhile.
    """
    holder = diversion.holder_of(service)
    if holder not in (None, session):
        raise Taken(f"{ref_of(service)} was taken by session {holder} a moment ago.", "ktpy birdseye")
    # Half taken back, our own values must not end up in the note as its owner's.
    owners = diversion.given_back(service, session)
    if diversion.selector_of(owners).keys() != wears.keys():
        raise KtError(f"{ref_of(service)} has got another selector meanwhile; it was not touched.", "once more, please")
    return diversion.diverted(owners, session, names.selector_value(session))


@contextlib.contextmanager
def exchange(kt: Kt, plan: Plan, *, gate: Callable[[], None] = lambda: None, again: bool = False) -> Iterator[Link]:
    """Send all of the Service's traffic to this laptop while the block lasts.

    GATE is waited for between the tunnel and the switch (the laptop's side may still be starting). AGAIN: when the
    owner takes the Service back, divert it again; else that ends the run.
    """
    with Session.open(kt, MODE, plan.ref) as session, told(session, plan.service) as taken:
        wears = worn(plan.service, session.id)
        base = names.shadow_name(plan.ref.name, MODE, session.id)
        policing.admit_shadow(session, plan.front, wears)
        with linked(kt, session, plan.routes, base=base, wears=wears) as link:
            gate()
            kt.stop.check()
            with _switched(kt, session, plan.ref, wears, again=again):
                _follow(kt, link, plan)
                taken(lambda who: happened.taken(who, EVERYTHING))
                policing.keep(session, plan.walls, lambda: policing.admit_shadow(session, plan.front, wears))
                yield link


def _follow(kt: Kt, link: Link, plan: Plan) -> None:
    """Ready is when the Service's address leads here, not when its selector says so."""
    started = time.monotonic()
    seen = link.follow(plan.service["spec"]["clusterIP"], plan.routes[0].service.port)
    kt.stop.check()
    if seen:
        kt.tell(Step("follow", "the Service's address leads here", time.monotonic() - started))
    else:
        kt.tell(Note("The Service's address was not yet seen to lead here; nodes may need some more seconds."))


@contextlib.contextmanager
def _switched(kt: Kt, session: Session, ref: Ref, wears: Mapping[str, str], *, again: bool) -> Iterator[None]:
    """The Service points here. Leaving: back to its owner, and everything stays up until the nodes have followed."""
    try:
        started = time.monotonic()
        session.take(ref, lambda now: diverted(now, session.id, wears))
        kt.tell(Step("switch", f"{ref} points at this laptop", time.monotonic() - started))
        with Workers(kt.stop) as workers:
            guard = _Guard(kt, session, ref, wears, again=again)
            guard.view = View(kt.cluster, workers, "Service", name=ref.name, on_change=kt.stop.poke)
            workers.start("guard", lambda: guard.watch(workers.done))
            yield
    finally:
        persist(kt, lambda: _is_back(kt, session, ref))


def _is_back(kt: Kt, session: Session, ref: Ref) -> bool:
    """Give the Service back and let the nodes follow, with everything up; false: the API server did not answer."""
    started = time.monotonic()
    try:
        after = restore.put_back(kt.cluster, ref, session.id)
        kt.tell(Step("give back", f"{ref} is its owner's again", time.monotonic() - started))
        back = time.monotonic()
        restore.forget_us(kt.cluster, after)
    except (Unreachable, Conflict) as error:
        log.debug("giving back: %s", error)
        return False
    except KtError as error:  # the session's own give-back says what is left
        log.debug("giving back: %s", error)
        return True
    Stop().wait(max(0.0, kt.settings.linger - (time.monotonic() - back)))
    return True


class _Guard:
    """Notices at once when the Service is taken back or deleted under us."""

    FLIPS = 2  # a GitOps controller would go on for ever

    def __init__(self, kt: Kt, session: Session, ref: Ref, wears: Mapping[str, str], *, again: bool) -> None:
        self._kt, self._session, self._ref, self._wears, self._again = kt, session, ref, wears, again
        self.view: View | None = None

    def _is_lost(self) -> bool:
        view = self.view
        if view is None or not view.is_complete:
            return False
        service = view.objects.get(self._ref.name)
        return service is None or not diversion.is_in_force(service, self._session.id)

    def watch(self, done: Stop) -> None:
        """A worker. Raises what ends the run."""
        flips = 0
        stop = self._kt.stop
        while not stop.wait_for(lambda: done.is_asked or self._is_lost()) and not done.is_asked:
            try:
                flips += self._judge(flips)
            except (Unreachable, Conflict) as error:
                log.debug("the Service cannot be judged now: %s", error)
                done.wait(1.0)

    def _judge(self, flips: int) -> int:
        """1 if the Service was taken back and is diverted again. Raises what ends the run."""
        # What the view shows may be older than our own switch: ask.
        service = self._kt.cluster.get(self._ref)
        if service is None:
            raise NotFound(f"{self._ref} was deleted while this laptop answered for it.")
        if diversion.is_in_force(service, self._session.id):
            self._kt.stop.wait(0.2)
            return 0
        self._session.renew()  # raises Taken with the name of whoever ended this session
        self._lost(service, flips + 1)
        return 1

    def _lost(self, service: Object, flips: int) -> None:
        who = last_writer(service)
        if not self._again or flips > self.FLIPS:
            tries = f" for the {flips}. time; ktpy does not fight" if flips > self.FLIPS else ""
            taken = f"{self._ref} was taken back by {who}{tries}. Its traffic is its owner's; this session ends."
            self._kt.tell(Note(taken))  # now: the give-back, with its linger, comes before the last word
            raise Taken(taken, f"ktpy exchange {self._ref.name} --if-taken-back again      to divert it again")
        self._session.take(self._ref, lambda now: diverted(now, self._session.id, self._wears))
        self._kt.tell(Note(f"{self._ref} was taken back by {who}, and is diverted again."))


def last_writer(service: Object) -> str:
    """Who wrote last, as the server noted it: the field manager and its time. A status is no owner's word."""
    entries = [
        entry
        for entry in service["metadata"].get("managedFields") or []
        if entry.get("time") and entry.get("manager") != names.MANAGER and entry.get("subresource") != "status"
    ]
    if not entries:
        return "somebody"
    last = max(entries, key=lambda entry: str(entry["time"]))
    return f"{last['manager']} at {last['time']}"
