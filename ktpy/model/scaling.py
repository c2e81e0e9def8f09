"""Which workload is behind a Service, and how it is scaled to 0: pure functions on raw JSON.

Giving back is `diversion.given_back`, as for a Service: the note on the workload speaks of its replicas.
"""

from __future__ import annotations

from collections.abc import Sequence

from ktpy.errors import KtError, NotFound, Taken
from ktpy.model import diversion, names
from ktpy.model.diversion import REPLICAS
from ktpy.model.names import SessionId
from ktpy.model.ref import Object, Ref, labels_of, ref_of
from ktpy.model.target import original_selector

# Labels that controllers give their pods: whatever else wears them is adopted by a controller, and killed by it.
OF_CONTROLLERS = {
    "pod-template-hash",
    "controller-revision-hash",
    "statefulset.kubernetes.io/pod-name",
    "apps.kubernetes.io/pod-index",
    "rollouts-pod-template-hash",
}


def replicas_of(workload: Object) -> int:
    return int(diversion.values_of(workload)[REPLICAS])


def worn(service: Object) -> dict[str, str]:
    """What a shadow wears to be found by SERVICE: its selector, and nothing else that its pods wear.

    A ReplicaSet of a Deployment adopts only what wears its pod-template-hash; a StatefulSet only what is called
    NAME-NUMBER, as no shadow is. Argo CD prunes what wears its label, but nothing that has an owner, as a shadow has.

    Errors: KtError where SERVICE selects by a controller's own label.
    """
    selector = original_selector(service)
    if taken := sorted(OF_CONTROLLERS & selector.keys()):
        raise KtError(
            f"{ref_of(service)} selects by {taken[0]}, which a controller gives its pods: it would kill any other.",
            f"ktpy exchange {ref_of(service).name}      without --mode scale",
        )
    return selector


def owner_of(pod: Object) -> tuple[str, str]:
    """Kind and name of what made POD; of a bare one its own.

    A Deployment's ReplicaSet has the Deployment's name and the hash that its pods wear: nobody need read ReplicaSets.
    """
    for owner in pod["metadata"].get("ownerReferences") or []:
        if owner.get("controller"):
            kind, name, hash_ = owner["kind"], owner["name"], labels_of(pod).get("pod-template-hash")
            if kind == "ReplicaSet" and hash_ and name.endswith(f"-{hash_}"):
                return "Deployment", name.removesuffix(f"-{hash_}")
            return kind, name
    return "Pod", pod["metadata"]["name"]


def serves(pod: Object) -> bool:
    """Whether POD is an original one that gets traffic, or will."""
    phase = (pod.get("status") or {}).get("phase")
    return not (
        names.ROLE in labels_of(pod) or pod["metadata"].get("deletionTimestamp") or phase in ("Succeeded", "Failed")
    )


def selects(service: Object, workload: Object) -> bool:
    """Whether SERVICE leads to WORKLOAD's pods when nobody diverts it."""
    selector = original_selector(service)
    wears = workload["spec"]["template"]["metadata"].get("labels") or {}
    return bool(selector) and selector.items() <= wears.items()


def behind(service: Object, pods: Sequence[Object], workloads: Sequence[Object]) -> Object:
    """The one workload whose pods SERVICE leads to. PODS: those it selects; WORKLOADS: of the namespace.

    Errors: KtError naming them where there are several, or where pods are no workload's; NotFound where there is none.
    """
    name = str(ref_of(service))
    found = {(work["kind"], work["metadata"]["name"]): work for work in workloads if selects(service, work)}
    owners = {owner_of(pod) for pod in pods if serves(pod)}
    plain = f"ktpy exchange {ref_of(service).name}      without --mode scale"
    if strange := sorted(f"{kind.lower()}/{of}" for kind, of in owners - found.keys()):
        raise KtError(f"{name} leads to pods of {', '.join(strange)}, which ktpy cannot scale.", plain)
    if not found:
        raise NotFound(f"There is no Deployment or StatefulSet behind {name}.", plain)
    # One that stands at 0 is in nobody's way, unless it is the only one.
    up = {key: work for key, work in found.items() if key in owners or replicas_of(work)} or found
    if len(up) > 1:
        several = ", ".join(sorted(f"{kind.lower()}/{of}" for kind, of in up))
        raise KtError(f"{name} leads to several workloads: {several}. Only one can be scaled.", plain)
    return next(iter(up.values()))


def autoscaler_of(workload: Object, autoscalers: Sequence[Object]) -> str | None:
    """The name of the HorizontalPodAutoscaler that keeps WORKLOAD's replicas (KEDA has one too)."""
    wanted = (workload["kind"], workload["metadata"]["name"])
    for scaler in autoscalers:
        target = scaler["spec"].get("scaleTargetRef") or {}
        if (target.get("kind"), target.get("name")) == wanted:
            return str(scaler["metadata"]["name"])
    return None


def beside(service: Object, workload: Object, services: Sequence[Object]) -> tuple[list[Ref], list[Ref]]:
    """Other SERVICES that lead to WORKLOAD: those that will find the shadow of SERVICE too, and those without pods."""
    wears = original_selector(service)
    others = [one for one in services if selects(one, workload) and ref_of(one) != ref_of(service)]
    both = [ref_of(one) for one in others if original_selector(one).items() <= wears.items()]
    return both, [ref_of(one) for one in others if ref_of(one) not in both]


def scaled(workload: Object, session: SessionId, service: Object) -> Object:
    """WORKLOAD at 0 replicas for SESSION, with the note of how many there were.

    Errors: Taken where another session holds it by now; KtError where there is nothing to scale, or SERVICE leads
    elsewhere.
    """
    ref, holder = ref_of(workload), diversion.holder_of(workload)
    if holder not in (None, session):
        raise Taken(f"{ref} was taken by session {holder} a moment ago.", "ktpy birdseye")
    owners = diversion.given_back(workload, session)
    must_have_replicas(owners)
    if not selects(service, owners):
        raise KtError(f"{ref} has got other pods meanwhile; it was not touched.", "once more, please")
    return diversion.changed(owners, session, was=diversion.values_of(owners), set_={REPLICAS: "0"})


def must_have_replicas(workload: Object) -> None:
    """Errors: KtError where WORKLOAD stands at 0 by its owner's will."""
    if replicas_of(workload) == 0:
        ref = ref_of(workload)
        raise KtError(
            f"{ref} has 0 replicas already: there is nothing to scale, and nothing to come back to.",
            f"kubectl scale {ref} --replicas=1",
        )


def is_scaled_by(workload: Object, session: SessionId) -> bool:
    """Whether WORKLOAD is at 0 because of SESSION."""
    return diversion.is_in_force(workload, session)
