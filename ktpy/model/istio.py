"""`mesh --mode manual`: the label by which a mesh's own rules tell a laptop's pod from the others, and such rules."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ktpy.errors import KtError, Taken, Usage
from ktpy.model import names
from ktpy.model.ports import ServicePort
from ktpy.model.ref import Object, labels_of, ref_of
from ktpy.model.scaling import OF_CONTROLLERS, owner_of
from ktpy.model.target import original_selector
from ktpy_router.match import Condition

OTHERS = "others"
HASHES = ("pod-template-hash", "rollouts-pod-template-hash")
_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")


@dataclass(frozen=True)
class Mark:
    """Requests whose header NAME is VALUE are for the pod that wears the label KEY=WORN."""

    name: str
    value: str
    worn: str

    @property
    def key(self) -> str:
        return self.name

    @property
    def label(self) -> str:
        return f"{self.key}={self.worn}"


def mark(header: Condition) -> Mark:
    """What a `--version-mark` is as a label: its value hashed where a label cannot have it. Raises Usage."""
    if not _LABEL.fullmatch(header.name):
        raise Usage(f"'{header.name}' cannot be the key of a label.", "--version-mark x-dev:ana")
    worn = header.value if _LABEL.fullmatch(header.value) else names.fitted(header.value)
    return Mark(header.name, header.value, worn)


def wears(service: Object, mark: Mark, pods: Sequence[Object]) -> dict[str, str]:
    """The labels of the shadow: what SERVICE selects by, and MARK's. PODS: all that it selects.

    No other label of the pods is copied: controllers, Helm and GitOps know theirs by those. A Deployment's ReplicaSet
    adopts only what wears its hash, a StatefulSet only what is called NAME-NUMBER; others adopt, and kill, what their
    selector finds.
    Errors: KtError where the shadow would be adopted; Usage and Taken where the label tells nothing apart.
    """
    selector, name = original_selector(service), ref_of(service).name
    router = f"ktpy mesh {name}      without --mode manual"
    if taken := sorted(OF_CONTROLLERS & selector.keys()):
        raise KtError(
            f"{ref_of(service)} selects by {taken[0]}: a controller would take the shadow for its own.", router
        )
    if keepers := sorted({f"{kind.lower()}/{of}" for kind, of in map(_adopter, pods) if kind}):
        raise KtError(f"{keepers[0]} would take the shadow for one of its pods, and end it or another.", router)
    if mark.key in selector:
        raise Usage(
            f"{ref_of(service)} selects by {mark.key}={selector[mark.key]}; a pod with {mark.label} would get nothing.",
            f"--version-mark x-{mark.key}:{mark.value}",
        )
    for pod in pods:
        if labels_of(pod).get(mark.key) == mark.worn and not pod["metadata"].get("deletionTimestamp"):
            whose = f" (session {labels_of(pod)[names.SESSION]})" if names.SESSION in labels_of(pod) else ""
            raise Taken(f"{ref_of(pod)} wears {mark.label} already{whose}.", f"--version-mark {mark.key}:ANOTHER")
    return {**selector, mark.key: mark.worn}


def _adopter(pod: Object) -> tuple[str, str]:
    """Kind and name of a controller of POD that might adopt another pod; empty where it does not."""
    if names.ROLE in labels_of(pod):
        return "", ""
    kind, name = owner_of(pod)
    is_safe = kind in ("Pod", "Deployment", "StatefulSet", "Job")
    is_safe = is_safe or (kind == "ReplicaSet" and any(key in labels_of(pod) for key in HASHES))
    return ("", "") if is_safe else (kind, name)


def apart(pods: Sequence[Object], worn: Mapping[str, str], mark: Mark) -> dict[str, str]:
    """One label that every original pod wears and the shadow does not: how rules name the others. Empty: there is none.

    The mark's own key first, since that is what it is for; then whatever stays the same from release to release.
    """
    originals = [labels_of(pod) for pod in pods if names.ROLE not in labels_of(pod)]
    if not originals:
        return {}
    common = {k: v for k, v in originals[0].items() if all(labels.get(k) == v for labels in originals)}
    fit = {k: v for k, v in common.items() if worn.get(k) != v and k not in OF_CONTROLLERS}
    for key in sorted(fit, key=lambda key: (key != mark.key, "version" in key, key)):
        return {key: fit[key]}
    return {}


def rules(service: Object, mark: Mark, others: Mapping[str, str], ports: Sequence[ServicePort]) -> str:
    """What sends marked requests to the shadow and all OTHERS to the other pods: for Istio, and for the Gateway API."""
    return f"{_istio(service, mark, others, ports)}\n{_gateway(service, mark, others, ports)}"


def _istio(service: Object, mark: Mark, others: Mapping[str, str], ports: Sequence[ServicePort]) -> str:
    name, space, subset = ref_of(service).name, ref_of(service).namespace, names.fitted(mark.worn)
    subsets = [f"    - {{name: {subset}, labels: {_map({mark.key: mark.worn})}}}"]
    subsets += [f"    - {{name: {OTHERS}, labels: {_map(others)}}}"] if others else []
    rest = f"{{host: {name}, subset: {OTHERS}" if others else f"{{host: {name}"
    header = f"headers: {{{_text(mark.name)}: {{exact: {_text(mark.value)}}}}}"
    http = []
    for port in ports:
        only, to = (f"port: {port.port}, ", f", port: {{number: {port.port}}}") if len(ports) > 1 else ("", "")
        http.append(f"    - match: [{{{only}{header}}}]")
        http.append(f"      route: [{{destination: {{host: {name}, subset: {subset}{to}}}}}]")
        http.append(f"    - match: [{{{only.rstrip(', ')}}}]" if only else f"    - route: [{{destination: {rest}}}}}]")
        http += [f"      route: [{{destination: {rest}{to}}}}}]"] if only else []
    return "\n".join(
        [
            f"# Istio. Where {name} has a VirtualService already, put the rule with the header before its others.",
            *_no_others(others),
            "apiVersion: networking.istio.io/v1",
            "kind: DestinationRule",
            f"metadata: {{name: {_name(name, mark)}, namespace: {space}}}",
            "spec:",
            f"  host: {name}",
            "  subsets:",
            *subsets,
            "---",
            "apiVersion: networking.istio.io/v1",
            "kind: VirtualService",
            f"metadata: {{name: {_name(name, mark)}, namespace: {space}}}",
            "spec:",
            f"  hosts: [{name}]",
            "  http:",
            *http,
            "",
        ]
    )


def _gateway(service: Object, mark: Mark, others: Mapping[str, str], ports: Sequence[ServicePort]) -> str:
    """The Gateway API knows Services and no labels: each side needs a Service of its own."""
    name, space, first = ref_of(service).name, ref_of(service).namespace, ports[0].port
    base, other = _name(name, mark), names.fitted(f"{name}-kt-{OTHERS}")
    selector = original_selector(service)
    made = _service(base, space, {**selector, mark.key: mark.worn}, ports)
    made += _service(other, space, {**selector, **others}, ports) if others else []
    rest = other if others else name
    header = f"{{name: {_text(mark.name)}, value: {_text(mark.value)}}}"
    return "\n".join(
        [
            "# Gateway API for meshes (Istio, Linkerd, Cilium), in place of the above.",
            *made,
            "apiVersion: gateway.networking.k8s.io/v1",
            "kind: HTTPRoute",
            f"metadata: {{name: {base}, namespace: {space}}}",
            "spec:",
            f'  parentRefs: [{{group: "", kind: Service, name: {name}, port: {first}}}]',
            "  rules:",
            f"    - matches: [{{headers: [{header}]}}]",
            f"      backendRefs: [{{name: {base}, port: {first}}}]",
            f"    - backendRefs: [{{name: {rest}, port: {first}}}]",
            "",
        ]
    )


def _service(name: str, space: str, selector: Mapping[str, str], ports: Sequence[ServicePort]) -> list[str]:
    listed = [
        f"    - {{port: {port.port}, targetPort: {port.target}{f', name: {port.name}' if port.name else ''}}}"
        for port in ports
    ]
    return [
        "apiVersion: v1",
        "kind: Service",
        f"metadata: {{name: {name}, namespace: {space}}}",
        "spec:",
        f"  selector: {_map(selector)}",
        "  ports:",
        *listed,
        "---",
    ]


def _name(service: str, mark: Mark) -> str:
    return names.fitted(f"{service}-kt-{names.fitted(mark.worn)}")


def _no_others(others: Mapping[str, str]) -> list[str]:
    if others:
        return []
    return [
        "# The other pods wear no label in common that the laptop's has not, so unmarked requests still reach it too:",
        "# give them one, such as version: stable, and name it where these rules send all others.",
    ]


def _map(labels: Mapping[str, str]) -> str:
    return f"{{{', '.join(f'{_text(key)}: {_text(value)}' for key, value in labels.items())}}}"


def _text(text: str) -> str:
    """TEXT in YAML, which has JSON's strings, plain where it cannot be taken for anything else."""
    is_plain = re.fullmatch(r"[A-Za-z][A-Za-z0-9_./-]*", text) and text.lower() not in ("y", "n", "yes", "no", "on",
        "off", "true", "false", "null")  # fmt: skip
    return text if is_plain else json.dumps(text)
