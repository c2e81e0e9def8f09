"""A session's part in a router given back; and the router itself by whoever is the last.

The order in which a router ends is measured (200 new connections a second): the Service back, clients asked to go,
a while with everything still up, since nodes follow late; then its Deployment, the table, its Lease. The stuntman and
the router's NetworkPolicies stay for connections that are being drained: they are handed to the router's pods, and the
garbage collector takes them when the last of those is gone.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Sequence

from ktpy import passes, restore, routing
from ktpy.cluster.gateway import Cluster
from ktpy.errors import Forbidden, KtError
from ktpy.model import names, routes
from ktpy.model.names import SessionId
from ktpy.model.podstate import has_started
from ktpy.model.ref import Object, Ref, annotations_of, labels_of, ref_of, uid_of
from ktpy.model.routes import Routes
from ktpy.stop import Stop

YOUNG_GRACE_SECONDS = 1

log = logging.getLogger(__name__)


def leave(
    cluster: Cluster, service: str, session: SessionId, *, linger: float, alive: Callable[[str], bool],
    late_writes: bool = True, on_back: Callable[[], None] = lambda: None,
) -> bool:  # fmt: skip
    """Strike SESSION's rows; where none is left, end the router. True if there was anything to do.

    ALIVE tells of a session by its id. ON_BACK is called when the Service leads to its owner's pods again.
    """
    before = routing.read(cluster, service)
    if before is None:
        mine = [lease for lease in leases(cluster) if is_opened_by(lease, session, service)]
        for lease in mine:  # no table yet, or it was deleted
            router = SessionId(labels_of(lease)[names.SESSION])
            end(cluster, service, router, None, linger=linger, late_writes=late_writes, on_back=on_back)
        return bool(mine)
    gone = [session]
    if before.opening and before.opening != session and not alive(before.opening):
        gone.append(SessionId(before.opening))

    def left(now: Routes) -> Routes:
        struck = routes.struck(now, *gone)
        # A row of his may still be on its way, or he died before the pods were told.
        return routes.renewed(struck) if late_writes and struck == now and now.table.rows else struck

    after = routing.change(cluster, service, left)
    if after is None:
        return True
    if after.table.rows:
        if after.table != before.table:
            routing.tell(cluster, after, routing.pods(cluster, after.router))
        return after.table.rows != before.table.rows
    if after.opening:  # it waits for its first user
        return after != before
    if after.closing != session and alive(after.closing):
        return after != before
    end(cluster, service, after.router, after, linger=linger, late_writes=late_writes, on_back=on_back)
    return True


def end(
    cluster: Cluster, service: str, router: SessionId, told: Routes | None, *, linger: float, late_writes: bool = True,
    on_back: Callable[[], None] = lambda: None,
) -> None:  # fmt: skip
    """Give SERVICE back and take ROUTER away. Idempotent; TOLD is None where its table is gone already."""
    ref = cluster.ref("Service", service)
    thing = cluster.get(ref)
    was_held = restore.give(cluster, thing, router, ref, late_writes=late_writes) if thing else False
    on_back()
    pods = routing.pods(cluster, router)
    if told:
        routing.drain(cluster, told, pods)
    if was_held:
        Stop().wait(linger)
    _hand_over(cluster, cluster.get(cluster.ref("Service", names.stuntman_name(service, router))), router, pods)
    for policy in passes.made_for(cluster, router):
        with contextlib.suppress(Forbidden):  # it goes with the Lease, and with it what is being drained
            _hand_over(cluster, policy, router, pods)
    name = names.router_name(service)
    for kind in ("Deployment", "ConfigMap"):
        _delete(cluster, cluster.ref(kind, name), router)
    if not was_held:
        _cut_short(cluster, pods)
    lease = cluster.ref("Lease", names.lease_name(router))
    cluster.delete(lease)


def _cut_short(cluster: Cluster, pods: Sequence[Object]) -> None:
    """Those of PODS that have never served need not drain, and may not even hear that they are to.

    To a container's first process, before it asks for a signal, the kernel gives none: it would stay its whole grace.
    """
    for pod in pods:
        if not has_started(pod):
            cluster.delete(ref_of(pod), uid=uid_of(pod), grace=YOUNG_GRACE_SECONDS)


def _hand_over(cluster: Cluster, thing: Object | None, router: SessionId, pods: Sequence[Object]) -> None:
    """THING is the draining pods' from here on; where there are none, it goes at once."""
    if thing is None or not is_of(thing, router):
        return
    if not pods:
        cluster.delete(ref_of(thing), uid=uid_of(thing))
        return

    def handed(now: Object) -> Object:
        owners = [
            {"apiVersion": "v1", "kind": "Pod", "name": pod["metadata"]["name"], "uid": uid_of(pod)} for pod in pods
        ]
        return {**now, "metadata": {**now["metadata"], "ownerReferences": owners}}

    cluster.change(ref_of(thing), handed, start=thing)


def _delete(cluster: Cluster, ref: Ref, router: SessionId) -> None:
    thing = cluster.get(ref)
    if thing is not None and is_of(thing, router):
        cluster.delete(ref, uid=uid_of(thing))


def is_of(thing: Object, router: SessionId) -> bool:
    """Whether THING was born as a part of ROUTER: our role, and its Lease as owner."""
    if names.ROLE not in labels_of(thing) or labels_of(thing).get(names.SESSION) != router:
        return False
    owners = thing["metadata"].get("ownerReferences") or []
    return any(o.get("kind") == "Lease" and o.get("name") == names.lease_name(router) for o in owners)


def service_of(lease: Object) -> str:
    """The Service that a router's LEASE is for."""
    return annotations_of(lease).get(names.TARGET, "").partition("/")[2]


def is_opened_by(lease: Object, session: SessionId, service: str) -> bool:
    """Whether SESSION set up the router of LEASE, in front of SERVICE."""
    return annotations_of(lease).get(names.OPENER) == session and service_of(lease) == service


def leases(cluster: Cluster) -> list[Object]:
    """Of the routers in the namespace."""
    return list(cluster.find("Lease", labels={names.ROLE: names.ROLE_ROUTER}))


def holders(cluster: Cluster, lease: Object) -> frozenset[SessionId]:
    """The sessions that keep the router of LEASE: those with a row; its opener; who is closing it.

    Errors: KtError where its table cannot be read.
    """
    found = routing.read(cluster, service_of(lease))
    keepers = {SessionId(annotations_of(lease).get(names.OPENER, ""))}
    if found and found.router == labels_of(lease).get(names.SESSION):
        keepers |= {*found.sessions, SessionId(found.closing)}
    return frozenset(keeper for keeper in keepers if keeper)


def sweep(cluster: Cluster, alive: Callable[[str], bool], *, linger: float) -> list[str]:
    """Strike the rows of sessions that are not ALIVE, and end routers that nobody keeps; what was done, in words."""
    did = []
    for lease in leases(cluster):
        try:
            did += _swept(cluster, lease, alive, linger)
        except KtError as error:
            log.debug("sweeping %s: %s", lease["metadata"]["name"], error)
            did.append(f"lease/{lease['metadata']['name']} left alone: {error.what}")
    return did


def _swept(cluster: Cluster, lease: Object, alive: Callable[[str], bool], linger: float) -> list[str]:
    service, router = service_of(lease), SessionId(labels_of(lease)[names.SESSION])
    keepers = holders(cluster, lease)
    dead = sorted(keeper for keeper in keepers if not alive(keeper))
    found = _read_of(cluster, service, router)
    if found is None:
        if len(dead) < len(keepers):
            return []
    elif dead:

        def without_the_dead(now: Routes) -> Routes:
            if now.router != router:
                return now
            return routes.struck(now, *dead) if len(dead) == len(keepers) else routes.without(now, *dead)

        after = routing.change(cluster, service, without_the_dead)
        if after is None or after.router != router:
            return []
        if not after.closing or alive(after.closing):
            if after == found:
                return []
            routing.tell(cluster, after, routing.pods(cluster, router))
            return [f"rows of {', '.join(dead)} struck from service/{service}"]
        found = after
    else:
        return []
    end(cluster, service, router, found, linger=linger)
    return [f"the router of service/{service} ended"]


def _read_of(cluster: Cluster, service: str, router: SessionId) -> Routes | None:
    found = routing.read(cluster, service)
    return found if found and found.router == router else None
