"""What a pod's status means to somebody who waits for it: running, still coming and why, or never."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from ktpy.model import names
from ktpy.model.ref import Object, labels_of

# Why a container will not start with its image, in the kubelet's words (kubernetes.io/docs/concepts/containers/images)
PULL_REASONS = {"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "RegistryUnavailable"}
CONFIG_REASONS = {"CreateContainerConfigError", "CreateContainerError", "RunContainerError", "CrashLoopBackOff"}


class Phase(Enum):
    COMING = "coming"
    RUNNING = "running"
    NO_IMAGE = "no image"
    BROKEN = "broken"
    GOING = "going"


class PodState(NamedTuple):
    """WHY is a short word while coming (ContainerCreating), the kubelet's sentence when broken."""

    phase: Phase
    why: str


def state_of(pod: Object) -> PodState:
    """The state of POD as its kubelet and scheduler report it."""
    status = pod.get("status") or {}
    if pod["metadata"].get("deletionTimestamp") or status.get("phase") in ("Failed", "Succeeded"):
        return PodState(Phase.GOING, status.get("message") or status.get("reason") or "terminating")
    for container in status.get("containerStatuses") or []:
        waiting = (container.get("state") or {}).get("waiting") or {}
        reason, message = waiting.get("reason", ""), waiting.get("message", "")
        if reason in PULL_REASONS:
            return PodState(Phase.NO_IMAGE, message or reason)
        if reason in CONFIG_REASONS:
            return PodState(Phase.BROKEN, f"{reason}: {message}".rstrip(": "))
    if is_ready(pod) or _waits_for_us(pod):
        return PodState(Phase.RUNNING, "")
    return PodState(Phase.COMING, _why_coming(status))


def is_ready(pod: Object) -> bool:
    """Whether endpoints may list it."""
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)


def has_started(pod: Object) -> bool:
    """Whether its program ever got so far that its startup probe passed."""
    statuses = (pod.get("status") or {}).get("containerStatuses") or []
    return is_ready(pod) or (bool(statuses) and all(status.get("started") for status in statuses))


def _waits_for_us(pod: Object) -> bool:
    """It is a shadow that runs, and its own probe fails until the laptop's tunnel is there."""
    if labels_of(pod).get(names.ROLE) != names.ROLE_SHADOW:
        return False
    is_probed = any("readinessProbe" in container for container in (pod.get("spec") or {}).get("containers", ()))
    statuses = (pod.get("status") or {}).get("containerStatuses") or []
    return is_probed and bool(statuses) and all("running" in (status.get("state") or {}) for status in statuses)


def _why_coming(status: Object) -> str:
    for condition in status.get("conditions") or []:
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return f"not scheduled: {condition.get('message') or condition.get('reason')}"
    for container in status.get("containerStatuses") or []:
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting.get("reason"):
            return str(waiting["reason"])
    if status.get("phase") == "Running":
        return "runs, and is not ready yet"
    return str(status.get("phase") or "not yet seen by the scheduler")
