"""The router of a Service found, or set up by its first user: Lease, stuntman, policies, table, Deployment in order.

Its pods are ready when they have reached the originals, and whoever sees the table sees the rest: so what that takes of
NetworkPolicies, where the namespace isolates pods, comes first.
"""

from __future__ import annotations

import logging
import time
from dataclasses import replace

from ktpy import __version__, closing, policing, routing, undo
from ktpy.errors import Conflict, Taken
from ktpy.kt import Kt
from ktpy.model import names, ports, router_manifests, routes
from ktpy.model.front import Front, wears
from ktpy.model.liveness import rfc3339
from ktpy.model.names import SessionId
from ktpy.model.ref import Object, labels_of, ref_of
from ktpy.model.routes import Routes
from ktpy.model.target import original_selector
from ktpy.session import Session

log = logging.getLogger(__name__)

CLOSING_SECONDS = 15.0  # for another's leaving to end


def found_or_opened(kt: Kt, session: Session, front: Front) -> tuple[Routes, bool]:
    """The router of the Service: the one that is there, or a new one that is being started; and whether it is new.

    One that is being closed is waited for, and closed by us where its closer is dead, or whoever was opening it.
    """

    def alive(other: str) -> bool:
        return undo.is_alive(kt.cluster, SessionId(other))

    until = time.monotonic() + CLOSING_SECONDS
    while True:
        found = routing.read(kt.cluster, front.name)
        if found is None:
            try:
                return _opened(kt, session, front), True
            except Conflict:  # another was quicker by a moment
                log.debug("another session opens the router of %s", front.ref)
                _names_must_be_ours(kt, front)
        elif not found.table.rows and (busy := found.closing or found.opening) and not alive(busy):
            closing.leave(kt.cluster, front.name, SessionId(busy), linger=kt.settings.linger, alive=alive)
        elif not found.closing:
            policing.admit_router(session, front, found.router)
            return found, False
        if time.monotonic() > until:
            raise Taken(f"The router of {front.ref} is being ended and does not end.", f"ktpy recover {front.name}")
        kt.stop.wait(0.1)
        kt.stop.check()


def _names_must_be_ours(kt: Kt, front: Front) -> None:
    """Raises Taken where somebody's own object, or KT-Connect's router, has the name of one of a router's."""
    for kind in ("ConfigMap", "Deployment"):
        thing = kt.cluster.get(kt.cluster.ref(kind, names.router_name(front.name)))
        if thing is not None and names.ROLE not in labels_of(thing):
            raise Taken(
                f"{ref_of(thing)} is there already and is not ktpy's, which needs that name for {front.ref}.",
                f"kubectl delete {ref_of(thing)}      if nobody needs it",
            )


def _opened(kt: Kt, session: Session, front: Front) -> Routes:
    """Stuntman, table and Deployment of a new router, owned by a Lease of its own. Errors: Conflict: it has one."""
    cluster = kt.cluster
    router = names.session_id("router", kt.chance())
    identity = replace(session.identity, session=router, mode="router")
    asked = rfc3339(cluster.now())
    try:
        lease = cluster.create(
            router_manifests.lease(identity, cluster.namespace, asked, opener=session.id, ktpy=__version__)
        )
        made = objects(kt, front, router, lease)
        stunt = cluster.create(made[0])
        policing.admit_router(session, front, router, lease=lease, deployment=made[2])
        generation = replace(new_routes(front, router, stunt), opening=session.id)
        cluster.create(router_manifests.config_map(front.name, generation, lease))
        cluster.create(made[2])
    except BaseException:
        # Told apart by the id: whoever was quicker is not touched.
        closing.end(cluster, front.name, router, None, linger=0.0, late_writes=False)
        raise
    return generation


def new_routes(front: Front, router: SessionId, stunt: Object) -> Routes:
    """The table with nobody's row in it: everything goes to the stuntman."""
    listens = front.listens
    spare = routes.spare_ports(tuple(listens.values()))
    table = routes.first_table(router_manifests.defaults(stunt, listens), spare.links)
    return Routes(router, __version__, spare, table)


def objects(kt: Kt, front: Front, router: SessionId, lease: Object) -> tuple[Object, Object, Object]:
    """Stuntman, ConfigMap and Deployment as they would be created."""
    stunt = router_manifests.stuntman(front.service, original_selector(front.service), router, lease)
    shown = {**stunt, "spec": {**stunt["spec"], "clusterIP": "192.0.2.1"}}
    generation = new_routes(front, router, shown)
    opened = tuple(dict.fromkeys(ports.pod_port(port) for port in front.ports if port.protocol == "TCP"))
    deployment = router_manifests.deployment(
        front.name, generation, lease, shape=kt.router, opened=opened, wears=wears(front, router), nodes=front.nodes
    )
    return stunt, router_manifests.config_map(front.name, generation, lease), deployment
