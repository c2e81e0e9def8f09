"""From the user's kubeconfig to an endpoint: address, TLS and fresh credentials."""

from __future__ import annotations

import ssl
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import yaml
from kubernetes import config
from kubernetes.client import Configuration
from kubernetes.client.rest import should_bypass_proxies
from kubernetes.config.kube_config import KUBE_CONFIG_DEFAULT_LOCATION

from ktpy.cluster.endpoint import Endpoint
from ktpy.errors import KtError

# The loader meets what is no kubeconfig at all with whatever breaks first.
_BROKEN = (config.ConfigException, OSError, yaml.YAMLError, ValueError, TypeError, AttributeError, KeyError)


@dataclass(frozen=True)
class Login:
    """The way in, the context's NAME and the NAMESPACE it names (`default` where it names none)."""

    endpoint: Endpoint
    context: str
    namespace: str


def login(kubeconfig: str | None, context: str | None) -> Login:
    """Read KUBECONFIG (a path, or several joined as in $KUBECONFIG; None: the default). Raises KtError."""
    try:
        contexts, current = config.list_kube_config_contexts(config_file=kubeconfig or KUBE_CONFIG_DEFAULT_LOCATION)
    except _BROKEN as error:
        raise KtError(
            f"No usable kubeconfig: {str(error).rstrip('.')}.", "ktpy --kubeconfig FILE …, or set KUBECONFIG"
        ) from error
    by_name = {entry["name"]: entry.get("context") or {} for entry in contexts}
    name = context or (current or {}).get("name", "")
    if name not in by_name:
        known = ", ".join(sorted(by_name)) or "none"
        raise KtError(
            f"There is no context '{name}' in the kubeconfig; it has: {known}.", "kubectl config get-contexts"
        )
    return Login(_endpoint(kubeconfig, name), name, by_name[name].get("namespace") or "default")


def _endpoint(kubeconfig: str | None, context: str) -> Endpoint:
    found = Configuration()
    # The loader writes certificates to files because ssl wants paths; they live only until the TLS context has them.
    with tempfile.TemporaryDirectory(prefix="ktpy-") as folder:
        try:
            config.load_kube_config(
                config_file=kubeconfig or KUBE_CONFIG_DEFAULT_LOCATION,
                context=context,
                client_configuration=found,
                persist_config=False,
                temp_file_path=folder,
            )
            tls = _tls(found) if found.host.startswith("https") else None
            url = urlsplit(found.host)
            port = url.port or (443 if tls else 80)
        except _BROKEN as error:
            raise KtError(f"Context {context} of the kubeconfig cannot be used: {error}.") from error
    return Endpoint(
        host=url.hostname or "localhost",
        port=port,
        path=url.path.rstrip("/"),
        tls=tls,
        server_name=found.tls_server_name,
        headers=lambda: _headers(found),
        proxy=None if found.proxy and should_bypass_proxies(found.host, found.no_proxy or "") else found.proxy,
    )


def _tls(found: Any) -> ssl.SSLContext:
    tls = ssl.create_default_context(cafile=found.ssl_ca_cert or None)
    if not found.verify_ssl:
        tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    # Kubernetes' own test and distribution CAs often lack what the strict flag of Python 3.13 demands.
    tls.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if found.cert_file:
        tls.load_cert_chain(found.cert_file, found.key_file)
    return tls


def _headers(found: Any) -> Mapping[str, str]:
    """Credentials as of now: the loader's hook renews what an exec plug-in or an identity provider gave."""
    token = found.auth_settings().get("BearerToken")
    return {"Authorization": token["value"]} if token and token["value"] else {}
