"""ktpy's own Services and router pods are told from copies of them."""

from __future__ import annotations

from typing import Any

from ktpy.model import names
from ktpy.model.ours import is_policy, is_preview, is_router_pod, is_stuntman
from ktpy.model.ref import Object

ROUTER = "router-0a1b2c3d"
LEASE = {"kind": "Lease", "name": names.lease_name(ROUTER)}


def thing(name: str, role: str, *owners: Object, session: str = ROUTER, **more: Any) -> Object:
    labels = {names.ROLE: role, names.SESSION: session}
    return {"metadata": {"name": name, "labels": labels, "ownerReferences": list(owners), **more}}


def test_a_stuntman_is_ours_also_when_it_was_handed_to_the_draining_pods() -> None:
    name = names.stuntman_name("shop", ROUTER)

    assert is_stuntman(thing(name, names.ROLE_STUNTMAN, LEASE))
    assert is_stuntman(thing(name, names.ROLE_STUNTMAN, {"kind": "Pod", "name": "shop-kt-router-5f-x"}))
    assert is_stuntman(thing(names.stuntman_name("a" * 63, ROUTER), names.ROLE_STUNTMAN))


def test_a_copy_of_a_stuntman_is_not() -> None:
    assert not is_stuntman(thing("shop-copy", names.ROLE_STUNTMAN, LEASE))
    assert not is_stuntman(thing(names.stuntman_name("shop", "router-99"), names.ROLE_STUNTMAN, LEASE))
    assert not is_stuntman({"metadata": {"name": "shop-kt-stuntman-0a1b2c3d"}})


def test_a_preview_is_owned_by_its_sessions_lease() -> None:
    lease = {"kind": "Lease", "name": names.lease_name("ana-1")}

    assert is_preview(thing("web", names.ROLE_PREVIEW, lease, session="ana-1"))
    assert not is_preview(thing("web", names.ROLE_PREVIEW, session="ana-1"))
    assert not is_preview(thing("web", names.ROLE_SHADOW, lease, session="ana-1"))


def test_a_router_pod_is_kept_by_a_replica_set_of_a_routers_deployment() -> None:
    def owned(name: str, kind: str = "ReplicaSet") -> Object:
        return thing("x", names.ROLE_ROUTER, {"kind": kind, "name": name})

    assert is_router_pod(owned("shop-kt-router-5fdd44577f"))
    assert not is_router_pod(owned("shop-5fdd44577f"))
    assert not is_router_pod(owned("shop-kt-router-5fdd44577f", "Job"))
    assert not is_router_pod(thing("x", names.ROLE_ROUTER))
    assert not is_router_pod(thing("x", names.ROLE_SHADOW, {"kind": "ReplicaSet", "name": "shop-kt-router-5f"}))


def test_a_policy_names_itself_whoever_owns_it() -> None:
    itself = {"annotations": {names.SELF: "ktpy-router-1-in-deny"}}

    assert is_policy(thing("ktpy-router-1-in-deny", names.ROLE_POLICY, LEASE, **itself))
    assert is_policy(thing("ktpy-router-1-in-deny", names.ROLE_POLICY, {"kind": "Pod", "name": "x"}, **itself))
    assert is_policy(thing("ktpy-router-1-in-deny", names.ROLE_POLICY, **itself))
    assert not is_policy(thing("copy", names.ROLE_POLICY, LEASE, **itself))
    assert not is_policy(thing("ktpy-router-1-in-deny", names.ROLE_SHADOW, **itself))
    assert not is_policy({"metadata": {"name": "deny"}})
