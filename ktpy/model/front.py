"""The Service that a router stands in front of, and how it is led there: pure functions on its raw JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ktpy.errors import KtError, Taken
from ktpy.model import diversion, names, ports
from ktpy.model.names import SessionId
from ktpy.model.ports import Route, ServicePort
from ktpy.model.ref import Object, Ref, ref_of
from ktpy.model.target import original_selector


@dataclass(frozen=True)
class Front:
    """What a router stands in front of: SERVICE as seen, its PORTS, each with the number that pods listen on.

    NODES: those it must stand on, for a Service whose traffic must not change nodes. TAKEN: what the shadow of the
    session that looks answers.
    """

    service: Object
    ports: Sequence[ServicePort]
    nodes: Sequence[str] = ()
    taken: Sequence[Route] = ()

    @classmethod
    def alone(cls, service: Object, routes: Sequence[Route]) -> Front:
        """For a shadow that answers all of SERVICE, with no router."""
        return cls(service, [route.service for route in routes], taken=routes)

    @property
    def ref(self) -> Ref:
        return ref_of(self.service)

    @property
    def name(self) -> str:
        return str(self.service["metadata"]["name"])

    @property
    def listens(self) -> dict[int, int]:
        """Service port → the number that the router listens on for it."""
        return {port.port: ports.pod_port(port).number for port in self.ports if port.protocol == "TCP"}


def wears(front: Front, router: SessionId) -> Mapping[str, str]:
    """The labels of the router's pods by which the diverted Service finds them: the owner's keys, our value."""
    return dict.fromkeys(original_selector(front.service), names.selector_value(router))


def diverted(front: Front, service: Object, router: SessionId) -> Object:
    """SERVICE pointed at ROUTER's pods.

    Errors: Taken where another holds it by now; KtError where its owner has given it other keys meanwhile.
    """
    holder = diversion.holder_of(service)
    if holder not in (None, router):
        raise Taken(f"{ref_of(service)} was taken by session {holder} a moment ago.", "ktpy birdseye")
    owners = diversion.given_back(service, router)
    if diversion.selector_of(owners).keys() != wears(front, router).keys():
        raise KtError(f"{ref_of(service)} has got another selector meanwhile; it was not touched.", "once more, please")
    return diversion.diverted(owners, router, names.selector_value(router))
