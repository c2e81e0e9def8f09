"""What a session creates passes Pod Security *restricted*, is owned by its Lease, and copies nobody's labels."""

from __future__ import annotations

import pytest

from ktpy.model import manifests, names
from ktpy.model.manifests import Identity
from ktpy.model.names import SessionId
from ktpy.model.ports import PodPort
from ktpy.model.ref import Object, labels_of
from ktpy.model.shape import PodShape
from tests.fakes import things

ANA = SessionId("ana-1")
LEASE = things.stored(
    manifests.lease(Identity(ANA, "ana", "mbp-7", "exchange", "service/shop"), "team", "2026-01-01T00:00:00.000000Z")
)
FULL = PodShape(
    image="registry.example/ktpy-shadow:1", pull_secret="pull", service_account="dev", node_selector={"disk": "ssd"},
    labels={"team": "payments", names.SESSION: "stolen"}, annotations={"cost": "1", names.SELF: "stolen"},
)  # fmt: skip


def shadow(shape: PodShape, **wears: str) -> Object:
    ports = [PodPort(80, "web"), PodPort(9090)]
    return manifests.shadow_pod("shop-kt-1", ANA, LEASE, shape=shape, ports=ports, wears=wears)


SECRET = manifests.key_secret(ANA, LEASE, {"authorized_keys": "none"})
SHAPES = [PodShape(image="x"), FULL, PodShape(image="x", platform_picks_uid=True)]


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shadow_passes_pod_security_restricted(shape: PodShape) -> None:
    """kubernetes.io/docs/concepts/security/pod-security-standards, rule by rule."""
    spec = shadow(shape)["spec"]
    (container,) = spec["containers"]
    security = container["securityContext"]

    assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers", "ephemeralContainers"} & spec.keys()
    assert not any("hostPort" in port for port in container["ports"])
    assert {next(iter(volume.keys() - {"name"})) for volume in spec["volumes"]} <= {"secret", "emptyDir", "configMap"}
    assert {sysctl["name"] for sysctl in spec["securityContext"]["sysctls"]} <= {"net.ipv4.ip_unprivileged_port_start"}
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"].get("runAsUser", 1) != 0
    assert security["allowPrivilegeEscalation"] is False
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert security["readOnlyRootFilesystem"] is True
    assert "privileged" not in security


def test_the_platform_may_pick_the_uid() -> None:
    assert shadow(SHAPES[0])["spec"]["securityContext"]["runAsUser"] == names.SHADOW_UID
    assert not {"runAsUser", "runAsGroup", "fsGroup"} & shadow(SHAPES[2])["spec"]["securityContext"].keys()


@pytest.mark.parametrize("thing", [SECRET, shadow(FULL)])
def test_everything_is_born_with_role_session_and_owner(thing: Object) -> None:
    assert labels_of(thing)[names.SESSION] == ANA
    assert labels_of(thing)[names.ROLE] in (names.ROLE_KEY, names.ROLE_SHADOW)
    assert thing["metadata"]["ownerReferences"] == [
        {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "name": "ktpy-ana-1", "uid": "uid-1"}
    ]


def test_an_owner_never_blocks_evictions_or_deletions() -> None:
    (owner,) = manifests.owned_by(LEASE)

    assert not {"controller", "blockOwnerDeletion"} & owner.keys()


def test_our_marks_win_over_a_users_labels_and_over_the_selector() -> None:
    pod = shadow(FULL, app="kt-1", **{names.ROLE: "stolen"})

    assert labels_of(pod) == {
        "team": "payments", "app": "kt-1", names.ROLE: names.ROLE_SHADOW, names.SESSION: ANA,
    }  # fmt: skip
    assert pod["metadata"]["annotations"][names.SELF] == "shop-kt-1"
    assert pod["metadata"]["annotations"]["cost"] == "1"


def test_a_shadow_declares_each_port_name() -> None:
    assert shadow(FULL)["spec"]["containers"][0]["ports"] == [
        {"containerPort": 80, "protocol": "TCP", "name": "web"},
        {"containerPort": 9090, "protocol": "TCP"},
    ]


def test_a_shadow_looks_as_the_user_says() -> None:
    spec, plain = shadow(FULL)["spec"], shadow(SHAPES[0])["spec"]

    assert (spec["serviceAccountName"], spec["imagePullSecrets"]) == ("dev", [{"name": "pull"}])
    assert spec["nodeSelector"] == {"disk": "ssd"}
    assert not {"serviceAccountName", "imagePullSecrets", "nodeSelector"} & plain.keys()
    assert plain["automountServiceAccountToken"] is False


def test_the_secret_has_the_leases_name_so_that_nobody_has_to_list_secrets() -> None:
    assert SECRET["metadata"]["name"] == LEASE["metadata"]["name"] == names.lease_name(ANA)
    assert SECRET["immutable"] is True


def test_a_lease_says_who_where_and_what_for() -> None:
    assert LEASE["metadata"]["annotations"] == {
        names.OWNER: "ana", names.HOST: "mbp-7", names.MODE: "exchange", names.TARGET: "service/shop",
    }  # fmt: skip
    assert "ownerReferences" not in LEASE["metadata"]


def test_a_probed_shadow_is_ready_only_while_sshd_listens_for_the_laptop() -> None:
    ports = [PodPort(80, "web"), PodPort(9090)]
    pod = manifests.shadow_pod("x", ANA, LEASE, shape=SHAPES[0], ports=ports, wears={}, is_probed=True)

    (container,) = pod["spec"]["containers"]
    command = container["readinessProbe"]["exec"]["command"]
    assert command[:2] == ["sh", "-c"]
    assert all(f":{number:04X} [^ ]* 0A '" in command[2] for number in (80, 9090))
    assert "readinessProbe" not in shadow(FULL)["spec"]["containers"][0]


def test_a_lease_takes_notes() -> None:
    identity = manifests.Identity(ANA, "ana", "mbp-7", "scale", "service/shop")

    lease = manifests.lease(identity, "team", "now", notes={names.SCALED: "deployment/shop"})

    assert lease["metadata"]["annotations"][names.SCALED] == "deployment/shop"
    assert lease["metadata"]["annotations"][names.TARGET] == "service/shop"
