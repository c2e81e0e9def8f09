"""`mesh`: only the requests that carry a mark are answered by this laptop; many share one Service and one router."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from ktpy import closing, opening, policing, routing, telling, undo
from ktpy.conflicts import no_link_port, same_mark
from ktpy.errors import Forbidden, KtError, NotFound, Taken
from ktpy.kt import Kt
from ktpy.model import diversion, happened, names, policy_plan, ports, routes
from ktpy.model.events import Note, Step
from ktpy.model.front import Front, diverted
from ktpy.model.liveness import Holder, Life
from ktpy.model.marks import Match
from ktpy.model.names import SessionId
from ktpy.model.policy_plan import Due, Walls
from ktpy.model.ports import Expose, Route
from ktpy.model.ref import Object, Ref, labels_of
from ktpy.model.rights import needed
from ktpy.model.routes import Routes
from ktpy.model.sharelink import Link as ShareLink
from ktpy.model.target import Target
from ktpy.model.traits import local_policies, nodes_of
from ktpy.modes import look, sharelink
from ktpy.modes.exchange import last_writer
from ktpy.modes.link import Link, linked
from ktpy.rehearsal import Deed, Rehearsal, admitting, creations, patching, rehearsed
from ktpy.router import Router
from ktpy.session import Session
from ktpy.telling import told
from ktpy_router.table import Port, Row, Table

MODE = "mesh"
RIGHTS = ("leases", "secrets", "pods", "services", "configmaps", "deployments")
FLIPS, FLIP_SECONDS = 2, 60.0  # a GitOps controller would go on for ever


@dataclass(frozen=True)
class Manners:
    """What a row does beside sending requests here. HOLD in seconds."""

    strict: bool = False
    hold: float = 0.0
    mirror: bool = False
    inspect: bool = False
    add: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Plan:
    """What was seen before anything is changed.

    FOUND: the routes of others, None where there is no router yet. OTHERS: the living sessions in the namespace. LINK:
    the share link that is wanted. WALLS: whom its NetworkPolicies keep apart, and what is DUE for that.
    """

    front: Front
    pods: Sequence[Object]
    routes: Sequence[Route]
    match: Match
    manners: Manners = Manners()
    found: Routes | None = None
    others: Sequence[Holder] = field(default=())
    link: ShareLink | None = None
    walls: Walls = Walls()
    due: Due = Due()

    @property
    def ref(self) -> Ref:
        return self.front.ref

    @property
    def here(self) -> tuple[tuple[Row, Holder], ...]:
        """Who else has a row on this Service."""
        holders = {holder.session: holder for holder in self.others}
        rows = [row for row in self.found.table.rows if not routes.is_links(row)] if self.found else []
        return tuple((row, holders[SessionId(row.owner)]) for row in rows if SessionId(row.owner) in holders)


def looked(
    kt: Kt, wanted: Target, exposed: Sequence[Expose], match: Match, manners: Manners | None = None, *,
    link: ShareLink | None = None, take_over: bool = False, dry_run: bool = False,
) -> Plan:  # fmt: skip
    """Look at everything that could refuse it. Changes nothing (TAKE_OVER: ends a dead holder's session)."""
    started = time.monotonic()
    if link and link.host:
        look.must_have_ingress_rights(kt)
    service = look.permitted_service_for(kt, wanted, needed(*RIGHTS))
    name = service["metadata"]["name"]
    pods = look.pods_behind(kt, service)
    all_ports = ports.ports_of(service, pods)
    ports.must_agree(pods, all_ports)
    chosen = ports.chosen(exposed, name, all_ports, wanted.command)
    front = Front(service, all_ports, tuple(sorted(nodes_of(pods))) if local_policies(service) else (), chosen)
    if not match.conditions:
        look.must_allow_exchange(kt, service, exposed)
    look.must_suit(kt, service, pods, [route.service for route in chosen], marked=bool(match.conditions))
    look.must_be_shareable(kt, service, take_over=take_over and not dry_run)
    found = routing.read(kt.cluster, name)
    if found and not found.closing:
        found = _must_be_mine(kt, front, found, match, chosen, dry_run=dry_run)
    if found and not found.closing:
        must_fit(front, found)
    link = replace(link, name=names.link_name(name, match.mark)) if link else None
    others, walls = look.others_here(kt), policing.seen_by_router(kt, front)
    plan = Plan(front, pods, chosen, match, manners or Manners(), found, others, link, walls)
    made = _rehearsed(kt, plan)
    plan = replace(plan, due=_due(plan, made, _router(kt, plan, made)))
    policing.must_admit(kt, front, plan.due)
    if link:
        sharelink.must_be_new(kt, link)
        sharelink.tell_of_policies(kt, front)
        if found and not found.closing and len(routes.free_links(found)) < len({route.pod.number for route in chosen}):
            raise no_link_port(front, found)
    look.must_pass_dry_run(kt, objects(kt, plan))
    kt.tell(Step("look", f"{plan.ref} in namespace {kt.cluster.namespace}", time.monotonic() - started))
    return plan


def _must_be_mine(
    kt: Kt, front: Front, found: Routes, match: Match, chosen: Sequence[Route], *, dry_run: bool
) -> Routes | None:
    """Nobody who lives has the same mark. A dead owner's row is in nobody's way: his session is ended.

    Returns the routes as they are then; None where his was the last row.
    """
    row = routes.same_requests(found, match.conditions, [route.pod.number for route in chosen])
    if row is None:
        return found
    holder = undo.holder_named(kt.cluster, SessionId(row.owner))
    if holder.life is Life.ALIVE or dry_run:
        raise same_mark(kt, front, row)
    undo.end(kt.cluster, holder, who := f"{kt.user.name} on {kt.user.host} (same mark)", linger=kt.settings.linger)
    telling.ended(kt, holder, who)
    kt.tell(Note(f"{holder} had mark '{row.mark}' and was ended: its heartbeat had stopped."))
    left = routing.read(kt.cluster, front.name)
    if left and holder.session in left.sessions:  # without a Lease nothing says which Service it was for
        closing.leave(
            kt.cluster, front.name, holder.session, linger=kt.settings.linger,
            alive=lambda other: undo.is_alive(kt.cluster, SessionId(other)),
        )  # fmt: skip
        left = routing.read(kt.cluster, front.name)
    return left


def must_fit(front: Front, found: Routes) -> None:
    """The router listens on what it was started with. Errors: KtError where the Service has other ports by now."""
    has = {port.listen for port in found.table.ports}
    if missing := sorted(set(front.listens.values()) - has):
        raise KtError(
            f"The router of {front.ref} was started before the Service got port {missing[0]}.",
            f"ktpy recover {front.name} --force      ends all of its sessions; the next one starts a new router",
        )


def objects(kt: Kt, plan: Plan) -> tuple[Object, ...]:
    """What would be created, with stand-ins for the session and its keys."""
    made = _rehearsed(kt, plan)
    router = _router(kt, plan, made)
    return *made.objects, *_due(plan, made, router).make, *router, *_links(kt, plan, made)


def _links(kt: Kt, plan: Plan, made: Rehearsal) -> tuple[Object, ...]:
    """Nothing where no link is wanted."""
    if plan.link is None:
        return ()
    found = plan.found if plan.found and not plan.found.closing else None
    spare = routes.free_links(found) if found else routes.spare_ports(tuple(plan.front.listens.values())).links
    claimed = dict(zip(sorted({route.pod.number for route in plan.routes}), spare, strict=False))
    router = found.router if found else names.SessionId("router-new")
    return sharelink.objects(plan.link, plan.front, claimed, made.session, made.owner, router=router)


def _rehearsed(kt: Kt, plan: Plan) -> Rehearsal:
    return rehearsed(kt, MODE, plan.ref, ports.pod_ports(plan.routes), lambda session: {})


def _router(kt: Kt, plan: Plan, made: Rehearsal) -> tuple[Object, ...]:
    """Nothing where there is one already."""
    if plan.found is not None:
        return ()
    return opening.objects(kt, plan.front, names.session_id("router", kt.chance()), made.owner)


def _due(plan: Plan, made: Rehearsal, router: tuple[Object, ...]) -> Due:
    """For the namespace's policies: for a ROUTER that is new, or the one that is there."""
    deployment = router[-1] if router else plan.walls.router
    if deployment is None:
        return Due()
    generation = SessionId(labels_of(deployment).get(names.SESSION, ""))
    part = policy_plan.router_part(generation, made.owner, deployment, plan.front)
    return policy_plan.due(plan.walls, plan.front, made.part(plan.front), part)


def steps(kt: Kt, plan: Plan) -> list[Deed]:
    """What would be done, in order: the deed, its object or patch, and what undoes it."""
    made = _rehearsed(kt, plan)
    router = _router(kt, plan, made)
    row = json.loads(Table(1, _ports(plan), (row_for(made.session, plan, "192.0.2.1"),)).to_json())["rows"][0]
    table = f"configmap/{names.router_name(plan.front.name)}"
    found = [
        *creations(made.objects),
        *admitting(_due(plan, made, router)),
        *creations(router),
        (f"patch {table}", {"add row": row}, {"strike rows of": made.session}),
    ]
    if router:
        generation = SessionId(labels_of(router[-1])[names.SESSION])
        after = diverted(plan.front, plan.front.service, generation)
        found.append(patching(plan.front.service, after, diversion.given_back(after, generation)))
    return [*found, *creations(_links(kt, plan, made))]


def _ports(plan: Plan) -> tuple[Port, ...]:
    return tuple(Port(route.pod.number, "192.0.2.1:80") for route in plan.routes)


@contextlib.contextmanager
def mesh(
    kt: Kt, plan: Plan, *, gate: Callable[[], None] = lambda: None, mode: str = MODE, again: bool = True
) -> Iterator[Link]:
    """Send the requests that PLAN matches to this laptop while the block lasts, and all others where they belong.

    GATE is waited for between the tunnel and the row (the laptop's side may still be starting). AGAIN: when somebody
    writes another selector, that is the original from then on, and the Service is diverted again; else it ends the run.
    An exchange through the router is a mesh that matches everything: MODE is what colleagues read.
    """
    with Session.open(kt, mode, plan.ref) as session, told(session, plan.front.service) as taken:
        shared = Router(kt, session, plan.front, link=plan.link.headers if plan.link else None)
        base = names.shadow_name(plan.front.name, mode, session.id)
        with linked(kt, session, plan.routes, base=base, wears={}, is_marked=bool(plan.match.conditions)) as link:
            gate()
            kt.stop.check()
            lost = _Lost(kt, session, plan, shared, again=again)
            knock = _knocking(plan, link)
            with (
                shared.joined(lambda: row_for(session.id, plan, link.address), knock=knock, on_lost=lost.judge),
                sharelink.offered(kt, session, shared, plan.link, knock=link.knock),
            ):
                taken(lambda who: happened.taken(who, plan.match, mirror=plan.manners.mirror))
                policing.keep(session, plan.walls, lambda: policing.admit_router(session, plan.front, shared.id))
                yield link


def _knocking(plan: Plan, link: Link) -> Callable[[], object]:
    """A connection to the Service's own address, from a pod."""
    host, port = plan.front.service["spec"]["clusterIP"], plan.routes[0].service.port
    return lambda: link.knock(host, port)


def row_for(session: SessionId, plan: Plan, address: str) -> Row:
    """The row that sends PLAN's requests to the shadow at ADDRESS."""
    host = f"[{address}]" if ":" in address else address
    to = {route.pod.number: f"{host}:{route.pod.number}" for route in plan.routes}
    manners = plan.manners
    return Row(
        id=session, mark=plan.match.mark, owner=session, since=0, conditions=plan.match.conditions, to=to,
        strict=manners.strict, hold=manners.hold, mirror=manners.mirror, inspect=manners.inspect,
        pulse=f"{host}:{ports.pulse_port(plan.routes)}",
        add=tuple((name.lower().encode(), value.encode()) for name, value in manners.add),
    )  # fmt: skip


class _Lost:
    """Judges a Service that somebody has written: his selector is adopted as the new original and diverted again."""

    def __init__(self, kt: Kt, session: Session, plan: Plan, shared: Router, *, again: bool) -> None:
        self._kt, self._session, self._plan, self._router, self._again = kt, session, plan, shared, again
        self._flips: list[float] = []

    def judge(self, service: Object | None) -> None:
        """Errors: NotFound where it was deleted; Taken where a controller takes it back again and again."""
        ref = self._plan.ref
        if service is None:
            raise NotFound(f"{ref} was deleted while this laptop answered for it.")
        self._session.renew()  # raises Taken with the name of whoever ended this session
        who, now = last_writer(service), time.monotonic()
        self._flips = [at for at in self._flips if now - at < FLIP_SECONDS] + [now]
        if not self._again:
            taken = f"{ref} was taken back by {who}. Its traffic is its owner's; this session ends."
            self._kt.tell(Note(taken))  # now: the give-back, with its linger, comes before the last word
            raise Taken(taken, f"ktpy exchange {ref.name} --if-taken-back again      to divert it again")
        if len(self._flips) >= FLIPS:
            fought = (
                f"{ref} was taken back by {who} for the {len(self._flips)}. time within a minute; ktpy does not fight. "
                "Its traffic is its owner's; this session ends."
            )
            self._kt.tell(Note(fought))
            raise Forbidden(fought, f"pause the controller that keeps {ref}, then once more: ktpy mesh {ref.name}")
        self._router.divert()
        self._kt.tell(Note(f"{ref} was written by {who}; its selector is the original from now on, and meshed again."))
