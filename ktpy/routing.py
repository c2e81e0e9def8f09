"""A shared Service's routes in the cluster: read, change under the lock that the ConfigMap is, tell the routers."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ktpy.cluster.gateway import Cluster
from ktpy.errors import KtError, NotFound, Unreachable
from ktpy.model import names, routes, traffic
from ktpy.model.names import SessionId
from ktpy.model.ref import Object, Ref, labels_of, uid_of
from ktpy.model.routes import Routes
from ktpy.model.traffic import Traffic
from ktpy.workers import each

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Told:
    """Which router pods have the table: HAVE by uid, and by name why others have it not (MISSING)."""

    have: frozenset[str] = frozenset()
    missing: Mapping[str, str] = field(default_factory=dict)


def table_ref(cluster: Cluster, service: str) -> Ref:
    return cluster.ref("ConfigMap", names.router_name(service))


def read(cluster: Cluster, service: str) -> Routes | None:
    """The routes of SERVICE; None where it has no router. Errors: KtError for a table that cannot be read."""
    thing = cluster.get(table_ref(cluster, service))
    return None if thing is None or not is_table(thing) else routes.read(thing)


def is_table(thing: Object) -> bool:
    """Whether a ConfigMap is ours, and not somebody's of that name."""
    return labels_of(thing).get(names.ROLE) == names.ROLE_TABLE


def change(
    cluster: Cluster, service: str, how: Callable[[Routes], Routes], *, before: Callable[[], object] = lambda: None
) -> Routes | None:
    """The routes after the pure HOW; None where there are none any more. HOW may raise to call it off."""

    def changed(thing: Object) -> Object:
        now = routes.read(thing)
        wanted = how(now)
        return thing if wanted == now else routes.written(wanted, thing)

    thing = cluster.change(table_ref(cluster, service), changed, before=before)
    return None if thing is None else routes.read(thing)


def pods(cluster: Cluster, router: SessionId) -> Sequence[Object]:
    """The router's pods that are not on their way out."""
    found = cluster.find("Pod", labels={names.ROLE: names.ROLE_ROUTER, names.SESSION: router})
    return [pod for pod in found if not pod["metadata"].get("deletionTimestamp")]


def tell(cluster: Cluster, told: Routes, to: Sequence[Object]) -> Told:
    """Push the table TO these pods. One that has a newer table has ours too: each is made from the one before."""
    answers = each(lambda pod: _pushed(cluster, told, pod["metadata"]["name"]), to)
    named = list(zip(to, answers, strict=True))
    return Told(
        frozenset(uid_of(pod) for pod, why in named if not why),
        {pod["metadata"]["name"]: why for pod, why in named if why},
    )


def _pushed(cluster: Cluster, told: Routes, pod: str) -> str:
    """Empty, or why the pod has not taken the table."""
    try:
        status, text = cluster.ask_pod(pod, told.ports.control, "PUT", "/routes", told.table.to_json())
        if status == 409 and _version(cluster, told, pod) > told.table.version:
            return ""
    except (Unreachable, NotFound) as error:
        return error.what
    return "" if status == 200 else text.strip()


def _version(cluster: Cluster, told: Routes, pod: str) -> int:
    """Of the table that POD has in force."""
    status, text = cluster.ask_pod(pod, told.ports.control, "GET", "/routes")
    try:
        return int(json.loads(text)["version"]) if status == 200 else 0
    except (ValueError, KeyError, TypeError):
        return 0


def connections(cluster: Cluster, told: Routes, pod: Object) -> int:
    """How many the router of POD has accepted for the Service; 0 where it does not say."""
    try:
        status, text = cluster.ask_pod(pod["metadata"]["name"], told.ports.control, "GET", "/stats")
        return sum(int(port["connections"]) for port in json.loads(text)["ports"].values()) if status == 200 else 0
    except (Unreachable, NotFound, ValueError, KeyError, TypeError, AttributeError):
        return 0


def beat(cluster: Cluster, told: Routes, session: SessionId, to: Sequence[Object]) -> list[Traffic | None]:
    """Tell these pods that SESSION lives; what each has carried for its rows, None where it does not say."""
    body = json.dumps({"session": session, "seconds": names.DEAD_SECONDS})

    def ask(pod: Object) -> Traffic | None:
        try:
            status, text = cluster.ask_pod(pod["metadata"]["name"], told.ports.control, "POST", "/heartbeat", body)
            if status == 200:
                return sum(traffic.read(text).rows.values(), Traffic())
            log.debug("pod/%s takes no heartbeat: %s", pod["metadata"]["name"], text.strip())  # it is older
        except (KtError, ValueError) as error:  # it is asked again, and a run does not end for it
            log.debug("pod/%s: %s", pod["metadata"]["name"], error)
        return None

    return each(ask, to)


def drain(cluster: Cluster, told: Routes, to: Sequence[Object]) -> None:
    """Ask the clients of these pods to go; best effort, since they go in any case."""

    def ask(pod: Object) -> None:
        try:
            cluster.ask_pod(pod["metadata"]["name"], told.ports.control, "POST", "/drain")
        except KtError as error:
            log.debug("draining: %s", error)

    each(ask, to)
