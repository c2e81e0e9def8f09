"""mitmproxy knows the mode, and still has everything that we lean on: look here first after an upgrade."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import pytest
from mitmproxy import addonmanager, certs, master, optmanager
from mitmproxy.addons import default_addons, proxyserver, view
from mitmproxy.proxy import layers, mode_servers, mode_specs
from mitmproxy.proxy.layers.http import HTTPMode
from mitmproxy.tools import cmdline, main
from mitmproxy.tools.dump import DumpMaster

from ktpy_router import mode, worker
from ktpy_router.mode import RouterInstance, RouterMode
from ktpy_router.settings import parse

PACKAGE = Path(mode.__file__).parent
OURS = ("mode.py", "worker.py", "life.py", "inspector.py")

PRIVATE: set[str] = set()
"""Names with an underscore that mitmproxy calls its own and we use: none, and it should stay so."""


def test_mitmproxy_finds_mode_and_instance_by_name():
    spec = mode_specs.ProxyMode.parse("router@8080")

    assert isinstance(spec, RouterMode)
    assert (spec.listen_port(), spec.transport_protocol) == (8080, "tcp")
    assert isinstance(mode_servers.ServerInstance.make(spec, proxyserver.Proxyserver()), RouterInstance)


def test_the_mode_takes_no_words():
    with pytest.raises(ValueError, match="no arguments"):
        mode_specs.ProxyMode.parse("router:x@8080")


@pytest.mark.parametrize("name", OURS)
def test_no_private_attribute_of_mitmproxy_is_used(name):
    private: set[str] = set()
    for node in ast.walk(ast.parse((PACKAGE / name).read_text())):
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
            owner = ast.unparse(node.value)
            private |= set() if owner in ("self", "cls") else {f"{owner}.{node.attr}"}

    assert private == PRIVATE


def test_what_we_lean_on_without_a_promise_is_there():
    """Public by name, and in no documentation."""
    assert list(inspect.signature(mode_servers.AsyncioServerInstance.listen).parameters) == ["self", "host", "port"]
    assert list(inspect.signature(main.mitmdump).parameters) == ["args"]
    assert list(inspect.signature(main.run).parameters) == ["master_cls", "make_parser", "arguments", "extra"]
    assert {"add", "chain"} <= set(dir(addonmanager.AddonManager)) | {"chain"}
    assert callable(master.Master.shutdown)
    assert callable(optmanager.OptManager.update)
    assert list(inspect.signature(view.View.remove).parameters) == ["self", "flows"]
    assert callable(cmdline.mitmweb)
    assert HTTPMode.transparent
    assert issubclass(DumpMaster, master.Master)
    assert list(inspect.signature(layers.HttpLayer.__init__).parameters) == ["self", "context", "mode"]
    assert "key_size" in inspect.signature(certs.CertStore.from_store).parameters
    assert proxyserver.Proxyserver in {type(addon) for addon in default_addons()}


def test_the_arguments_end_with_those_of_whoever_runs_the_router():
    settings = parse(["--table", "t", "--run-dir", "/r", "--", "--set", "flow_detail=4"])

    words = worker.arguments(settings, 1, (8080, 9090))

    assert words[-2:] == ["--set", "flow_detail=4"]
    assert [words[i + 1] for i, word in enumerate(words) if word == "--mode"] == ["router@8080", "router@9090"]
    assert "confdir=/r/mitmproxy-1" in words
