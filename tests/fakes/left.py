"""What dead runs leave in a namespace: ktpy's own, and KT-Connect's."""

from __future__ import annotations

import json

from ktpy.model import ktctl
from ktpy.model.ref import Object
from ktpy.model.target import Target
from ktpy.modes.exchange import exchange, looked
from tests.fakes import things
from tests.fakes.api import FakeApi
from tests.fakes.run import person


def wreck_of(api: FakeApi, user: str = "ana", *, service: str = "shop", after: float = 400.0) -> FakeApi:
    """API as an exchange of SERVICE leaves it that was killed AFTER seconds ago."""
    if service not in api.names("Service"):
        api.put(things.service(service))
    kt = person(api, user).kt
    with exchange(kt, looked(kt, Target("Service", service), ())):
        wreck = api.snapshot()
    wreck.time += after
    return wreck


def ktctl_on(api: FakeApi, *, beat: float, service: str = "shop", config: str = "") -> Object:
    """SERVICE exchanged by a ktctl that beat last at BEAT."""
    if service not in api.names("Service"):
        api.put(things.service(service))
    wears = {"control-by": "kt", "kt-role": "exchange-shadow", "kt-target": service}
    notes = {ktctl.CONFIG: config or f"service={service}", ktctl.BEAT: str(int(beat))}
    api.put(things.pod(f"{service}-kt-x1", labels=wears, annotations=notes))

    def divert(now: Object) -> None:
        now["metadata"]["annotations"] = {ktctl.SELECTOR: json.dumps(now["spec"]["selector"])}
        now["spec"]["selector"] = {"kt-role": "exchange-shadow", "kt-target": service}

    return api.edit("Service", service, divert)
