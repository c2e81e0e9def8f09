"""A pod's status in the words of somebody who waits for it."""

from __future__ import annotations

import pytest

from ktpy.model import names
from ktpy.model.podstate import Phase, PodState, has_started, is_ready, state_of
from ktpy.model.ref import Object
from tests.fakes import api


def pod(status: Object | None, **meta: object) -> Object:
    return {"metadata": {"name": "x", **meta}, "status": status}


def waiting(reason: str, message: str = "") -> Object:
    return {"phase": "Pending", "containerStatuses": [{"state": {"waiting": {"reason": reason, "message": message}}}]}


@pytest.mark.parametrize(
    ("status", "state"),
    [
        (api.ready({}), PodState(Phase.RUNNING, "")),
        (api.no_image({}), PodState(Phase.NO_IMAGE, "no such image anywhere")),
        (waiting("ImagePullBackOff"), PodState(Phase.NO_IMAGE, "ImagePullBackOff")),
        (waiting("CrashLoopBackOff", "back-off"), PodState(Phase.BROKEN, "CrashLoopBackOff: back-off")),
        (waiting("CreateContainerConfigError"), PodState(Phase.BROKEN, "CreateContainerConfigError")),
        (waiting("ContainerCreating"), PodState(Phase.COMING, "ContainerCreating")),
        (api.never({}), PodState(Phase.COMING, "not scheduled: 0/1 nodes are available")),
        ({"phase": "Pending"}, PodState(Phase.COMING, "Pending")),
        (None, PodState(Phase.COMING, "not yet seen by the scheduler")),
        ({"phase": "Running"}, PodState(Phase.COMING, "runs, and is not ready yet")),
        ({"phase": "Failed", "reason": "Evicted"}, PodState(Phase.GOING, "Evicted")),
        ({"phase": "Succeeded"}, PodState(Phase.GOING, "terminating")),
    ],
)
def test_a_status_is_read(status: Object, state: PodState) -> None:
    assert state_of(pod(status)) == state


def test_a_pod_has_started_once_its_startup_probe_passed() -> None:
    assert has_started(pod(api.ready({})))
    assert has_started(pod({"containerStatuses": [{"started": True}]}))
    assert not has_started(pod({"containerStatuses": [{"started": False}]}))
    assert not has_started(pod({"containerStatuses": [{}]}))
    assert not has_started(pod(None))


def test_a_pod_that_is_being_deleted_is_going_though_it_is_ready() -> None:
    assert state_of(pod(api.ready({}), deletionTimestamp="2026-01-01T00:00:00Z")).phase is Phase.GOING


def test_a_pod_is_ready_by_its_condition_alone() -> None:
    assert is_ready(pod(api.ready({})))
    assert not is_ready(pod({"conditions": [{"type": "Ready", "status": "False"}]}))
    assert not is_ready(pod(None))


def test_a_shadow_whose_own_probe_waits_for_the_tunnel_runs() -> None:
    started = {"phase": "Running", "containerStatuses": [{"state": {"running": {}}}]}
    probed = {"containers": [{"readinessProbe": {}}]}
    shadow = {"labels": {names.ROLE: names.ROLE_SHADOW}}

    assert state_of({**pod(started, **shadow), "spec": probed}).phase is Phase.RUNNING
    assert state_of({**pod(waiting("ContainerCreating"), **shadow), "spec": probed}).phase is Phase.COMING
    assert state_of({**pod({"phase": "Pending"}, **shadow), "spec": probed}).phase is Phase.COMING
    assert state_of({**pod(started, **shadow), "spec": {"containers": [{}]}}).phase is Phase.COMING


def test_one_that_runs_and_is_not_ready_says_so() -> None:
    assert state_of(pod({"phase": "Running"})) == PodState(Phase.COMING, "runs, and is not ready yet")


def test_a_router_that_is_not_ready_does_not_run_yet() -> None:
    """A Service that is led to it now has no endpoint at all."""
    started = {"phase": "Running", "containerStatuses": [{"state": {"running": {}}}]}
    probed = {"containers": [{"readinessProbe": {}}]}

    assert state_of({**pod(started, labels={names.ROLE: names.ROLE_ROUTER}), "spec": probed}).phase is Phase.COMING
