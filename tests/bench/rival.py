"""The hand-made rival: `kubectl port-forward` and OpenSSH `ssh -R`, to a shadow pod like ours."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
from collections.abc import Iterator

from ktpy import __version__
from ktpy.model import manifests, names
from ktpy.model.image import IMAGES, reference
from ktpy.model.names import SessionId
from ktpy.model.ports import PodPort
from ktpy.model.shape import PodShape
from ktpy.net.keys import SessionKeys
from tests.e2e.harness.people import Person
from tests.e2e.harness.space import Space
from tests.e2e.harness.until import until

POD_PORT = 8080
SERVICE = "rival"


def _deploy(space: Space, keys: SessionKeys) -> None:
    """Shadow pod and Secret as ktpy makes them, without a session, and a Service that points there."""
    lease = {"metadata": {"name": "none", "namespace": space.name, "uid": "none"}}
    session = SessionId("bench-rival")
    files = {"ssh_host_ed25519_key": keys.host_private, "authorized_keys": keys.authorized_line([POD_PORT]) + "\n"}
    secret = manifests.key_secret(session, lease, files)
    shape = PodShape(image=reference("", IMAGES["shadow"].name, __version__))
    wears = {"app": SERVICE}
    pod = manifests.shadow_pod(SERVICE, session, lease, shape=shape, ports=[PodPort(POD_PORT)], wears=wears)
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": SERVICE},
        "spec": {"selector": wears, "ports": [{"port": 80, "targetPort": POD_PORT}]},
    }
    for thing in (secret, pod, service):
        thing["metadata"].pop("ownerReferences", None)
        (thing["metadata"].get("labels") or {}).pop(names.ROLE, None)
    space.apply(secret, pod, service)
    space.kubectl("wait", f"pod/{SERVICE}", "--for=condition=Ready", "--timeout=60s")


@contextlib.contextmanager
def standing(space: Space, person: Person, laptop_port: int) -> Iterator[str]:
    """The rival's Service answered by LAPTOP_PORT; gives its URL."""
    keys = SessionKeys.make()
    _deploy(space, keys)
    key = space.folder / "rival-key"
    key.write_text(keys.client_private)
    key.chmod(0o600)
    kubectl_copy = person.home / "kubectl"  # the cache it lies in is root's alone
    shutil.copy(space.node.kubectl_words[0], kubectl_copy)
    forward = person.command(
        str(kubectl_copy), "-n", space.name, "port-forward", f"pod/{SERVICE}", f":{names.SSH_PORT}"
    )
    with contextlib.ExitStack() as stack:
        kubectl = stack.enter_context(subprocess.Popen(forward, stdout=subprocess.PIPE, text=True))
        stack.callback(kubectl.terminate)
        assert kubectl.stdout
        found = re.search(r"127\.0\.0\.1:(\d+)", kubectl.stdout.readline())
        assert found, "kubectl port-forward does not start"
        # As root: ssh wants a passwd entry, which the laptop's users have none of.
        words = [
            "ssh", "-N", "-i", str(key), "-p", found[1], "-c", "aes128-gcm@openssh.com",
            "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "ExitOnForwardFailure=yes",
            "-o", "LogLevel=ERROR", "-R", f"*:{POD_PORT}:127.0.0.1:{laptop_port}", f"{names.SSH_USER}@127.0.0.1",
        ]  # fmt: skip
        tunnel = stack.enter_context(subprocess.Popen(space.node.laptop(words, person.environment(), uid=0)))
        stack.callback(tunnel.terminate)
        url = f"http://{SERVICE}/"
        until(
            lambda: json.dumps(space.client().load(url, "--count", "1").answers) != "{}",
            "the rival answers",
            seconds=20,
        )
        yield url
