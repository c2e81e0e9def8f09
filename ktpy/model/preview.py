"""What a preview publishes: a Service that was not there before, and an Ingress for it where a host is asked for."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ktpy.errors import Usage
from ktpy.model import names, ports
from ktpy.model.manifests import owned_by
from ktpy.model.names import SessionId
from ktpy.model.ports import PodPort, Route, ServicePort
from ktpy.model.ref import Object, annotations_of, labels_of, uid_of
from ktpy.model.target import original_selector

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_NOT_TCP = {"udp", "sctp"}
_OTHER_PORT = 22222  # in the pod, for a Service port that is the shadow's own sshd's


@dataclass(frozen=True)
class Wanted:
    """The Service NAME with a route for each of its ports. PROTOCOLS: appProtocol by Service port.

    EXTERNAL: reachable from outside by a load balancer. HOST: what an Ingress is to answer for; empty: no Ingress.
    """

    name: str
    routes: Sequence[Route]
    protocols: Mapping[int, str] = field(default_factory=dict)
    external: bool = False
    host: str = ""
    ingress_class: str = ""


def name(text: str) -> str:
    """A Service's name: a DNS label. `service/web` is web. Raises Usage."""
    kind, slash, plain = text.rpartition("/")
    if slash and kind.lower() not in ("service", "svc"):
        raise Usage(f"A preview is a new Service, and '{text}' names none.", "ktpy preview web --expose 8080:80")
    if not _LABEL.fullmatch(plain):
        raise Usage(
            f"'{plain}' cannot be a Service's name: at most 63 lower-case letters, digits and dashes, the first and "
            "the last no dash.",
            f"ktpy preview {names.fitted(plain)} …",
        )
    return plain


def host(text: str) -> str:
    """A host name for an Ingress; *.example.com too. Raises Usage."""
    labels = text.removeprefix("*.").split(".")
    if len(text) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise Usage(f"'{text}' is not a host name.", "--host web.example.com")
    return text


def routes(texts: Sequence[str]) -> tuple[Route, ...]:
    """What `--expose` says: [HOST:]LAPTOP[:PORT][/NAME] each, a comma list or repeated. Raises Usage."""
    parts = [part.strip() for text in texts for part in text.split(",") if part.strip()]
    if not parts:
        raise Usage("A new Service needs a port.", "--expose 8080:80      Service port 80 → laptop port 8080")
    found = [_parsed(part) for part in parts]
    if len(found) > 1:  # Kubernetes demands it
        found = [(one, number, given or f"port-{number}") for one, number, given in found]
    _must_differ([str(number) for _, number, _ in found], "Service port")
    _must_differ([given for _, _, given in found if given], "port name")
    numbers = _pod_numbers([number for _, number, _ in found])
    return tuple(
        Route(
            ServicePort(number, given, str(numbers[number]), numbers[number]), PodPort(numbers[number]),
            one.host, one.laptop,
        )
        for one, number, given in found
    )  # fmt: skip


def _parsed(text: str) -> tuple[ports.Expose, int, str]:
    plain, slash, given = text.partition("/")
    if given.lower() in _NOT_TCP:
        raise Usage(f"'{text}': ktpy carries TCP only.", "--expose 8080:80/http      what follows / is the port's name")
    if slash and not _LABEL.fullmatch(given):
        raise Usage(f"'{given}' in '{text}' cannot be a port's name.", "--expose 8080:80/http")
    one = ports.expose(plain)
    number = one.service or str(one.laptop)
    if not number.isascii() or not number.isdigit() or not 0 < int(number) < 65536:
        raise Usage(f"'{number}' in '{text}' is not a port from 1 to 65535.", "--expose 8080:80/http")
    return one, int(number), given


def _must_differ(values: Sequence[str], what: str) -> None:
    if twice := sorted({value for value in values if values.count(value) > 1}):
        raise Usage(f"{what} {twice[0]} is given twice.")


def _pod_numbers(numbers: Sequence[int]) -> Mapping[int, int]:
    """The pod's port for each Service port: the same, but where its sshd listens."""
    free = next(number for number in range(_OTHER_PORT, 65536) if number not in numbers)
    return {number: free if number == names.SSH_PORT else number for number in numbers}


def protocols(texts: Sequence[str], found: Sequence[Route]) -> Mapping[int, str]:
    """What `--app-protocol` says: [PORT=]PROTOCOL each; without a PORT it is for all. Raises Usage."""
    chosen: dict[int, str] = {}
    for text in texts:
        where, equals, protocol = text.rpartition("=")
        meant = [one.service.port for one in found if not equals or where in (str(one.service.port), one.service.name)]
        if not protocol or not meant:
            raise Usage(f"'{text}' is not [PORT=]PROTOCOL with a port of --expose.", "--app-protocol kubernetes.io/h2c")
        chosen |= dict.fromkeys(meant, protocol)
    return chosen


def worn(session: SessionId) -> Mapping[str, str]:
    """What SESSION's shadows wear and its Service asks for.

    A key that no pod of ours wears for another reason: somebody's exchange of this Service puts a value of its own.
    """
    return {names.PREVIEW: session}


def service(wanted: Wanted, session: SessionId, owner: Object) -> Object:
    """The Service; OWNER is the session's Lease."""
    listed = [
        {
            **({"name": route.service.name} if route.service.name else {}),
            "port": route.service.port, "protocol": "TCP", "targetPort": route.pod.number,
            **({"appProtocol": protocol} if (protocol := wanted.protocols.get(route.service.port)) else {}),
        }
        for route in wanted.routes
    ]  # fmt: skip
    kind = "LoadBalancer" if wanted.external else "ClusterIP"
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _meta(wanted.name, session, owner),
        "spec": {"type": kind, "selector": dict(worn(session)), "ports": listed},
    }


def ingress(wanted: Wanted, session: SessionId, owner: Object) -> Object:
    """The Ingress that leads HOST to the Service's first port."""
    meta, port = _meta(wanted.name, session, owner), wanted.routes[0].service.port
    return ingress_to(meta, port, host=wanted.host, ingress_class=wanted.ingress_class)


def ingress_to(meta: Object, port: int, *, host: str, ingress_class: str) -> Object:
    """An Ingress that leads HOST to PORT of the Service of its own name, which META has."""
    to = {"service": {"name": meta["name"], "port": {"number": port}}}
    paths = [{"path": "/", "pathType": "Prefix", "backend": to}]
    chosen = {"ingressClassName": ingress_class} if ingress_class else {}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": meta,
        "spec": {**chosen, "rules": [{"host": host, "http": {"paths": paths}}]},
    }


def _meta(name_: str, session: SessionId, owner: Object) -> Object:
    return {
        "name": name_,
        "namespace": owner["metadata"]["namespace"],
        "labels": {names.ROLE: names.ROLE_PREVIEW, names.SESSION: session},
        "annotations": {names.SELF: name_},
        "ownerReferences": owned_by(owner),
    }


def publisher(thing: Object) -> SessionId | None:
    """The session that published THING; None for somebody's own, also where it is a copy of a preview's.

    The owner tells, not the label, which another's exchange of the Service replaces by its own. An orphan
    (`kubectl delete lease --cascade=orphan`) still has its own name and our entry in managedFields: a saved manifest
    that is applied under the same name has none, and is its owner's.
    """
    if labels_of(thing).get(names.ROLE) != names.ROLE_PREVIEW:
        return None
    owners = thing["metadata"].get("ownerReferences") or []
    for owner in owners:
        if owner.get("kind") == "Lease" and str(owner.get("name")).startswith(names.lease_name("")):
            return SessionId(str(owner["name"]).removeprefix(names.lease_name("")))
    is_itself = annotations_of(thing).get(names.SELF) == str(thing["metadata"]["name"])
    wrote = any(entry.get("manager") == names.MANAGER for entry in thing["metadata"].get("managedFields") or [])
    session = labels_of(thing).get(names.SESSION)
    return SessionId(session) if session and is_itself and wrote and not owners else None


def is_published_by(thing: Object, session: SessionId, lease: Object | None) -> bool:
    """Whether THING is what SESSION published. Where there is a LEASE, it must be the owner by its uid too."""
    owners = thing["metadata"].get("ownerReferences") or []
    if lease is not None and not any(owner.get("uid") == uid_of(lease) for owner in owners):
        return False
    return publisher(thing) == session


def is_adopted(thing: Object, session: SessionId) -> bool:
    """Whether somebody has applied a Service of his own over SESSION's: its selector is no longer what we made."""
    return original_selector(thing) != worn(session)


def handed_over(thing: Object, session: SessionId) -> Object:
    """THING as that somebody's alone: nothing of ours owns it, marks it or is asked for by its selector."""
    new = copy.deepcopy(thing)
    meta = new["metadata"]
    lease = names.lease_name(session)
    meta["ownerReferences"] = [owner for owner in meta.get("ownerReferences") or [] if owner.get("name") != lease]
    mine = {(names.ROLE, names.ROLE_PREVIEW), (names.SESSION, session), (names.SELF, meta["name"])}
    for field_ in ("labels", "annotations"):
        meta[field_] = {key: value for key, value in (meta.get(field_) or {}).items() if (key, value) not in mine}
    for field_ in ("ownerReferences", "labels", "annotations"):
        if not meta[field_]:
            del meta[field_]
    if (new["spec"].get("selector") or {}).get(names.PREVIEW) == session:
        del new["spec"]["selector"][names.PREVIEW]
    return new


def address_of(thing: Object) -> str:
    """Where a load balancer or an ingress controller answers; empty while that is pending."""
    found = ((thing.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
    return ", ".join(str(entry.get("ip") or entry.get("hostname") or "") for entry in found).strip(", ")
