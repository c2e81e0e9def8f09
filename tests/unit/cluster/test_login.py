"""From a kubeconfig to an endpoint, or to a sentence that says what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from ktpy.cluster.login import login
from ktpy.errors import KtError

CONFIG = {
    "apiVersion": "v1",
    "kind": "Config",
    "current-context": "dev",
    "clusters": [
        {"name": "dev", "cluster": {"server": "http://10.0.0.1:8080/k8s/dev/"}},
        {"name": "tls", "cluster": {"server": "https://10.0.0.2", "insecure-skip-tls-verify": True,
                                    "tls-server-name": "api.example"}},
    ],
    "users": [{"name": "ana", "user": {"token": "secret"}}],
    "contexts": [
        {"name": "dev", "context": {"cluster": "dev", "user": "ana", "namespace": "team"}},
        {"name": "tls", "context": {"cluster": "tls", "user": "ana"}},
    ],
}  # fmt: skip


@pytest.fixture
def kubeconfig(tmp_path: Path) -> str:
    file = tmp_path / "config"
    file.write_text(yaml.safe_dump(CONFIG))
    return str(file)


def test_the_current_context_is_meant_where_none_is_named(kubeconfig: str) -> None:
    way = login(kubeconfig, None)

    assert (way.context, way.namespace) == ("dev", "team")
    assert (way.endpoint.host, way.endpoint.port, way.endpoint.path) == ("10.0.0.1", 8080, "/k8s/dev")
    assert way.endpoint.tls is None
    assert way.endpoint.headers() == {"Authorization": "Bearer secret"}


def test_a_named_context_has_its_own_server_and_the_default_namespace(kubeconfig: str) -> None:
    way = login(kubeconfig, "tls")

    assert (way.namespace, way.endpoint.port, way.endpoint.server_name) == ("default", 443, "api.example")
    assert way.endpoint.tls is not None
    assert way.endpoint.tls.check_hostname is False


def test_a_context_that_is_not_there_is_told_with_those_that_are(kubeconfig: str) -> None:
    with pytest.raises(KtError, match="no context 'prod'.*dev, tls"):
        login(kubeconfig, "prod")


def test_a_kubeconfig_that_is_not_there_or_broken_is_told(tmp_path: Path) -> None:
    with pytest.raises(KtError, match="No usable kubeconfig"):
        login(str(tmp_path / "none"), None)
    (tmp_path / "empty").write_text("")
    with pytest.raises(KtError):
        login(str(tmp_path / "empty"), None)


def test_a_certificate_that_is_not_there_is_told(tmp_path: Path) -> None:
    broken = {
        **CONFIG,
        "clusters": [{"name": "dev", "cluster": {"server": "https://x", "certificate-authority": "/no"}}],
    }
    file = tmp_path / "broken"
    file.write_text(yaml.safe_dump(broken))

    with pytest.raises(KtError, match="Context dev of the kubeconfig cannot be used"):
        login(str(file), "dev")


@pytest.mark.parametrize("text", ["{", "- a list", "clusters: 3\ncontexts: 4\ncurrent-context: x"])
def test_what_is_no_kubeconfig_at_all_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "odd").write_text(text)

    with pytest.raises(KtError):
        login(str(tmp_path / "odd"), None)


def test_a_server_with_a_port_that_is_none_is_told(tmp_path: Path) -> None:
    odd = {**CONFIG, "clusters": [{"name": "dev", "cluster": {"server": "http://10.0.0.1:lots"}}]}
    (tmp_path / "odd").write_text(yaml.safe_dump(odd))

    with pytest.raises(KtError, match="cannot be used"):
        login(str(tmp_path / "odd"), "dev")


def test_a_proxy_of_the_environment_is_not_for_what_no_proxy_names(
    kubeconfig: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://proxy.example:3128")
    monkeypatch.delenv("no_proxy", raising=False)
    assert login(kubeconfig, "dev").endpoint.proxy == "http://proxy.example:3128"

    monkeypatch.setenv("no_proxy", "10.0.0.0/8")
    assert login(kubeconfig, "dev").endpoint.proxy is None
