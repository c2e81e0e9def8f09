"""The first step of every mode: see all that could stand in the way, and change nothing."""

from __future__ import annotations

from collections.abc import Sequence

from ktpy import closing, policing, routing, telling, undo
from ktpy.errors import Forbidden, KtError, Taken
from ktpy.kt import Kt
from ktpy.model import ktctl, names, target
from ktpy.model.diversion import holder_of
from ktpy.model.events import Note
from ktpy.model.liveness import Holder, Life, holder_from
from ktpy.model.ports import Expose, Route, ServicePort, paste_line, ports_of
from ktpy.model.ref import Object, annotations_of, labels_of, ref_of
from ktpy.model.rights import INGRESS, Right
from ktpy.model.target import Target, original_selector
from ktpy.model.traits import Around, local_policies, nodes_of, traits
from ktpy.net.probe import listens
from ktpy.permission import lacking
from ktpy.workers import each, together


def service_for(kt: Kt, wanted: Target) -> Object:
    """The Service that WANTED means. Raises NotFound with near names, KtError where it is not one Service."""
    thing = kt.cluster.get(kt.cluster.ref(wanted.kind, wanted.name))
    if thing is None:
        raise target.not_found(
            wanted, kt.cluster.namespace, _names_here(kt, wanted.kind), _names_elsewhere(kt, wanted.kind)
        )
    if wanted.kind != "Service":
        thing = target.in_front_of(thing, kt.cluster.find("Service"), wanted.command)
    target.must_be_divertible(thing)
    return thing


def permitted_service_for(kt: Kt, wanted: Target, rights: Sequence[Right]) -> Object:
    """The same for a user who has RIGHTS; both are asked at once. Raises Forbidden for those that are missing."""
    _, service = together(lambda: must_have_rights(kt, rights), lambda: service_for(kt, wanted))
    assert service is not None
    return service


def _names_here(kt: Kt, kind: str) -> Sequence[str]:
    try:
        return [thing["metadata"]["name"] for thing in kt.cluster.find(kind)]
    except Forbidden:
        return []


def _names_elsewhere(kt: Kt, kind: str) -> Sequence[tuple[str, str]]:
    """Best effort: few may list a kind in the whole cluster."""
    try:
        found, _ = kt.cluster.find_at(kind, everywhere=True)
    except Forbidden:
        return []
    return [(thing["metadata"]["namespace"], thing["metadata"]["name"]) for thing in found]


def pods_behind(kt: Kt, service: Object) -> Sequence[Object]:
    """The original pods, also while the Service is diverted."""
    return kt.cluster.find("Pod", labels={**original_selector(service)})


def must_have_rights(kt: Kt, rights: Sequence[Right]) -> None:
    """Raises Forbidden naming each that is missing: the server's own text, when it refuses a call, may be empty."""
    if missing := lacking(kt.cluster, rights):
        said = ", ".join(map(str, missing))
        raise Forbidden(
            f"{kt.user.name} may not, in namespace {kt.cluster.namespace}: {said}. Nothing was created.",
            "ktpy doctor --print-role | kubectl apply -f -      by somebody who may",
        )


def must_have_ingress_rights(kt: Kt) -> None:
    """Raises Forbidden where --host asks for more than the published Role has."""
    if missing := lacking(kt.cluster, INGRESS):
        said = ", ".join(map(str, missing))
        where = f"-n {kt.cluster.namespace}"
        raise Forbidden(
            f"{kt.user.name} may not, in namespace {kt.cluster.namespace}: {said}, which --host needs. "
            "Nothing was created.",
            [
                f"kubectl create role ktpy-ingress {where} --verb=create,delete --resource=ingresses.networking.k8s.io",
                f"kubectl create rolebinding ktpy-ingress {where} --role=ktpy-ingress --user={kt.user.name}",
                "both by somebody who may; or without --host, for which the published Role is enough",
            ],
        )


def must_be_free(kt: Kt, service: Object, *, take_over: bool) -> None:
    """Raises Taken where another session or a ktctl holds the Service. TAKE_OVER ends one whose heartbeat stopped."""
    name = service["metadata"]["name"]
    if ktctl.holds(service):
        _free_of_ktctl(kt, service)
    must_not_be_held(kt, service, name, take_over=take_over)


def must_not_be_held(kt: Kt, thing: Object, name: str, *, take_over: bool) -> None:
    """The same for THING, which may also be the workload behind the Service NAME."""
    session = holder_of(thing)
    if session is None:
        return
    lease = kt.cluster.get(kt.cluster.ref("Lease", names.lease_name(session)))
    if lease and labels_of(lease).get(names.ROLE) == names.ROLE_ROUTER:
        _free_of_router(kt, thing, lease, name, take_over=take_over)
        return
    holder = undo.holder_named(kt.cluster, session)
    if holder.life is Life.ALIVE:
        raise Taken(f"{ref_of(thing)} is held by {holder}.", _ask_the(holder))
    if not take_over:
        raise Taken(
            f"{ref_of(thing)} is held by {holder}, whose heartbeat stopped.",
            [f"ktpy exchange {name} --take-over      to end it and go on", f"ktpy recover {name}      to end it only"],
        )
    undo.end(kt.cluster, holder, who := f"{kt.user.name} on {kt.user.host} (--take-over)")
    telling.ended(kt, holder, who)


def _free_of_router(kt: Kt, thing: Object, lease: Object, name: str, *, take_over: bool) -> None:
    """The router of LEASE has no heartbeat of its own: it lives with those who share the Service through it."""

    def alive(session: str) -> bool:
        return undo.is_alive(kt.cluster, names.SessionId(session))

    keepers = sorted(closing.holders(kt.cluster, lease))
    living = [undo.holder_named(kt.cluster, keeper) for keeper in keepers if alive(keeper)]
    if living:
        who = "; ".join(map(str, living))
        raise Taken(f"{ref_of(thing)} is shared through its router by {who}.", f"ktpy mesh {name}      beside them")
    if not take_over:
        raise Taken(
            f"{ref_of(thing)} still has the router of sessions whose heartbeat stopped.",
            [f"ktpy recover {name}      to end them", f"ktpy mesh {name}      to use it"],
        )
    closing.sweep(kt.cluster, alive, linger=kt.settings.linger)


def must_suit(kt: Kt, service: Object, pods: Sequence[Object], wanted: Sequence[ServicePort], *, marked: bool) -> None:
    """Raises KtError for what a router would break; tells what it changes. WANTED: the ports for this laptop."""
    around = Around(policing.namespace(kt), router_nodes=nodes_of(pods) if local_policies(service) else frozenset())
    for trait in traits(service, pods, wanted, marked=marked, around=around):
        if trait.refuse:
            raise KtError(trait.sentence, trait.hint)
        kt.tell(Note(f"{trait.sentence} {trait.hint}".rstrip()))


def must_be_shareable(kt: Kt, service: Object, *, take_over: bool) -> None:
    """Raises Taken where a ktctl or a session without a router holds the Service; with a router others may join."""
    holder = holder_of(service)
    found = routing.read(kt.cluster, service["metadata"]["name"]) if holder else None
    if found is None or found.router != holder:
        must_be_free(kt, service, take_over=take_over)


def must_allow_exchange(kt: Kt, service: Object, exposed: Sequence[Expose]) -> None:
    """Raises Forbidden where the Service's or the namespace's owner asks for `mesh` (annotation ktpy.io/allow).

    Who may not read the Namespace is told of the Service's annotation only.
    """
    for thing in (service, policing.namespace(kt)):
        if thing and annotations_of(thing).get(names.ALLOW, "").strip() == "mesh":
            name, typed = service["metadata"]["name"], ",".join(map(str, exposed))
            line = f"ktpy mesh {name} --expose {typed}" if typed else paste_line(name, ports_of(service, ()), "mesh")
            raise Forbidden(
                f"{ref_of(thing)} asks for mesh instead of exchange ({names.ALLOW}: mesh). Nothing was created.",
                f"{line}      takes your marked requests only",
            )


def others_here(kt: Kt) -> Sequence[Holder]:
    """The living sessions in the namespace."""
    leases = kt.cluster.find("Lease", labels={names.ROLE: names.ROLE_SESSION})
    holders = [holder_from(lease, kt.cluster.now()) for lease in leases if undo.is_a_sessions(lease)]
    return [holder for holder in holders if holder.life is Life.ALIVE]


def _ask_the(holder: Holder) -> list[str]:
    return [
        f"ask {holder.owner} to stop it",
        f"ktpy recover {holder.target.partition('/')[2]} --force      ends it against the owner's will",
    ]


def _free_of_ktctl(kt: Kt, service: Object) -> None:
    name = service["metadata"]["name"]
    seen = ktctl.last_seen(kt.cluster.find("Pod", labels={ktctl.CONTROL: ktctl.KT}), service)
    if seen is not None and kt.cluster.now() - seen < ktctl.DEAD_SECONDS:
        raise Taken(
            f"service/{name} is held by a running ktctl, seen {kt.cluster.now() - seen:.0f} s ago.", "ktpy birdseye"
        )
    raise Taken(f"service/{name} still wears what a dead ktctl left.", f"ktpy recover {name}")


def must_pass_dry_run(kt: Kt, things: Sequence[Object]) -> None:
    """The server's word on every object: admission, Pod Security, quota. Raises its refusal; creates nothing."""
    each(lambda thing: kt.cluster.create(thing, dry_run=True), things)


def must_listen(routes: Sequence[Route], *, how: str) -> None:
    """Raises KtError naming each laptop port at which nothing listens."""
    silent = [route for route in routes if not listens(route.host, route.laptop, 1.0)]
    if silent:
        ports = ", ".join(f"{route.host}:{route.laptop}" for route in silent)
        raise KtError(
            f"Nothing listens on {ports} of this laptop.",
            [f"start it, or: {how}", "--no-check-ports      to go on all the same"],
        )
