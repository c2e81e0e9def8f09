"""`clean`: give back everything that dead sessions, and a dead ktctl, left in a namespace."""

from __future__ import annotations

from collections.abc import Sequence

from ktpy import closing, passes, telling, undo
from ktpy.errors import KtError, Taken
from ktpy.kt import Kt
from ktpy.model import ktctl, names, ours
from ktpy.model.diversion import marked_by
from ktpy.model.liveness import Holder
from ktpy.model.ref import Object, annotations_of, labels_of, ref_of
from ktpy.undo import Report
from ktpy.upkeep import ktctl_left
from ktpy.upkeep.recover import Result


def dead(kt: Kt, older_than: float) -> list[Holder]:
    """The sessions without a heartbeat for OLDER_THAN seconds, without a Lease, or whose end was begun."""
    return [holder for holder in undo.sessions(kt.cluster) if undo.is_dead(holder, older_than)]


def clean(kt: Kt, sessions: Sequence[Holder], *, older_than: float, force: bool = False) -> list[Result]:
    """End SESSIONS; one that has come back to life meanwhile is left alone unless FORCE."""
    who = f"{kt.user.name} on {kt.user.host} (ktpy clean)"
    results = []
    for holder in sessions:
        try:
            report = undo.end(kt.cluster, holder, who, force=force, older_than=older_than, linger=kt.settings.linger)
            telling.ended(kt, holder, who)
        except Taken as error:
            report = Report(did=(f"left alone: {error.what}",))
        except KtError as error:  # the others are not to wait for this one
            report = Report(left=(error.what,))
        results.append(Result(str(holder), report))
    return results


def sweep(kt: Kt, *, older_than: float) -> list[Result]:
    """Rows of dead sessions struck, and routers ended that nobody keeps."""
    did = closing.sweep(
        kt.cluster,
        lambda session: undo.is_alive(kt.cluster, names.SessionId(session), older_than),
        linger=kt.settings.linger,
    )
    return [Result("routers", Report(did=(deed,))) for deed in did]


def dead_of_ktctl(kt: Kt) -> list[Object]:
    """The Services that a ktctl without a heartbeat still holds."""
    held = [service for service in kt.cluster.find("Service") if ktctl.holds(service)]
    return [service for service in held if ktctl_left.age(kt.cluster, service) >= ktctl.DEAD_SECONDS]


def clean_ktctl(kt: Kt, services: Sequence[Object]) -> list[Result]:
    return [Result(str(ref_of(service)), ktctl_left.give_back(kt.cluster, service)) for service in services]


def strangers(kt: Kt) -> list[str]:
    """What wears our marks by copy, a sentence each: it is left alone. Marks of ours name their own object."""
    pods = [pod for pod in kt.cluster.find("Pod", labels={names.ROLE: None}) if not _is_born_ours(pod)]
    services = [
        service
        for service in kt.cluster.find("Service")
        if marked_by(service) is None and not ours.is_stuntman(service) and not ours.is_preview(service)
    ]
    policies = [policy for policy in passes.labelled(kt.cluster) if not ours.is_policy(policy)]
    worn = [(thing, names.ROLE) for thing in (*pods, *policies)]
    worn += [(service, mark) for service in services if (mark := _mark_on(service))]
    return [f"{ref_of(thing)} wears {mark} but is not ktpy's: left alone" for thing, mark in worn]


def _is_born_ours(pod: Object) -> bool:
    session = names.SessionId(labels_of(pod).get(names.SESSION, ""))
    return ours.is_router_pod(pod) or undo.was_born_ours(pod, session)


def _mark_on(service: Object) -> str:
    if names.SESSION in labels_of(service):
        return names.SESSION
    return names.NOTE if names.NOTE in annotations_of(service) else ""
