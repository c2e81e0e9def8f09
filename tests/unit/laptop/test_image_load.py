"""A local cluster is known by its context's name, and loads an archive with its own tool."""

from pathlib import Path

import pytest

from ktpy.errors import KtError
from ktpy.laptop import image_load
from ktpy.laptop.image_load import LocalCluster

ARCHIVE = Path("/x.tar")


@pytest.mark.parametrize(
    ("context", "expected"),
    [
        ("kind-kind", LocalCluster("kind", "kind")),
        ("kind-two-words", LocalCluster("kind", "two-words")),
        ("k3d-dev", LocalCluster("k3d", "dev")),
        ("minikube", LocalCluster("minikube", "minikube")),
        ("microk8s", LocalCluster("microk8s", "microk8s")),
        ("docker-desktop", LocalCluster("docker", "docker-desktop")),
        ("orbstack", LocalCluster("docker", "orbstack")),
        ("colima", LocalCluster("docker", "colima")),
        ("ktpy", LocalCluster("script", "ktpy")),
        ("ktpy-two", LocalCluster("script", "two")),
        ("kind", None),
        ("kindergarten-prod", None),
        ("default", None),
        ("", None),
    ],
)
def test_local_clusters_are_known_by_their_contexts(context, expected):
    assert image_load.cluster_of(context) == expected


@pytest.mark.parametrize(
    ("cluster", "expected"),
    [
        (LocalCluster("kind", "dev"), "kind load image-archive /x.tar --name dev"),
        (LocalCluster("k3d", "dev"), "k3d image import /x.tar --cluster dev"),
        (LocalCluster("minikube", "minikube"), "minikube image load /x.tar --profile minikube"),
        (LocalCluster("microk8s", "microk8s"), "microk8s images import /x.tar"),
        (LocalCluster("docker", "docker-desktop"), "docker load --input /x.tar"),
        (LocalCluster("k3s", "k3s"), "k3s ctr images import /x.tar"),
        (LocalCluster("ctr", "ctr"), "ctr --namespace k8s.io images import /x.tar"),
        (LocalCluster("script", "ktpy"), "/s/cluster load --name ktpy /x.tar"),
    ],
)
def test_each_cluster_is_loaded_by_its_own_tool(cluster, expected):
    assert " ".join(image_load.load_command(cluster, ARCHIVE, script=Path("/s/cluster"))) == expected


def test_a_path_with_spaces_stays_one_word():
    command = image_load.load_command(LocalCluster("docker", "d"), Path("/a b/x.tar"), script=Path("/s"))

    assert command[-1] == "/a b/x.tar"


def test_an_unknown_cluster_is_sent_to_a_registry():
    with pytest.raises(KtError, match="'prod-eu' is no local cluster") as refused:
        image_load.expect_local("prod-eu")

    assert refused.value.try_[0].startswith("ktpy images push --prefix")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("kind", LocalCluster("kind", "kind")),
        ("k3d", LocalCluster("k3d", "k3s-default")),
        ("minikube:dev", LocalCluster("minikube", "dev")),
        ("script", LocalCluster("script", "ktpy")),
    ],
)
def test_a_cluster_can_be_said(text, expected):
    assert image_load.cluster_named(text) == expected


def test_a_kind_of_cluster_that_does_not_exist_is_refused():
    with pytest.raises(KtError, match="of kind 'kvm'"):
        image_load.cluster_named("kvm:x")


def test_the_cluster_script_is_the_environments_or_the_checkouts():
    assert image_load.cluster_script({"KTPY_CLUSTER_SCRIPT": "/x/cluster"}) == Path("/x/cluster")
    assert image_load.cluster_script({}).parts[-2:] == ("scripts", "cluster")


def test_our_test_cluster_says_beside_its_kubeconfig_where_its_script_is(tmp_path: Path) -> None:
    (tmp_path / "script").write_text("/elsewhere/scripts/cluster\n")

    assert image_load.cluster_script({}, str(tmp_path / "kubeconfig")) == Path("/elsewhere/scripts/cluster")
    assert image_load.cluster_script({}, "/nowhere/kubeconfig").name == "cluster"
