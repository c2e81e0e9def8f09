"""Where the API server keeps an object."""

from __future__ import annotations

import pytest

from ktpy.model.ref import KINDS, Ref, annotations_of, collection, labels_of, path, ref_of, uid_of


@pytest.mark.parametrize(
    ("ref", "where"),
    [
        (Ref("Service", "shop", "team"), "/api/v1/namespaces/team/services/shop"),
        (Ref("Lease", "x", "team"), "/apis/coordination.k8s.io/v1/namespaces/team/leases/x"),
        (Ref("Namespace", "team", ""), "/api/v1/namespaces/team"),
    ],
)
def test_an_object_has_a_path(ref: Ref, where: str) -> None:
    assert path(ref) == where


def test_a_kind_can_be_listed_everywhere() -> None:
    assert collection("Pod", None) == "/api/v1/pods"
    assert collection("SelfSubjectAccessReview", "team") == "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


def test_a_ref_is_what_users_type() -> None:
    assert str(Ref("StatefulSet", "db", "team")) == "statefulset/db"


def test_an_objects_ref_labels_annotations_and_uid_are_read() -> None:
    bare = {"kind": "Pod", "metadata": {"name": "x", "uid": "u", "labels": None}}

    assert ref_of(bare) == Ref("Pod", "x", "")
    assert (labels_of(bare), annotations_of(bare), uid_of(bare)) == ({}, {}, "u")


def test_every_kind_has_its_own_place() -> None:
    assert len(set(KINDS.values())) == len(KINDS)
