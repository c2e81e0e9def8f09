"""Which Services, router pods and policies of a namespace are ktpy's own: neither the team's nor strangers."""

from __future__ import annotations

from ktpy.model import names
from ktpy.model.ref import Object, annotations_of, labels_of


def is_stuntman(service: Object) -> bool:
    """Whether SERVICE stands in for another's original while a router serves or drains.

    Its owners are the router's Lease, later the draining pods; its name and label name its router all the time, which
    no copy of it under another name does.
    """
    labels = labels_of(service)
    if labels.get(names.ROLE) != names.ROLE_STUNTMAN or not labels.get(names.SESSION):
        return False
    return str(service["metadata"]["name"]).endswith(names.stuntman_tail(labels[names.SESSION]))


def is_preview(service: Object) -> bool:
    """Whether a session made SERVICE for what runs on its laptop."""
    return labels_of(service).get(names.ROLE) == names.ROLE_PREVIEW and _is_a_sessions(service)


def is_link(service: Object) -> bool:
    """Whether a session made SERVICE for those who are to need no mark."""
    return labels_of(service).get(names.ROLE) == names.ROLE_LINK and _is_a_sessions(service)


def is_router_pod(pod: Object) -> bool:
    """Whether POD is one of a router's: kept by a ReplicaSet of the Deployment that bears a router's name."""
    labels = labels_of(pod)
    if labels.get(names.ROLE) != names.ROLE_ROUTER or not labels.get(names.SESSION):
        return False
    owners = pod["metadata"].get("ownerReferences") or []
    deployments = [str(o.get("name", "")).rpartition("-")[0] for o in owners if o.get("kind") == "ReplicaSet"]
    return any(name.endswith(names.ROUTER_TAIL) for name in deployments)


def is_policy(policy: Object) -> bool:
    """Whether POLICY was made for a session or a router.

    Its owner is a Lease, later the draining pods; it names itself all the time, which no copy of it does.
    """
    labels = labels_of(policy)
    if labels.get(names.ROLE) != names.ROLE_POLICY or not labels.get(names.SESSION):
        return False
    return annotations_of(policy).get(names.SELF) == str(policy["metadata"]["name"])


def _is_a_sessions(thing: Object) -> bool:
    """Whether the Lease of the session that THING's label names owns it."""
    lease = names.lease_name(labels_of(thing).get(names.SESSION, ""))
    owners = thing["metadata"].get("ownerReferences") or []
    return any(owner.get("kind") == "Lease" and owner.get("name") == lease for owner in owners)
