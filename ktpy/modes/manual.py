"""`mesh --mode manual`: this laptop as one more pod of a Service, for whoever has a mesh with rules of his own.

Nothing of the Service is changed and no router is made. The shadow wears what the Service selects by, and a label by
which DestinationRules and the like tell it from the other pods; until such rules are there, it gets its share of all.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ktpy import policing
from ktpy.errors import KtError
from ktpy.kt import Kt
from ktpy.model import happened, istio, names, policy_plan, ports
from ktpy.model.diversion import holder_of
from ktpy.model.events import Note, Step
from ktpy.model.front import Front
from ktpy.model.istio import Mark
from ktpy.model.liveness import Holder
from ktpy.model.podstate import is_ready
from ktpy.model.policy_plan import Due, Walls
from ktpy.model.ports import Expose, Route, ServicePort
from ktpy.model.ref import Object, Ref, ref_of
from ktpy.model.rights import needed
from ktpy.model.scaling import serves
from ktpy.model.target import Target
from ktpy.modes import look
from ktpy.modes.link import Link, linked
from ktpy.rehearsal import Rehearsal, rehearsed
from ktpy.session import Session
from ktpy.stop import Stop
from ktpy.telling import told

log = logging.getLogger(__name__)
MODE = names.MODE_MANUAL
RIGHTS = ("leases", "secrets", "pods")
READ = ("get", "list")  # of Services, and of routers' tables, where every session's end looks for rows of its own


@dataclass(frozen=True)
class Plan:
    """What was seen before anything is made: the SERVICE, its original PODS, a ROUTE per port.

    WEARS: the shadow's labels. APART: one that all the others wear and it does not. OTHERS: the living sessions.
    WALLS: whom the namespace's NetworkPolicies keep apart, and what is DUE for that.
    """

    service: Object
    pods: Sequence[Object]
    routes: Sequence[Route]
    mark: Mark
    wears: Mapping[str, str]
    apart: Mapping[str, str]
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
    def rules(self) -> str:
        """Examples for the mesh's owner, with the real names."""
        return istio.rules(self.service, self.mark, self.apart, [route.service for route in self.routes])


def looked(kt: Kt, wanted: Target, exposed: Sequence[Expose], mark: Mark) -> Plan:
    """Look at everything that could refuse it. Changes nothing."""
    started = time.monotonic()
    reading = [right for right in needed("services", "configmaps") if right.verb in READ]
    service = look.permitted_service_for(kt, wanted, [*needed(*RIGHTS), *reading])
    name = service["metadata"]["name"]
    found = look.pods_behind(kt, service)
    wears = istio.wears(service, mark, found)
    pods = [pod for pod in found if serves(pod)]
    all_ports = ports.ports_of(service, pods)
    ports.must_agree(pods, all_ports)
    routes = ports.chosen(exposed, name, all_ports, wanted.command)
    must_have_all(name, routes, all_ports)
    plan = Plan(service, pods, routes, mark, wears, istio.apart(pods, wears, mark), look.others_here(kt))
    plan = replace(plan, walls=policing.seen(kt, plan.front))
    plan = replace(plan, due=_due(plan, _rehearsed(kt, plan)))
    policing.must_admit(kt, plan.front, plan.due)
    look.must_pass_dry_run(kt, objects(kt, plan))
    kt.tell(Step("look", f"{plan.ref} in namespace {kt.cluster.namespace}", time.monotonic() - started))
    return plan


def must_have_all(name: str, routes: Sequence[Route], all_ports: Sequence[ServicePort]) -> None:
    """Errors: KtError where the Service has a port that the shadow would not answer, as each of its pods must."""
    given = {route.service.port for route in routes}
    if missing := [port for port in all_ports if port.port not in given]:
        line = ports.paste_line(name, all_ports, "mesh")
        raise KtError(
            f"This laptop's pod gets its share of all of service/{name}, and nothing would answer port "
            f"{ports.table(missing)} of it.",
            f"{line} --mode manual" if all(port.protocol == "TCP" for port in missing) else f"ktpy mesh {name}",
        )


def objects(kt: Kt, plan: Plan) -> tuple[Object, ...]:
    """What would be created, with stand-ins for the session and its keys."""
    made = _rehearsed(kt, plan)
    return *made.objects, *_due(plan, made).make


def _rehearsed(kt: Kt, plan: Plan) -> Rehearsal:
    opened = ports.pod_ports(plan.routes)
    return rehearsed(kt, MODE, plan.ref, opened, lambda session: plan.wears, is_probed=True)


def _due(plan: Plan, made: Rehearsal) -> Due:
    return policy_plan.due(plan.walls, plan.front, made.part(plan.front), None)


@contextlib.contextmanager
def manual(kt: Kt, plan: Plan, *, gate: Callable[[], None] = lambda: None) -> Iterator[Link]:
    """Answer as one of the Service's pods while the block lasts.

    GATE comes first: the shadow gets its share of the traffic as soon as it is Ready.
    """
    gate()
    kt.stop.check()
    with Session.open(kt, MODE, plan.ref) as session, told(session, plan.service) as taken:
        base = names.shadow_name(plan.ref.name, MODE, session.id)
        policing.admit_shadow(session, plan.front, plan.wears)
        with linked(kt, session, plan.routes, base=base, wears=plan.wears, is_probed=True) as link:
            try:
                _follow(kt, link, plan)
                taken(lambda who: happened.joined(who, plan.mark.label))
                policing.keep(session, plan.walls, lambda: policing.admit_shadow(session, plan.front, plan.wears))
                yield link
            finally:
                _retire(kt, link)


def _follow(kt: Kt, link: Link, plan: Plan) -> None:
    """The nodes know the shadow; one in so many knocks at the Service's address comes here."""
    started = time.monotonic()
    kt.stop.wait_for(lambda: is_ready(link.shadow.seen() or {}), kt.settings.timeout)
    kt.stop.check()
    if not is_ready(link.shadow.seen() or {}):
        raise KtError(f"pod/{link.shadow.name} is not Ready although its tunnel is up.", "ktpy doctor")
    if holder := holder_of(plan.service):
        kt.tell(
            Note(f"{plan.ref} leads elsewhere now, for session {holder}: its own pods, and this one, get the rest.")
        )
    elif link.follow(plan.service["spec"]["clusterIP"], plan.routes[0].service.port):
        kt.tell(Step("follow", "the Service's address leads here too", time.monotonic() - started))
    kt.stop.check()


def _retire(kt: Kt, link: Link) -> None:
    """The shadow leaves the Service, and the nodes get the time to follow, while it still answers."""
    try:
        link.shadow.retire()
    except KtError as error:  # the session's own give-back deletes it, or says that it could not
        log.debug("retiring the shadow: %s", error)
    Stop().wait(kt.settings.linger)
