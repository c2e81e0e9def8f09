"""A share link: a Service whose requests a router takes for marked ones, and an Ingress where a host is wanted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ktpy.model import names
from ktpy.model.front import Front
from ktpy.model.manifests import owned_by
from ktpy.model.names import SessionId
from ktpy.model.ports import pod_port
from ktpy.model.preview import ingress_to
from ktpy.model.ref import Object

Headers = Sequence[tuple[bytes, bytes]]


@dataclass(frozen=True)
class Link:
    """NAME of the Service. ADD: the headers that its requests get. HOST: what an Ingress is to answer for, or empty."""

    name: str = ""
    add: tuple[tuple[str, str], ...] = ()
    host: str = ""
    ingress_class: str = ""

    @property
    def headers(self) -> Headers:
        """As a row has them."""
        return tuple((name.lower().encode(), value.encode()) for name, value in self.add)


def service(
    link: Link, front: Front, claimed: Mapping[int, int], session: SessionId, owner: Object, *, router: SessionId
) -> Object:
    """The ports of the target, led to ROUTER's pods: those CLAIMED (number in the pods → link port) to the link's own,
    the others where the target's go."""
    listed = []
    for port in (port for port in front.ports if port.protocol == "TCP"):
        listens = pod_port(port).number
        name = {"name": port.name} if port.name else {}
        listed.append({**name, "port": port.port, "protocol": "TCP", "targetPort": claimed.get(listens, listens)})
    theirs = front.service["spec"]
    kept = {key: theirs[key] for key in ("ipFamilies", "ipFamilyPolicy") if theirs.get(key)}
    pods = {names.ROLE: names.ROLE_ROUTER, names.SESSION: router}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _meta(link, session, owner),
        "spec": {"type": "ClusterIP", "selector": pods, "ports": listed, **kept},
    }


def ingress(link: Link, port: int, session: SessionId, owner: Object) -> Object:
    """The Ingress that leads the link's host to PORT of its Service."""
    return ingress_to(_meta(link, session, owner), port, host=link.host, ingress_class=link.ingress_class)


def _meta(link: Link, session: SessionId, owner: Object) -> Object:
    return {
        "name": link.name,
        "namespace": owner["metadata"]["namespace"],
        "labels": {names.ROLE: names.ROLE_LINK, names.SESSION: session},
        "annotations": {names.SELF: link.name},
        "ownerReferences": owned_by(owner),
    }
