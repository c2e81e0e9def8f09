"""What about a Service makes a router in front of it behave unlike its own pods: what is refused, what is only said.

Sources: the Service and networking pages of kubernetes.io (sessionAffinity, traffic policies, topology, readiness),
istio.io, linkerd.io, argo-cd.readthedocs.io, fluxcd.io, the load balancer pages of Google's GKE and of AWS.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ktpy.model.ports import ServicePort, table
from ktpy.model.ref import Object, annotations_of, labels_of

SIDECAR = "sidecar"
AMBIENT = "ambient"
LOCAL = "local"
AFFINITY = "affinity"
LOAD_BALANCER = "load-balancer"
TOPOLOGY = "topology"
TLS = "tls"
HPA = "hpa"
GITOPS = "gitops"
NOT_READY = "not-ready"
OTHER_PROTOCOL = "other-protocol"

SIDECARS = {"istio-proxy": "Istio", "linkerd-proxy": "Linkerd"}  # container → mesh
SIDECAR_MARKS = {"sidecar.istio.io/status": "Istio", "linkerd.io/proxy-version": "Linkerd"}  # pod annotation → mesh
TLS_WORDS = {"https", "tls", "grpcs", "wss"}
PLAIN_WORDS = {"http", "http2", "h2c", "grpc", "grpc-web", "ws"}
TLS_NUMBERS = {443, 8443}
NLB = "service.beta.kubernetes.io/aws-load-balancer-nlb-target-type"
NLB_TYPE = "service.beta.kubernetes.io/aws-load-balancer-type"
ALB = "alb.ingress.kubernetes.io/target-type"
NEG = "cloud.google.com/neg"
TOPOLOGY_MARKS = ("service.kubernetes.io/topology-mode", "service.kubernetes.io/topology-aware-hints")
ARGO = "argocd.argoproj.io/tracking-id"
ARGO_LABEL = "argocd.argoproj.io/instance"
FLUX = {"kustomize.toolkit.fluxcd.io": "kustomization", "helm.toolkit.fluxcd.io": "helmrelease"}
# managedFields: who wrote the Service → how he is called
WRITERS = dict.fromkeys(("argocd-controller", "argocd-application-controller"), "Argo CD")
WRITERS |= dict.fromkeys(("kustomize-controller", "helm-controller"), "Flux")


@dataclass(frozen=True)
class Trait:
    """One such thing. REFUSE: going on would break it for others. HINT: what to type instead; may be empty."""

    kind: str
    sentence: str
    refuse: bool = False
    hint: str = ""


@dataclass(frozen=True)
class Around:
    """What else can be seen, as far as rights allow. ROUTER_NODES: to which the router's pods are bound, if to any."""

    namespace: Object | None = None
    scalers: Sequence[Object] = ()
    router_nodes: frozenset[str] = frozenset()


def traits(
    service: Object, pods: Sequence[Object], ports: Sequence[ServicePort], *, marked: bool, around: Around | None = None
) -> tuple[Trait, ...]:
    """The traits of SERVICE with its original PODS, the refused first. PORTS: those to be given to a laptop.

    MARKED: only requests with a mark are wanted, so the router must read them.
    """
    around = around or Around()
    found = [
        *_protocols(service),
        *(_tls(service, ports) if marked else ()),
        *_local(service, pods, around.router_nodes),
        *_affinity(service, pods),
        *_sidecars(service, pods),
        *_ambient(pods, around.namespace),
        *_load_balancer(service),
        *_topology(service),
        *_scaled(pods, around.scalers, marked=marked),
        *_gitops(service),
        *_not_ready(service),
    ]
    return tuple(sorted(found, key=lambda trait: not trait.refuse))


def nodes_of(pods: Sequence[Object]) -> frozenset[str]:
    """The nodes that PODS run on."""
    return frozenset(pod["spec"]["nodeName"] for pod in pods if pod["spec"].get("nodeName"))


def is_tls(name: str, app_protocol: str, numbers: set[int]) -> bool:
    """Whether a port says that TLS arrives there: appProtocol, else the first word of its name, else its number.

    appProtocol is an IANA service name or has a domain before it, as in kubernetes.io/wss; Istio reads names such as
    `https-web` likewise.
    """
    for word in (app_protocol.lower().rpartition("/")[2], name.lower(), name.lower().partition("-")[0]):
        if word in TLS_WORDS | PLAIN_WORDS:
            return word in TLS_WORDS
    return bool(numbers & TLS_NUMBERS)


def _name(service: Object) -> str:
    return str(service["metadata"]["name"])


def _protocols(service: Object) -> Iterator[Trait]:
    """A selector moves all ports of a Service at once; the router carries TCP."""
    others = [p for p in service["spec"].get("ports") or [] if (p.get("protocol") or "TCP") != "TCP"]
    if others:
        said = ", ".join(f"{port['port']}/{port['protocol']}" for port in others)
        yield Trait(
            OTHER_PROTOCOL,
            f"service/{_name(service)} also has port {said}; ktpy carries TCP, and would cut that off for everybody.",
            refuse=True,
            hint="let a Service of its own, with the same selector, have the TCP ports, and take that",
        )


def _tls(service: Object, ports: Sequence[ServicePort]) -> Iterator[Trait]:
    spoken = {port["port"]: port.get("appProtocol") or "" for port in service["spec"].get("ports") or []}
    shut = [p for p in ports if p.protocol == "TCP" and is_tls(p.name, spoken.get(p.port, ""), {p.port, p.number or 0})]
    if shut:
        yield Trait(
            TLS,
            f"TLS arrives at port {table(shut)} of service/{_name(service)}: nobody on the way can read a mark in it.",
            refuse=True,
            hint=f"ktpy exchange {_name(service)} --mode direct      takes all of its traffic",
        )


def local_policies(service: Object) -> list[str]:
    """Which of SERVICE's traffic policies keep traffic on the node where it arrives."""
    spec = service["spec"]
    outside = spec.get("type") in ("NodePort", "LoadBalancer")
    policies = ["internalTrafficPolicy"] + ["externalTrafficPolicy"] * outside
    return [policy for policy in policies if spec.get(policy) == "Local"]


def _local(service: Object, pods: Sequence[Object], router_nodes: frozenset[str]) -> Iterator[Trait]:
    """Local drops what arrives on a node without an endpoint (Service's reference), so a router must be where they are.

    externalTrafficPolicy says nothing for a ClusterIP Service.
    """
    name, nodes, local = _name(service), nodes_of(pods), local_policies(service)
    if not local:
        return
    said = " and ".join(local)
    if nodes and nodes <= router_nodes:
        yield Trait(LOCAL, f"service/{name} has {said}: Local; the router runs on each node that its pods run on.")
        return
    patch = json.dumps({"spec": dict.fromkeys(local, "Cluster")}, separators=(",", ":"))
    yield Trait(
        LOCAL,
        f"service/{name} has {said}: Local; callers on nodes without a router pod would reach nobody.",
        refuse=True,
        hint=f"kubectl patch service {name} -p '{patch}'      if its owner agrees",
    )


def _affinity(service: Object, pods: Sequence[Object]) -> Iterator[Trait]:
    """The stuntman sees the router's addresses, not the clients': it keeps each router pod at one original pod."""
    if service["spec"].get("sessionAffinity") == "ClientIP" and len(pods) > 1:
        yield Trait(
            AFFINITY,
            f"service/{_name(service)} keeps each client at one of its {len(pods)} pods (sessionAffinity: ClientIP); "
            "a router would place all clients anew, at the one or two pods to which its own addresses stick.",
            refuse=True,
            hint=f"ktpy exchange {_name(service)} --mode direct      takes all of its traffic, with no router",
        )


def _meshes(pod: Object) -> Iterator[str]:
    """A sidecar is a container, or since Kubernetes 1.29 an init container that stays."""
    spec = pod["spec"]
    for container in [*(spec.get("containers") or []), *(spec.get("initContainers") or [])]:
        if container["name"] in SIDECARS:
            yield SIDECARS[container["name"]]
    for mark, mesh in SIDECAR_MARKS.items():
        if mark in annotations_of(pod):
            yield mesh


def _sidecars(service: Object, pods: Sequence[Object]) -> Iterator[Trait]:
    """The mode of mutual TLS is in a PeerAuthentication or a Server, which a developer may seldom read."""
    for mesh in sorted({mesh for pod in pods for mesh in _meshes(pod)}):
        yield Trait(
            SIDECAR,
            f"The pods have {mesh}'s sidecar and the router has none: where the mesh demands mutual TLS (STRICT) they "
            "refuse it, and rules by identity no longer see who calls. ktpy tries the way before it switches.",
            hint=f"ktpy mesh {_name(service)} --mode manual      if the way is shut",
        )


def _ambient(pods: Sequence[Object], namespace: Object | None) -> Iterator[Trait]:
    """A pod's own label goes before its namespace's; the annotation says that it is in."""
    key = "istio.io/dataplane-mode"
    spaces = labels_of(namespace).get(key) if namespace else None
    modes = {labels_of(pod).get(key, spaces) for pod in pods}
    if "ambient" in modes or any(annotations_of(p).get("ambient.istio.io/redirection") == "enabled" for p in pods):
        yield Trait(
            AMBIENT,
            "The pods are in Istio's ambient mesh: to rules by identity every caller is now the router, which may be "
            "outside the mesh. ktpy tries the way before it switches.",
        )


def _is_native(service: Object) -> bool:
    marks = annotations_of(service)
    if marks.get(NLB) == "ip" or marks.get(NLB_TYPE) == "nlb-ip" or marks.get(ALB) == "ip":
        return True
    try:
        neg = json.loads(marks.get(NEG, "null"))
    except json.JSONDecodeError:
        return False
    return isinstance(neg, dict) and bool(neg.get("ingress") or neg.get("exposed_ports"))


def _load_balancer(service: Object) -> Iterator[Trait]:
    """Instance targets keep pointing at nodes, so only those that are pods change. An Ingress's are not seen here."""
    if _is_native(service):
        yield Trait(
            LOAD_BALANCER,
            f"A cloud load balancer sends to the pods of service/{_name(service)} themselves; it takes 10 to 60 s to "
            "follow each switch, and requests that come through it may fail meanwhile.",
        )


def _topology(service: Object) -> Iterator[Trait]:
    spread = service["spec"].get("trafficDistribution")
    modes = {annotations_of(service).get(mark, "").lower() for mark in TOPOLOGY_MARKS} - {"", "disabled"}
    if spread or modes:
        yield Trait(
            TOPOLOGY,
            f"service/{_name(service)} keeps traffic near its callers ({spread or 'topology-mode'}); while the router "
            "stands, all of it goes by way of the router's nodes, perhaps in another zone.",
        )


def _workloads(pods: Sequence[Object]) -> set[tuple[str, str]]:
    """(kind, name) of what keeps PODS; a Deployment's ReplicaSet is named after it and the template's hash."""
    found = set()
    for pod in pods:
        tail = f"-{labels_of(pod).get('pod-template-hash')}"
        for owner in pod["metadata"].get("ownerReferences") or []:
            kind, name = owner["kind"], owner["name"]
            found.add(("Deployment", name.removesuffix(tail)) if kind == "ReplicaSet" else (kind, name))
    return found


def _scaled(pods: Sequence[Object], scalers: Sequence[Object], *, marked: bool) -> Iterator[Trait]:
    """KEDA's scaled objects make HorizontalPodAutoscalers too."""
    behind = _workloads(pods)
    for scaler in scalers:
        to = scaler["spec"]["scaleTargetRef"]
        if (to["kind"], to["name"]) in behind:
            what = "What the laptop answers" if marked else "Traffic that the laptop takes"
            yield Trait(
                HPA,
                f"HorizontalPodAutoscaler {scaler['metadata']['name']} scales {to['kind'].lower()}/{to['name']} by its "
                f"load. {what} is none of it: pods may be taken away, and be few when it comes back.",
            )


def _keeper(service: Object) -> tuple[str, str] | None:
    """Who writes the Service over and over, and the command that stops him, as far as his marks tell.

    `app.kubernetes.io/instance` alone says nothing: Helm charts wear it too. A tracking id that names another object
    came by copy, and Argo CD takes no notice of it.
    """
    labels = labels_of(service)
    app, _, tracked = annotations_of(service).get(ARGO, "").partition(":")
    app = app if tracked.endswith(f"/{_name(service)}") else labels.get(ARGO_LABEL, "")
    if app:
        return f"Argo CD (application {app})", f"argocd app set {app} --self-heal=false      while you work"
    for group, kind in FLUX.items():
        if f"{group}/name" in labels:
            name, space = labels[f"{group}/name"], labels.get(f"{group}/namespace")
            where = f" -n {space}" if space else ""
            return f"Flux ({kind} {name})", f"flux suspend {kind} {name}{where}      while you work"
    managers = [entry.get("manager", "") for entry in service["metadata"].get("managedFields") or []]
    return next(((WRITERS[manager], "") for manager in managers if manager in WRITERS), None)


def _gitops(service: Object) -> Iterator[Trait]:
    """The diverted selector has the owner's keys, so whoever takes it back takes it back whole."""
    if keeper := _keeper(service):
        yield Trait(
            GITOPS,
            f"service/{_name(service)} is kept by {keeper[0]}, which may point it back at its own pods at any time; "
            "no request is lost then, but yours go there too.",
            hint=keeper[1],
        )


def _not_ready(service: Object) -> Iterator[Trait]:
    if service["spec"].get("publishNotReadyAddresses"):
        yield Trait(
            NOT_READY,
            f"service/{_name(service)} sends to pods before they are ready (publishNotReadyAddresses), so also to a "
            "router pod that has only just started.",
        )
