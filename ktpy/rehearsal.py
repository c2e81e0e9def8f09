"""The objects of a session before there is one: for the server's dry run, and for `--dry-run`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from ktpy.kt import Kt
from ktpy.model import manifests, names, policy_plan
from ktpy.model.front import Front
from ktpy.model.names import SessionId
from ktpy.model.patch import difference
from ktpy.model.policy_plan import Due, Part
from ktpy.model.ports import PodPort
from ktpy.model.ref import Object, Ref, labels_of, ref_of
from ktpy.session import new_identity

Deed = tuple[str, Object, Object]
"""What is done, its object or patch, and what undoes it."""


@dataclass(frozen=True)
class Rehearsal:
    """What every session creates, with stand-ins for its keys and its Lease's uid. OWNER: the Lease as it would be."""

    session: SessionId
    owner: Object
    lease: Object
    secret: Object
    pod: Object

    @property
    def objects(self) -> tuple[Object, Object, Object]:
        """In the order of their creation."""
        return self.lease, self.secret, self.pod

    def part(self, front: Front) -> Part:
        """The shadow as NetworkPolicies will see it."""
        return policy_plan.shadow_part(self.session, self.owner, labels_of(self.pod), front)


def rehearsed(
    kt: Kt, mode: str, ref: Ref, ports: Sequence[PodPort], wears: Callable[[SessionId], Mapping[str, str]], *,
    notes: Mapping[str, str] | None = None, is_probed: bool = False,
) -> Rehearsal:  # fmt: skip
    """A session in MODE for REF, whose shadow opens PORTS and WEARS these labels; the others as they are made later."""
    identity = new_identity(kt, mode, ref)
    session = identity.session
    lease = manifests.lease(identity, kt.cluster.namespace, "2000-01-01T00:00:00.000000Z", notes=notes or {})
    owner = {**lease, "metadata": {**lease["metadata"], "uid": "00000000-0000-0000-0000-000000000000"}}
    keys = {"ssh_host_ed25519_key": "made at start", "authorized_keys": "made at start"}
    pod = manifests.shadow_pod(
        names.shadow_name(ref.name, mode, session), session, owner, shape=kt.shape, ports=ports, wears=wears(session),
        is_probed=is_probed,
    )  # fmt: skip
    return Rehearsal(session, owner, lease, manifests.key_secret(session, owner, keys), pod)


def creations(things: Iterable[Object]) -> list[Deed]:
    """Each of THINGS created, and deleted."""
    return [(f"create {ref_of(thing)}", thing, {"delete": str(ref_of(thing))}) for thing in things]


def admitting(due: Due) -> list[Deed]:
    """What is DUE for the namespace's NetworkPolicies; they end with the router or the session."""
    mended = [patching(old, {**old, "spec": new["spec"]}, old) for old, new in due.mend]
    dropped = [(f"delete {ref_of(old)}", {"delete": str(ref_of(old))}, old) for old in due.drop]
    return [*creations(due.make), *mended, *dropped]


def patching(before: Object, after: Object, back: Object) -> Deed:
    """BEFORE changed to AFTER, and AFTER to BACK."""
    there = {"patch": difference(before, after)}
    return f"patch {ref_of(before)}", there, {"patch": difference(after, back)}
