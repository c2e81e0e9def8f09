"""`doctor`: everything that could stand in the way in this namespace, each Ok, Warn or Bad with what to do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from ktpy import undo
from ktpy.errors import Forbidden, KtError, NotFound
from ktpy.kt import Kt
from ktpy.model.liveness import Life
from ktpy.model.podstate import is_ready
from ktpy.model.ports import PodPort
from ktpy.model.ref import Object, Ref, ref_of
from ktpy.model.rights import SOMETIMES, rights
from ktpy.permission import lacking
from ktpy.rehearsal import rehearsed
from ktpy.upkeep import clean

CLOCK_SECONDS = 60.0


@dataclass(frozen=True)
class Finding:
    """CHECK came out as VERDICT (ok, warn, bad); DO is what helps."""

    check: str
    verdict: str
    found: str
    do: str = ""


def doctor(kt: Kt) -> list[Finding]:
    """Run all checks; one that fails is a finding, and the next one goes on."""
    return [_safely(name, check, kt) for name, check in CHECKS]


def _safely(name: str, check: Callable[[Kt], Finding], kt: Kt) -> Finding:
    try:
        return check(kt)
    except KtError as error:
        return Finding(name, "bad", error.what, "; ".join(error.try_))


def _server(kt: Kt) -> Finding:
    started = time.monotonic()
    kt.cluster.now()
    return Finding("api server", "ok", f"answers in {(time.monotonic() - started) * 1000:.0f} ms")


def _rights(kt: Kt) -> Finding:
    wanted = rights()
    if missing := lacking(kt.cluster, wanted):
        verdict = "warn" if all(right.resource in SOMETIMES for right in missing) else "bad"
        found = f"missing: {', '.join(map(str, missing))}"
        return Finding("rights", verdict, found, "ktpy doctor --print-role | kubectl apply -f -")
    return Finding("rights", "ok", f"all {len(wanted)} of the published Role")


def _secrets(kt: Kt) -> Finding:
    from ktpy.model.rights import Right

    read = [verb for verb in ("get", "list") if kt.cluster.may(Right(verb, "", "secrets"))]
    if read:
        return Finding(
            "secrets", "warn", f"this user may {' and '.join(read)} Secrets; ktpy never does", "use the published Role"
        )
    return Finding("secrets", "ok", "this user cannot read Secrets, and need not")


def _things(kt: Kt) -> tuple[Object, Object]:
    made = rehearsed(kt, "doctor", Ref("Service", "check", kt.cluster.namespace), [PodPort(80)], lambda session: {})
    return made.lease, made.pod


def _admission(kt: Kt) -> Finding:
    """Pod Security, quota, limits and policies have their say in a server-side dry run."""
    for thing in _things(kt):
        try:
            kt.cluster.create(thing, dry_run=True)
        except Forbidden as error:
            return Finding("admission", "bad", error.what, "; ".join(error.try_))
    return Finding("admission", "ok", "a shadow pod passes Pod Security, quota and limits (dry run)")


def _security(kt: Kt) -> Finding:
    try:
        namespace = kt.cluster.get(Ref("Namespace", kt.cluster.namespace, ""))
    except Forbidden:
        return Finding("pod security", "ok", "not readable for this user; the shadow is made for *restricted*")
    if namespace is None:
        raise NotFound(f"There is no namespace {kt.cluster.namespace}.", "kubectl get namespaces")
    level = (namespace["metadata"].get("labels") or {}).get("pod-security.kubernetes.io/enforce", "not enforced")
    return Finding("pod security", "ok", f"{level}; the shadow is made for *restricted*")


def _quota(kt: Kt) -> Finding:
    try:
        quotas = kt.cluster.find("ResourceQuota")
    except Forbidden:
        return Finding("quota", "ok", "not readable for this user; the dry run asks it")
    tight = [
        f"{quota['metadata']['name']}: {key} {quota['status'].get('used', {}).get(key)}/{hard}"
        for quota in quotas
        for key, hard in (quota.get("status") or {}).get("hard", {}).items()
        if quota["status"].get("used", {}).get(key) == hard
    ]
    if tight:
        return Finding("quota", "warn", f"used up: {', '.join(tight)}", "free some, or ask for more")
    return Finding("quota", "ok", f"{len(quotas)} quotas, none used up")


def _image(kt: Kt) -> Finding:
    """Whether a node has the image only a pod can tell; what can be said is where it would come from."""
    image = kt.shape.image
    if image.startswith("localhost/"):
        return Finding(
            "image",
            "warn",
            f"{image} must be in the nodes' own store",
            "ktpy images build && ktpy images load, or ktpy images push --prefix REGISTRY/PATH",
        )
    return Finding("image", "ok", f"{image}, policy {kt.shape.pull_policy}")


def _port_forward(kt: Kt) -> Finding:
    """A real one, to a pod that runs: what lies between here and the API server may not let a WebSocket pass."""
    pods = [ref_of(pod).name for pod in kt.cluster.find("Pod") if is_ready(pod)]
    if not pods:
        return Finding("port-forward", "ok", "no pod runs here to try it with")
    started = time.monotonic()
    asyncio.run(_open_and_close(kt, pods[0]))
    return Finding("port-forward", "ok", f"opened to pod/{pods[0]} in {(time.monotonic() - started) * 1000:.0f} ms")


async def _open_and_close(kt: Kt, pod: str) -> None:
    """Nothing is sent; that nobody listens on that port there is told only later, and does not matter."""
    stream, _ = await kt.dial(pod)(asyncio.Protocol)
    assert isinstance(stream, asyncio.Transport)
    stream.abort()


def _clock(kt: Kt) -> Finding:
    off = kt.laptop.clock() - kt.cluster.now()
    if abs(off) > CLOCK_SECONDS:
        return Finding(
            "clock",
            "warn",
            f"this laptop is {off:+.0f} s off the server",
            "harmless to ktpy, which goes by the server's stamps; not to TLS",
        )
    return Finding("clock", "ok", f"within {max(1.0, abs(off)):.0f} s of the server")


def _leftovers(kt: Kt) -> Finding:
    holders = undo.sessions(kt.cluster)
    dead = [holder for holder in holders if holder.life is not Life.ALIVE]
    of_ktctl = clean.dead_of_ktctl(kt)
    if dead or of_ktctl:
        return Finding(
            "leftovers",
            "warn",
            f"{len(dead)} dead sessions, {len(of_ktctl)} Services of a dead ktctl",
            "ktpy clean --older-than 32",
        )
    return Finding("leftovers", "ok", f"none; {len(holders)} living sessions")


CHECKS: tuple[tuple[str, Callable[[Kt], Finding]], ...] = (
    ("api server", _server),
    ("rights", _rights),
    ("secrets", _secrets),
    ("admission", _admission),
    ("pod security", _security),
    ("quota", _quota),
    ("image", _image),
    ("port-forward", _port_forward),
    ("clock", _clock),
    ("leftovers", _leftovers),
)
