"""`birdseye` says who has what, since when, whether they live, and what the routers carry."""

from __future__ import annotations

import dataclasses
import json

import pytest

from ktpy.model import names, overview
from ktpy.model.marks import match
from ktpy.model.names import ROLE, SESSION
from ktpy.model.overview import Line
from ktpy.model.ref import Object
from ktpy.model.target import Target
from ktpy.model.traffic import Traffic
from ktpy.modes.mesh import looked, mesh
from ktpy.upkeep import birdseye as module
from ktpy.upkeep.birdseye import birdseye
from tests.fakes import things
from tests.fakes.api import FakeApi, ready
from tests.fakes.left import ktctl_on, wreck_of
from tests.fakes.routers import Routers
from tests.fakes.run import person


class Counting(Routers):
    """Each router pod says STATS."""

    stats: Object = {"rows": {}, "ports": {"8080": {"connections": 1, "default": {"requests": 20}}}, "down": {}}

    def asked(self, pod: Object, method: str, path: str, body: str) -> tuple[int, str]:
        if (method, path) == ("GET", "/stats") and super().asked(pod, method, path, body):
            return 200, json.dumps(self.stats)
        return super().asked(pod, method, path, body)


def meshed(api: FakeApi, *users: str) -> FakeApi:
    """What USERS leave who were killed while they shared the Service."""
    for name in ("shop", "cart"):
        api.put(things.service(name))
    api.put(things.pod("shop-1"))
    api.kubelet = lambda pod: {**ready(pod), "podIP": "10.0.0.9"}
    api.routers = Counting()
    wreck = api
    for user in users:
        kt = person(wreck, user).kt
        marks = match(f"version:{user}", [], str)
        with mesh(kt, looked(kt, Target("Service", "shop"), (), marks)):
            wreck = wreck.snapshot()
    return wreck


def line_of(lines: list[Line], name: str = "shop") -> Line:
    (line,) = [line for line in lines if line.target == f"service/{name}"]
    return line


def test_a_service_that_nobody_has_is_natural(api: FakeApi) -> None:
    api.put(things.service("cart"))

    assert line_of(birdseye(person(api).kt), "cart") == Line("service/cart", overview.NATURAL)


def test_a_direct_exchange_names_its_holder_with_his_age(api: FakeApi) -> None:
    line = line_of(birdseye(person(wreck_of(api, after=5), "bob").kt))

    (share,) = line.shares
    assert (line.status, share.owner, share.host, share.state) == ("exchanged", "ana", "ana-laptop", "alive")
    assert (share.for_seconds, share.seen_seconds) == (5.0, 5.0)


def test_a_silent_holder_is_told(api: FakeApi) -> None:
    assert line_of(birdseye(person(wreck_of(api, after=40)).kt)).shares[0].state == "silent"


def test_a_service_whose_session_has_no_lease_is_abandoned(api: FakeApi) -> None:
    wreck = wreck_of(api)
    wreck.remove("Lease", wreck.names("Lease")[0], orphan=True)

    line = line_of(birdseye(person(wreck).kt))

    assert (line.status, line.shares[0].state, line.shares[0].seen_seconds) == ("abandoned", "ended", None)


def test_a_session_that_has_nothing_yet_stands_under_its_service(api: FakeApi) -> None:
    wreck = wreck_of(api, after=1)
    wreck.edit("Service", "shop", lambda now: now["spec"].update(selector=dict(things.SELECTOR)))

    line = line_of(birdseye(person(wreck).kt))

    assert (line.status, [(share.owner, share.route) for share in line.shares]) == ("natural", [("ana", "")])


def test_a_session_whose_service_is_gone_has_a_line_of_its_own(api: FakeApi) -> None:
    wreck = wreck_of(api, after=1)
    wreck.remove("Service", "shop")

    line = line_of(birdseye(person(wreck).kt))

    assert (line.status, line.shares[0].owner) == ("gone", "ana")


def test_ktctls_hold_is_shown(api: FakeApi) -> None:
    ktctl_on(api, beat=api.time - 60)
    ktctl_on(api, beat=api.time - 600, service="old")
    lines = birdseye(person(api).kt)

    assert [(line.status, line.shares[0].state, line.seen_seconds) for line in lines] == [
        ("ktctl", "silent", 600.0), ("ktctl", "alive", 60.0),
    ]  # fmt: skip


def test_a_shared_service_has_a_share_for_each_row_and_no_line_for_the_stuntman() -> None:
    wreck = meshed(FakeApi(), "ana", "bob")
    lines = birdseye(person(wreck).kt)

    assert sorted(line.target for line in lines) == ["service/cart", "service/shop"]
    line = line_of(lines)
    assert line.status == "meshed"
    assert [(share.owner, share.match, share.health) for share in line.shares] == [
        ("ana", "version: ana", "up"), ("bob", "version: bob", "up"),
    ]  # fmt: skip
    assert line.router is not None
    assert (len(line.router.pods), dict(line.router.silent), line.router.closing) == (2, {}, "")


def test_counters_are_summed_over_the_router_pods() -> None:
    wreck = meshed(FakeApi(), "ana")
    session = line_of(birdseye(person(wreck).kt)).shares[0].session
    row = {"requests": 3, "fallbacks": 1, "errors": 0, "open": 2}
    wreck.routers.stats = {**Counting.stats, "rows": {session: row}, "down": {"10.0.0.9:8080": 1}}  # type: ignore[attr-defined]

    line = line_of(birdseye(person(wreck).kt))

    assert line.rest == Traffic(40)
    assert (line.shares[0].traffic, line.shares[0].health) == (Traffic(6, 2, 0, 4), "down")


def test_a_router_pod_that_does_not_answer_is_said_and_the_others_count() -> None:
    wreck = meshed(FakeApi(), "ana")
    (first, _) = [n for n in wreck.names("Pod") if "router" in n]
    wreck.routers.down.add((wreck.read("Pod", first) or {})["metadata"]["uid"])

    line = line_of(birdseye(person(wreck).kt))

    assert line.router is not None
    assert dict(line.router.silent) == {first: f"pod/{first}: nobody listens."}
    assert line.rest == Traffic(20)


@pytest.mark.parametrize("answer", [(503, "not now"), (200, "what?")])
def test_an_answer_that_makes_no_sense_is_said(answer: tuple[int, str]) -> None:
    wreck = meshed(FakeApi(), "ana")
    wreck.routers.asked = lambda *_: answer  # type: ignore[method-assign]

    line = line_of(birdseye(person(wreck).kt))

    assert line.router is not None
    assert len(line.router.silent) == 2
    assert (line.rest, line.shares[0].traffic) == (None, None)


def test_a_router_pod_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    wreck = meshed(FakeApi(), "ana")
    monkeypatch.setattr(module, "ASK_SECONDS", 0.05)
    user = person(wreck)
    hangs = user.kt.stop

    def hang(deed: str) -> None:
        if deed.startswith("ask"):
            hangs.wait(5.0)

    user.wire.before = hang
    line = line_of(birdseye(user.kt))
    hangs.ask("test over")

    assert line.router is not None
    assert set(line.router.silent.values()) == {"no answer within 0 s"}


def test_a_table_that_cannot_be_read_fails_nothing() -> None:
    wreck = meshed(FakeApi(), "ana")
    wreck.edit("ConfigMap", "shop-kt-router", lambda now: now["data"].update({"router.json": "nonsense"}))

    line = line_of(birdseye(person(wreck).kt))

    assert line.status == "meshed"
    assert line.router is not None
    assert "holds no route table" in line.router.why
    assert [share.route for share in line.shares] == [""]


def test_a_router_without_its_table_is_abandoned() -> None:
    wreck = meshed(FakeApi(), "ana")
    wreck.remove("ConfigMap", "shop-kt-router")

    assert line_of(birdseye(person(wreck).kt)).status == "abandoned"


def test_a_preview_is_shown_as_one(api: FakeApi) -> None:
    wreck = wreck_of(api, after=1)
    (lease,) = wreck.names("Lease")
    session = lease.removeprefix("ktpy-")
    uid = (wreck.read("Lease", lease) or {})["metadata"]["uid"]
    owner = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "name": lease, "uid": uid}
    labels = {ROLE: names.ROLE_PREVIEW, SESSION: session}
    wreck.put({**things.service(), "metadata": {"name": "web", "labels": labels, "ownerReferences": [owner]}})
    notes = {names.TARGET: "service/web", names.MODE: "preview"}
    wreck.edit("Lease", lease, lambda now: now["metadata"]["annotations"].update(notes))
    wreck.edit("Service", "shop", lambda now: now["spec"].update(selector=dict(things.SELECTOR)))

    line = line_of(birdseye(person(wreck).kt), "web")

    assert (line.status, [(share.owner, share.match) for share in line.shares]) == (
        "previewed", [("ana", "all requests")],
    )  # fmt: skip


def test_lines_are_plain_values_for_json() -> None:
    for line in birdseye(person(meshed(FakeApi(), "ana")).kt):
        assert json.loads(json.dumps(dataclasses.asdict(line)))["target"] == line.target
