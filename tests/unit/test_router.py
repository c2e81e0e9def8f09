"""The router in front of a Service: found or opened, joined and left; what it is made of, and why it may not start."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from ktpy.errors import Interrupted, KtError, NotFound, Unreachable
from ktpy.model import ports
from ktpy.model.diversion import holder_of
from ktpy.model.events import Note, Step, Waiting
from ktpy.model.front import Front
from ktpy.model.ref import Ref
from ktpy.router import Router
from ktpy.session import Session
from ktpy_router.match import Condition
from ktpy_router.table import Row
from tests.fakes.api import FakeApi, never, no_image, ready
from tests.fakes.meshes import a_team, owners, owners_in_pods, same, service, table
from tests.fakes.run import Person, person

SHOP = Ref("Service", "shop", "team")
BEFORE = same(a_team())


@pytest.fixture
def api() -> FakeApi:
    return a_team()


@pytest.fixture
def ana(api: FakeApi) -> Person:
    return person(api, timeout=0.2)


class NoWait:
    def wait(self, seconds: float) -> bool:
        return False


def front(api: FakeApi) -> Front:
    return Front(service(api), ports.ports_of(service(api), []))


def row(session: Session, mark: str = "blue", to: str = "10.1.0.1:8080") -> Row:
    return Row(session.id, mark, session.id, 0, (Condition("header", "version", "exact", mark),), {8080: to})


@contextlib.contextmanager
def opened(user: Person) -> Iterator[tuple[Session, Router]]:
    with Session.open(user.kt, "mesh", SHOP) as session:
        yield session, Router(user.kt, session, front(user.wire.api))


@contextlib.contextmanager
def joined(user: Person, mark: str = "blue") -> Iterator[tuple[Session, Router]]:
    with (
        opened(user) as (session, shared),
        shared.joined(lambda: row(session, mark), knock=lambda: None, on_lost=lambda service: None),
    ):
        yield session, shared


# joined


def test_the_first_one_opens_it_and_the_second_finds_it(api: FakeApi, ana: Person) -> None:
    with joined(ana) as (first, shared), opened(person(api, "bob")) as (_, found):
        assert (shared.is_first, found.is_first) == (True, False)
        assert found.id == shared.id == table(api).router
        assert owners(api) == (first.id,)

    assert same(api) == BEFORE


def test_a_join_makes_it_serve_and_leaving_ends_it(api: FakeApi, ana: Person) -> None:
    with joined(ana) as (session, shared):
        assert owners_in_pods(api) == [(session.id,)] * 2
        assert holder_of(service(api)) == shared.id
        assert shared.routes == table(api)

    assert same(api) == BEFORE
    assert [event.name for event in ana.told if isinstance(event, Step)] == [
        "router", "routes", "switch", "follow", "give back",
    ]  # fmt: skip


@pytest.mark.parametrize(("kubelet", "why"), [
    (no_image, "cannot get its image localhost/ktpy-router:1: no such image anywhere"),
    (never, "has 0 of 2 pods ready after"),
    (lambda pod: {"phase": "Running", "containerStatuses": [{"state": {"waiting": {"reason": "CrashLoopBackOff"}}}]},
     "does not run: CrashLoopBackOff"),
])  # fmt: skip
def test_pods_that_do_not_start_are_told_with_the_reason_and_nothing_is_left(
    api: FakeApi, ana: Person, monkeypatch: pytest.MonkeyPatch, kubelet, why: str
) -> None:
    monkeypatch.setattr("ktpy.router.SLOW_SECONDS", 0.05)
    api.kubelet = kubelet

    with pytest.raises(KtError, match=why), joined(ana):
        pytest.fail("it does not run")

    assert same(api) == BEFORE


def test_slow_pods_are_waited_for_and_said(api: FakeApi, ana: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ktpy.router.SLOW_SECONDS", 0.01)
    api.kubelet = never
    user = person(api, "bob")

    def run_at_last() -> None:
        api.kubelet = ready
        for name in [name for name in api.names("Pod") if "kt-router" in name]:
            api.edit("Pod", name, lambda now: now.update(status=ready(now)))

    threading.Timer(0.1, run_at_last).start()
    with joined(user):
        said = [str(event) for event in user.told if isinstance(event, Waiting)]

    assert any("0/1 nodes are available" in text for text in said)


def test_ctrl_c_while_pods_start_ends_it(api: FakeApi, ana: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    api.kubelet = never
    threading.Timer(0.05, lambda: ana.kt.stop.ask("Ctrl-C")).start()

    with pytest.raises(Interrupted), joined(ana):
        pytest.fail("it does not run")

    assert same(api) == BEFORE


def test_a_pod_that_never_takes_the_routes_is_told_by_name(
    api: FakeApi, ana: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ktpy.router.PUSH_SECONDS", 0.05)
    monkeypatch.setattr(api.routers, "asked", lambda *_: (500, "a worker refused it"))

    with (
        pytest.raises(KtError, match=r"pod/shop-kt-router-.* does not take the routes: a worker refused it"),
        joined(ana),
    ):
        pytest.fail("it has no routes")

    assert same(api) == BEFORE


def test_nodes_that_do_not_follow_in_time_are_told_and_it_goes_on(
    api: FakeApi, ana: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ktpy.router.FOLLOW_SECONDS", 0.02)
    monkeypatch.setattr("ktpy.routing.connections", lambda *_: 0)

    with joined(ana):
        assert any(isinstance(event, Note) and "not yet seen" in event.text for event in ana.told)


def test_the_second_one_switches_a_service_that_the_first_one_never_switched(api: FakeApi, ana: Person) -> None:
    bob = person(api, "bob")
    with opened(ana) as (_, shared), joined(bob):
        assert holder_of(service(api)) == shared.id

    assert same(api) == BEFORE


def test_one_whose_service_is_deleted_meanwhile_is_refused(api: FakeApi, ana: Person) -> None:
    with opened(ana), opened(person(api, "bob")) as (session, shared):
        api.remove("Service", "shop")
        way = shared.joined(lambda: row(session), knock=lambda: None, on_lost=lambda service: None)
        with pytest.raises(NotFound), way:
            pytest.fail("there is nothing to join")


def test_one_whose_router_ends_meanwhile_joins_the_next(api: FakeApi, ana: Person) -> None:
    bob = person(api, "bob", timeout=0.2)
    with contextlib.ExitStack() as first:
        _, old = first.enter_context(joined(ana))
        with opened(bob) as (session, shared):
            first.close()
            with shared.joined(lambda: row(session), knock=lambda: None, on_lost=lambda service: None):
                assert shared.id != old.id
                assert owners_in_pods(api) == [(session.id,)] * 2
                assert holder_of(service(api)) == shared.id

    assert same(api) == BEFORE


def test_an_api_server_that_is_away_while_leaving_is_waited_for(
    api: FakeApi, ana: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ktpy.session.Stop", NoWait)
    away: list[str] = []

    def gone(deed: str) -> None:
        if not deed.endswith("Lease") and len(away) < 3:
            away.append(deed)
            raise Unreachable("no answer")

    with joined(ana):
        ana.wire.before = gone

    assert len(away) == 3
    assert same(api) == BEFORE


def test_more_replicas_are_all_waited_for(api: FakeApi) -> None:
    user = person(api)
    user = replace(user, kt=replace(user.kt, router=replace(user.kt.router, replicas=3)))

    with joined(user):
        assert len(owners_in_pods(api)) == 3
