"""What is seen of a Service before a router stands in front of it, and what of it is refused."""

from __future__ import annotations

import re
from typing import Any

import pytest

from ktpy.model import traits as known
from ktpy.model.ports import ServicePort, ports_of
from ktpy.model.ref import Object
from ktpy.model.traits import Around, Trait, is_tls, nodes_of, traits
from tests.fakes import things
from tests.fakes.things import port


def seen(
    service: Object, *pods: Object, marked: bool = True, around: Around | None = None, ports: Any = None
) -> tuple[Trait, ...]:
    behind = pods or (things.pod("a"),)
    return traits(service, behind, ports or ports_of(service, behind), marked=marked, around=around)


def only(*args: Any, **more: Any) -> Trait:
    (trait,) = seen(*args, **more)
    return trait


def marked_with(service: Object, *, labels: Object | None = None, **meta: Any) -> Object:
    new = {**service["metadata"], **meta}
    return {**service, "metadata": {**new, "labels": {**new["labels"], **(labels or {})}}}


def on_node(name: str, node: str) -> Object:
    pod = things.pod(name)
    return {**pod, "spec": {**pod["spec"], "nodeName": node}}


def with_container(where: str, name: str) -> Object:
    pod = things.pod("a")
    return {**pod, "spec": {**pod["spec"], where: [*pod["spec"].get(where, []), {"name": name, "image": "x"}]}}


def test_an_ordinary_service_has_no_traits() -> None:
    assert seen(things.service()) == ()
    assert seen(things.service(), things.pod("a"), things.pod("b"), around=Around({"metadata": {}})) == ()
    assert traits(things.service(sessionAffinity="None"), [], [], marked=True) == ()


def test_what_is_refused_is_said_first() -> None:
    service = things.service(publishNotReadyAddresses=True, internalTrafficPolicy="Local")

    assert [(trait.kind, trait.refuse) for trait in seen(service)] == [(known.LOCAL, True), (known.NOT_READY, False)]


def test_a_port_that_is_not_tcp_would_die_for_everybody() -> None:
    trait = only(things.service(ports=[port(53, name="dns"), {"port": 53, "protocol": "UDP"}]), marked=False)

    assert (trait.kind, trait.refuse) == (known.OTHER_PROTOCOL, True)
    assert "port 53/UDP" in trait.sentence


@pytest.mark.parametrize(
    ("name", "protocol", "numbers", "yes"),
    [
        ("", "", {80, 8080}, False),
        ("", "", {443, 8080}, True),
        ("", "", {80, 8443}, True),
        ("https", "", {80}, True),
        ("https-web", "", {80}, True),
        ("tls", "", {80}, True),
        ("grpcs", "", {80}, True),
        ("TLS", "", {80}, True),
        ("http", "", {443}, False),
        ("http-web", "", {443}, False),
        ("web", "", {443}, True),
        ("web", "https", {80}, True),
        ("https", "http", {443}, False),
        ("", "kubernetes.io/wss", {80}, True),
        ("", "kubernetes.io/h2c", {443}, False),
        ("", "mycompany.com/own", {443}, True),
    ],
)
def test_a_port_tells_whether_tls_arrives(name: str, protocol: str, numbers: set[int], yes: bool) -> None:
    assert is_tls(name, protocol, numbers) is yes


def test_marks_in_tls_are_refused_only_on_the_ports_that_are_wanted() -> None:
    service = things.service(ports=[port(80, name="http"), port(90, name="web", appProtocol="https")])
    plain, shut = ports_of(service, [])

    trait = only(service)
    assert (trait.kind, trait.refuse) == (known.TLS, True)
    assert "port 90 (web)" in trait.sentence
    assert trait.hint.startswith("ktpy exchange shop --mode direct ")
    assert only(service, ports=[shut]) == trait
    assert seen(service, ports=[plain]) == ()
    assert seen(service, marked=False) == ()


def test_a_named_target_counts_by_its_number() -> None:
    assert only(things.service(), ports=[ServicePort(80, "", "web", 8443)]).kind == known.TLS
    assert seen(things.service(), ports=[ServicePort(80, "", "web", None)]) == ()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"internalTrafficPolicy": "Local"}, "internalTrafficPolicy"),
        ({"type": "LoadBalancer", "externalTrafficPolicy": "Local"}, "externalTrafficPolicy"),
        (
            {"type": "NodePort", "externalTrafficPolicy": "Local", "internalTrafficPolicy": "Local"},
            "internalTrafficPolicy and externalTrafficPolicy",
        ),
    ],
)
def test_a_local_policy_is_refused_where_the_router_may_be_on_other_nodes(more: Object, said: str) -> None:
    service, pods = things.service(**more), (on_node("a", "n1"), on_node("b", "n2"))

    trait = only(service, *pods)

    assert trait.refuse
    assert f"has {said}: Local" in trait.sentence
    assert re.search(r"^kubectl patch service shop -p '\{\"spec\":\{.*\"Cluster\"\}\}' ", trait.hint)
    assert only(service, *pods, around=Around(router_nodes=frozenset({"n1"}))) == trait
    assert not only(service, *pods, around=Around(router_nodes=nodes_of(pods))).refuse


def test_a_local_policy_without_pods_is_refused_and_that_for_outside_needs_an_outside() -> None:
    assert traits(things.service(internalTrafficPolicy="Local"), [], [], marked=False)[0].refuse
    assert seen(things.service(externalTrafficPolicy="Local")) == ()
    assert seen(things.service(type="LoadBalancer", externalTrafficPolicy="Cluster")) == ()


def test_affinity_of_several_pods_is_refused_and_of_one_is_kept() -> None:
    service = things.service(sessionAffinity="ClientIP")

    trait = only(service, things.pod("a"), things.pod("b"))

    assert (trait.kind, trait.refuse) == (known.AFFINITY, True)
    assert "one of its 2 pods" in trait.sentence
    assert "--mode direct" in trait.hint
    assert seen(service, things.pod("a")) == ()


@pytest.mark.parametrize(
    ("pod", "mesh"),
    [
        (with_container("containers", "istio-proxy"), "Istio"),
        (with_container("initContainers", "istio-proxy"), "Istio"),
        (with_container("containers", "linkerd-proxy"), "Linkerd"),
        (with_container("initContainers", "linkerd-proxy"), "Linkerd"),
        (things.pod("a", annotations={"sidecar.istio.io/status": "{}"}), "Istio"),
        (things.pod("a", annotations={"linkerd.io/proxy-version": "edge"}), "Linkerd"),
    ],
)
def test_a_sidecar_is_spoken_of_once(pod: Object, mesh: str) -> None:
    trait = only(things.service(), pod, pod)

    assert (trait.kind, trait.refuse) == (known.SIDECAR, False)
    assert f"{mesh}'s sidecar" in trait.sentence
    assert trait.hint.startswith("ktpy mesh shop --mode manual ")


@pytest.mark.parametrize("pod", [with_container("initContainers", "istio-init"), with_container("containers", "istio")])
def test_other_containers_are_no_sidecar(pod: Object) -> None:
    assert seen(things.service(), pod) == ()


def test_ambient_is_told_by_pod_namespace_or_what_istio_wrote() -> None:
    mode = "istio.io/dataplane-mode"
    inside, outside = things.pod("a", labels={mode: "ambient"}), things.pod("a", labels={mode: "none"})
    space = Around({"metadata": {"labels": {mode: "ambient"}}})
    caught = things.pod("a", annotations={"ambient.istio.io/redirection": "enabled"})

    for pod, around in ((inside, None), (things.pod("a"), space), (caught, None)):
        assert only(things.service(), pod, around=around).kind == known.AMBIENT
    assert seen(things.service(), outside, around=space) == ()


@pytest.mark.parametrize(
    ("annotations", "yes"),
    [
        ({"cloud.google.com/neg": '{"ingress": true}'}, True),
        ({"cloud.google.com/neg": '{"exposed_ports": {"80": {}}}'}, True),
        ({"cloud.google.com/neg": '{"ingress": false}'}, False),
        ({"cloud.google.com/neg": "nonsense"}, False),
        ({"cloud.google.com/neg": "[]"}, False),
        ({"service.beta.kubernetes.io/aws-load-balancer-nlb-target-type": "ip"}, True),
        ({"service.beta.kubernetes.io/aws-load-balancer-nlb-target-type": "instance"}, False),
        ({"service.beta.kubernetes.io/aws-load-balancer-type": "nlb-ip"}, True),
        ({"alb.ingress.kubernetes.io/target-type": "ip"}, True),
    ],
)
def test_a_load_balancer_that_knows_pods_is_spoken_of(annotations: dict[str, str], yes: bool) -> None:
    found = seen(marked_with(things.service(), annotations=annotations))

    assert [trait.kind for trait in found] == [known.LOAD_BALANCER] * yes


@pytest.mark.parametrize(
    ("annotations", "more", "yes"),
    [
        ({"service.kubernetes.io/topology-mode": "Auto"}, {}, True),
        ({"service.kubernetes.io/topology-aware-hints": "auto"}, {}, True),
        ({"service.kubernetes.io/topology-mode": "Disabled"}, {}, False),
        ({}, {"trafficDistribution": "PreferSameZone"}, True),
    ],
)
def test_traffic_that_stays_near_is_spoken_of(annotations: dict[str, str], more: Object, yes: bool) -> None:
    found = seen(marked_with(things.service(**more), annotations=annotations))

    assert [(trait.kind, trait.refuse) for trait in found] == [(known.TOPOLOGY, False)] * yes


def scaler(kind: str, name: str) -> Object:
    return {"metadata": {"name": "hpa-1"}, "spec": {"scaleTargetRef": {"kind": kind, "name": name}}}


def test_a_scaler_of_the_workload_behind_is_spoken_of() -> None:
    labels = {**things.SELECTOR, "pod-template-hash": "5f6"}
    deployed = things.pod("a", labels=labels, owners=[{"kind": "ReplicaSet", "name": "shop-5f6"}])
    stateful = things.pod("a", owners=[{"kind": "StatefulSet", "name": "db"}])
    both = Around(scalers=[scaler("Deployment", "shop"), scaler("StatefulSet", "db")])

    trait = only(things.service(), deployed, around=both)
    assert "HorizontalPodAutoscaler hpa-1 scales deployment/shop" in trait.sentence
    assert not trait.refuse
    assert "statefulset/db" in only(things.service(), stateful, around=both, marked=False).sentence
    assert seen(things.service(), things.pod("a"), around=both) == ()


@pytest.mark.parametrize(
    ("meta", "who", "hint"),
    [
        (
            {"annotations": {"argocd.argoproj.io/tracking-id": "web:/Service:team/shop"}},
            r"Argo CD \(application web\)",
            "argocd app set web --self-heal=false ",
        ),
        ({"labels": {"argocd.argoproj.io/instance": "web"}}, "Argo CD", "argocd app set web "),
        (
            {"labels": {"kustomize.toolkit.fluxcd.io/name": "apps", "kustomize.toolkit.fluxcd.io/namespace": "flux"}},
            r"Flux \(kustomization apps\)",
            "flux suspend kustomization apps -n flux ",
        ),
        (
            {"labels": {"helm.toolkit.fluxcd.io/name": "shop"}},
            r"Flux \(helmrelease shop\)",
            "flux suspend helmrelease shop ",
        ),
        ({"managedFields": [{"manager": "kubectl"}, {"manager": "argocd-controller"}]}, "by Argo CD,", ""),
    ],
)
def test_a_controller_that_may_take_the_selector_back_is_named(meta: Object, who: str, hint: str) -> None:
    trait = only(marked_with(things.service(), **meta))

    assert (trait.kind, trait.refuse) == (known.GITOPS, False)
    assert re.search(who, trait.sentence)
    assert trait.hint.startswith(hint)
    assert bool(trait.hint) == bool(hint)


@pytest.mark.parametrize(
    "meta",
    [
        {"labels": {"app.kubernetes.io/instance": "web"}},
        {"annotations": {"argocd.argoproj.io/tracking-id": "web:/Service:team/other"}},
        {"managedFields": [{"manager": "kubectl"}, {}]},
    ],
)
def test_marks_that_prove_nothing_are_not_spoken_of(meta: Object) -> None:
    assert seen(marked_with(things.service(), **meta)) == ()
