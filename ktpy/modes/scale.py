"""`exchange --mode scale`: the workload behind a Service is scaled to 0 while this laptop answers in its place.

The Service itself is not touched. A shadow wears what it selects by, and is Ready only while the tunnel is there; so
it comes beside the workload's pods before those go, and goes after they are back.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ktpy import policing, restore
from ktpy.errors import Conflict, Forbidden, KtError, NotFound, Unreachable
from ktpy.kt import Kt
from ktpy.model import diversion, names, policy_plan, ports, scaling
from ktpy.model.events import Note, Step, Waiting
from ktpy.model.front import Front
from ktpy.model.liveness import Holder
from ktpy.model.podstate import is_ready
from ktpy.model.policy_plan import Due, Walls
from ktpy.model.ports import Expose, Route
from ktpy.model.ref import Object, Ref, ref_of
from ktpy.model.rights import needed
from ktpy.model.target import Target
from ktpy.modes import look
from ktpy.modes.exchange import last_writer
from ktpy.modes.link import SLOW_SECONDS, Link, linked
from ktpy.rehearsal import Deed, Rehearsal, admitting, creations, patching, rehearsed
from ktpy.session import Session, persist
from ktpy.stop import Stop
from ktpy.watching import View
from ktpy.workers import Workers

log = logging.getLogger(__name__)
MODE = "scale"
RIGHTS = ("leases", "secrets", "pods", "services", "configmaps", "deployments", "statefulsets")
RECOVER_SECONDS = 120.0  # for the first pod to come back
HPA = "HorizontalPodAutoscaler"


@dataclass(frozen=True)
class Plan:
    """What was seen before anything is changed: the SERVICE, the WORKLOAD behind it with its PODS, a ROUTE per port.

    OTHERS: the living sessions in the namespace. WALLS: whom its NetworkPolicies keep apart, and what is DUE for that.
    """

    service: Object
    workload: Object
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

    @property
    def template(self) -> Object:
        """The original pods as they were, and will be."""
        template: Object = self.workload["spec"]["template"]
        return template

    @property
    def wears(self) -> Mapping[str, str]:
        return scaling.worn(self.service)

    @property
    def notes(self) -> Mapping[str, str]:
        """What the session's Lease says beside the usual: where to look for its undo note."""
        return {names.SCALED: str(ref_of(self.workload))}


def looked(
    kt: Kt, wanted: Target, exposed: Sequence[Expose], *, take_over: bool = False, dry_run: bool = False
) -> Plan:
    """Look at everything that could refuse it. Changes nothing (TAKE_OVER: ends a dead holder's session)."""
    started = time.monotonic()
    service = look.permitted_service_for(kt, wanted, needed(*RIGHTS))
    take_over = take_over and not dry_run
    look.must_be_free(kt, service, take_over=take_over)
    look.must_allow_exchange(kt, service, exposed)
    scaling.worn(service)
    workload = _workload_behind(kt, service, wanted, take_over=take_over)
    _must_scale_freely(kt, workload)
    _tell_beside(kt, service, workload)
    pods = [pod for pod in look.pods_behind(kt, service) if scaling.serves(pod)]
    routes = _routes(service, exposed, [*pods, workload["spec"]["template"]])
    plan = Plan(service, workload, pods, routes, look.others_here(kt))
    plan = replace(plan, walls=policing.seen(kt, plan.front, original=plan.template))
    plan = replace(plan, due=_due(plan, _rehearsed(kt, plan)))
    policing.must_admit(kt, plan.front, plan.due)
    look.must_pass_dry_run(kt, objects(kt, plan))
    where = f"{plan.ref} and {ref_of(workload)} in namespace {kt.cluster.namespace}"
    kt.tell(Step("look", where, time.monotonic() - started))
    return plan


def _workload_behind(kt: Kt, service: Object, wanted: Target, *, take_over: bool) -> Object:
    """The one that is to be scaled, and that nobody holds."""
    workloads = [one for kind in diversion.WORKLOADS for one in kt.cluster.find(kind)]
    workload = scaling.behind(service, look.pods_behind(kt, service), workloads)
    ref = ref_of(workload)
    if wanted.kind in diversion.WORKLOADS and (ref.kind, ref.name) != (wanted.kind, wanted.name):
        raise KtError(f"{ref_of(service)} leads to {ref}; {wanted} has no pods.", f"ktpy exchange {ref} --mode scale")
    look.must_not_be_held(kt, workload, ref_of(service).name, take_over=take_over)
    now = kt.cluster.get(ref)  # taking it over has given it back
    if now is None:
        raise NotFound(f"{ref} is gone.")
    scaling.must_have_replicas(now)
    return now


def _must_scale_freely(kt: Kt, workload: Object) -> None:
    """Nobody else keeps its replicas, as far as this user may see."""
    try:
        name = scaling.autoscaler_of(workload, kt.cluster.find(HPA))
    except Forbidden:
        kt.tell(Note(f"Whether a {HPA} scales {ref_of(workload)} too could not be checked: you may not list them."))
        return
    if name:
        raise KtError(
            f"{ref_of(workload)} is scaled by {HPA.lower()}/{name}: its replicas are not ktpy's to set.",
            f"ktpy exchange {ref_of(workload)}      without --mode scale",
        )


def _tell_beside(kt: Kt, service: Object, workload: Object) -> None:
    both, without = scaling.beside(service, workload, kt.cluster.find("Service"))
    if both:
        kt.tell(Note(f"{', '.join(map(str, both))} will lead to this laptop as well: it selects the same pods."))
    if without:
        kt.tell(Note(f"{', '.join(map(str, without))} will have no pods while {ref_of(workload)} is scaled to 0."))


def _routes(service: Object, exposed: Sequence[Expose], pods: Sequence[Object]) -> Sequence[Route]:
    name = service["metadata"]["name"]
    all_ports = ports.ports_of(service, pods)
    routes = ports.chosen(exposed, name, all_ports, "exchange")
    ports.must_be_complete(routes, name, all_ports)
    return routes


def objects(kt: Kt, plan: Plan) -> tuple[Object, ...]:
    """What would be created, with stand-ins for the session and its keys."""
    made = _rehearsed(kt, plan)
    return *made.objects, *_due(plan, made).make


def _due(plan: Plan, made: Rehearsal) -> Due:
    return policy_plan.due(plan.walls, plan.front, made.part(plan.front), None)


def _rehearsed(kt: Kt, plan: Plan) -> Rehearsal:
    opened = ports.pod_ports(plan.routes)
    return rehearsed(kt, MODE, plan.ref, opened, lambda session: plan.wears, notes=plan.notes, is_probed=True)


def steps(kt: Kt, plan: Plan) -> list[Deed]:
    """What it does, in order: the deed, its object or patch, and what undoes it."""
    made = _rehearsed(kt, plan)
    after = scaling.scaled(plan.workload, made.session, plan.service)
    admitted = admitting(_due(plan, made))
    back = diversion.given_back(after, made.session)
    return [*creations(made.objects), *admitted, patching(plan.workload, after, back)]


@contextlib.contextmanager
def exchange(
    kt: Kt, plan: Plan, *, gate: Callable[[], None] = lambda: None, recover_wait: float = RECOVER_SECONDS
) -> Iterator[Link]:
    """Scale the workload to 0 and answer in its place while the block lasts.

    GATE comes first: the shadow gets its share of the traffic as soon as it is Ready. RECOVER_WAIT: seconds that
    leaving waits for the first pod to be Ready again, with the laptop answering until then.
    """
    gate()
    kt.stop.check()
    with Session.open(kt, MODE, plan.ref, notes=plan.notes) as session:
        base = names.shadow_name(plan.ref.name, MODE, session.id)

        def admit() -> None:
            policing.admit_shadow(session, plan.front, plan.wears, original=plan.template)

        admit()
        with (
            linked(kt, session, plan.routes, base=base, wears=plan.wears, is_probed=True) as link,
            Workers(kt.stop) as workers,
        ):
            _follow(kt, link, plan)
            originals = _Originals(kt, workers, plan)
            with _scaled(kt, link, plan, originals, recover_wait):
                policing.keep(session, plan.walls, admit)
                yield link


def _follow(kt: Kt, link: Link, plan: Plan) -> None:
    """The nodes know the shadow before any other pod goes."""
    started = time.monotonic()
    kt.stop.wait_for(lambda: is_ready(link.shadow.seen() or {"status": None}), kt.settings.timeout)
    kt.stop.check()
    if not is_ready(link.shadow.seen() or {"status": None}):
        raise KtError(f"pod/{link.shadow.name} is not Ready although its tunnel is up; nothing was scaled.")
    if link.follow(plan.service["spec"]["clusterIP"], plan.routes[0].service.port):
        kt.tell(Step("follow", "the Service's address leads here too", time.monotonic() - started))
    kt.stop.check()


class _Originals:
    """The workload's own pods, kept in view."""

    def __init__(self, kt: Kt, workers: Workers, plan: Plan) -> None:
        self._kt, self._plan = kt, plan
        self._seen = Stop()  # the run's own is asked for already when these come back
        self._view = View(kt.cluster, workers, "Pod", labels={**plan.wears}, on_change=self._seen.poke)

    def serving(self) -> list[Object]:
        return [pod for pod in self._view.objects.values() if scaling.serves(pod)]

    def wait_gone(self) -> None:
        """Until each was told to go: from then on it gets nothing new. A StatefulSet tells one after the other."""
        started = time.monotonic()
        self._wait(
            lambda: self._view.is_complete and not self.serving(), self._kt.settings.timeout, self._kt.stop,
            lambda left: Waiting("scale", f"{len(self.serving())} pods of {ref_of(self._plan.workload)} to go"),
        )  # fmt: skip
        self._kt.stop.check()
        if left := self.serving():
            there = ", ".join(f"pod/{pod['metadata']['name']}" for pod in left)
            self._kt.tell(Note(f"{there} still there: requests go to this laptop and to them, until they end."))
        else:
            self._kt.tell(Step("drain", "no other pod gets anything new", time.monotonic() - started))

    def wait_back(self, seconds: float) -> bool:
        """Until the first is Ready, the laptop answering until then; false where that took too long."""
        started = time.monotonic()

        def is_back() -> bool:
            return any(map(is_ready, self.serving()))

        self._wait(
            is_back, seconds, self._seen,
            lambda left: Waiting("give back", f"a pod of {ref_of(self._plan.workload)} to be Ready, {left:.0f} s more; "
                                 "until then this laptop answers"),
        )  # fmt: skip
        if is_back():
            self._kt.tell(Step("recover", f"{ref_of(self._plan.workload)} answers", time.monotonic() - started))
        else:
            self._kt.tell(Note(f"No pod of {ref_of(self._plan.workload)} is Ready after {seconds:.0f} s; its Service "
                               "answers nothing until one is."))  # fmt: skip
        return is_back()

    def _wait(self, fact: Callable[[], bool], seconds: float, stop: Stop, say: Callable[[float], Waiting]) -> None:
        until = time.monotonic() + seconds
        while not fact() and not stop.is_asked and (left := until - time.monotonic()) > 0:
            stop.wait_for(fact, min(SLOW_SECONDS, left))
            if not fact() and not stop.is_asked:
                self._kt.tell(say(max(0.0, until - time.monotonic())))


@contextlib.contextmanager
def _scaled(kt: Kt, link: Link, plan: Plan, originals: _Originals, recover_wait: float) -> Iterator[None]:
    """The workload is at 0. Leaving: its replicas back, its first pod waited for, and only then the shadow goes."""
    ref, session = ref_of(plan.workload), link.session
    try:
        started = time.monotonic()
        session.take(ref, lambda now: scaling.scaled(now, session.id, plan.service))
        kt.tell(Step("scale", f"{ref} is scaled to 0", time.monotonic() - started))
        with Workers(kt.stop) as workers:
            guard = _Guard(kt, session, ref)
            guard.view = View(kt.cluster, workers, ref.kind, name=ref.name, on_change=kt.stop.poke)
            workers.start("guard", lambda: guard.watch(workers.done))
            originals.wait_gone()
            yield
    finally:
        after: list[Object] = []
        persist(kt, lambda: _is_back(kt, session, ref, after))
        is_answered = bool(after and scaling.replicas_of(after[-1])) and originals.wait_back(recover_wait)
        _retire(kt, link, plan, is_answered=is_answered)


def _is_back(kt: Kt, session: Session, ref: Ref, after: list[Object]) -> bool:
    """Give the workload back, which AFTER then holds; false: the API server did not answer."""
    started = time.monotonic()
    try:
        found = restore.put_back(kt.cluster, ref, session.id)
        if found is not None:
            after.append(found)
            kt.tell(Step("give back", f"{ref} has {scaling.replicas_of(found)} replicas", time.monotonic() - started))
        restore.forget_us(kt.cluster, found)
    except (Unreachable, Conflict) as error:
        log.debug("giving back: %s", error)
        return False
    except KtError as error:  # the session's own give-back says what is left
        log.debug("giving back: %s", error)
    return True


def _retire(kt: Kt, link: Link, plan: Plan, *, is_answered: bool) -> None:
    """The shadow leaves the Service, and the nodes get the time to follow, while it still answers.

    Where nobody else answers (IS_ANSWERED), nodes go on sending to a pod that ends: there is nothing to wait for.
    """
    try:
        link.shadow.retire()
    except KtError as error:  # the session's own give-back deletes it, or says that it could not
        log.debug("retiring the shadow: %s", error)
        return
    if is_answered:
        link.unfollow(plan.service["spec"]["clusterIP"], plan.routes[0].service.port, kt.settings.linger)


class _Guard:
    """Notices when the workload is scaled or deleted under us.

    Its owner's number stays: it is told, the session goes on beside his pods, and the end leaves his number as it is.
    Were he to set 0 himself, that could not be told from ours, and the end would give back what was before.
    """

    def __init__(self, kt: Kt, session: Session, ref: Ref) -> None:
        self._kt, self._session, self._ref = kt, session, ref
        self._told: int | None = None
        self.view: View | None = None

    def _is_news(self) -> bool:
        view = self.view
        if view is None or not view.is_complete:
            return False
        workload = view.objects.get(self._ref.name)
        return workload is None or self._number(workload) != self._told

    def _number(self, workload: Object) -> int | None:
        """Whose number is in force: None is ours."""
        return None if scaling.is_scaled_by(workload, self._session.id) else scaling.replicas_of(workload)

    def watch(self, done: Stop) -> None:
        """A worker. Raises what ends the run."""
        stop = self._kt.stop
        while not stop.wait_for(lambda: done.is_asked or self._is_news()) and not done.is_asked:
            try:
                self._judge()
            except (Unreachable, Conflict) as error:
                log.debug("the workload cannot be judged now: %s", error)
                done.wait(1.0)

    def _judge(self) -> None:
        # What the view shows may be older than our own change: ask.
        workload = self._kt.cluster.get(self._ref)
        if workload is None:
            raise NotFound(f"{self._ref} was deleted while this laptop answered for it.")
        number = self._number(workload)
        if number == self._told:
            self._kt.stop.wait(0.2)
            return
        self._session.renew()  # raises Taken with the name of whoever ended this session
        self._told = number
        if number is not None:
            self._kt.tell(
                Note(
                    f"{self._ref} was scaled to {number} by {last_writer(workload)}: its pods answer beside this "
                    "laptop, and the end of this session leaves it so."
                )
            )
