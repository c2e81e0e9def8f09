"""The namespace's policies seen, judged, and ours made; what each mode does with it its own tests say."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from ktpy import policing
from ktpy.errors import Conflict, Forbidden, KtError, Unreachable
from ktpy.model import names
from ktpy.model.events import Note, Step
from ktpy.model.front import Front
from ktpy.model.names import SessionId
from ktpy.model.policy_plan import Due, Walls
from ktpy.model.ports import PodPort, Route, ports_of
from ktpy.model.ref import Ref
from ktpy.session import Session
from tests.fakes import things
from tests.fakes.api import FakeApi
from tests.fakes.meshes import a_team, an_isolated_team, meshed, same, soon, table
from tests.fakes.run import Person, person

SHOP = Ref("Service", "shop", "team")
PORTS = ports_of(things.service(), [])
FRONT = Front(things.service(), PORTS, taken=[Route(PORTS[0], PodPort(8080), "127.0.0.1", 5000)])
WEARS = {"app": "kt-1", "tier": "kt-1"}


@pytest.fixture
def api() -> FakeApi:
    return an_isolated_team()


@pytest.fixture
def ana(api: FakeApi) -> Person:
    return person(api)


@contextlib.contextmanager
def session(user: Person) -> Iterator[Session]:
    with Session.open(user.kt, "exchange", SHOP) as found:
        yield found


def made(api: FakeApi) -> list[str]:
    return [name for name in api.names("NetworkPolicy") if name.startswith("ktpy-")]


def test_nothing_else_is_read_where_there_are_no_policies_or_they_may_not_be_listed(api: FakeApi) -> None:
    free, shut = person(a_team()), person(api)
    shut.wire.rights -= {"list networkpolicies.networking.k8s.io"}

    for user in (free, shut):
        assert policing.seen(user.kt, FRONT) == policing.seen_by_router(user.kt, FRONT) == Walls()
        assert policing.isolating(user.kt, {}) == []
        assert set(user.wire.calls) == {"list NetworkPolicy"}


def test_what_is_seen_are_the_policies_the_namespaces_labels_and_the_original_pods(api: FakeApi, ana: Person) -> None:
    api.put(things.pod("other", labels={"app": "other"}))

    walls = policing.seen(ana.kt, FRONT)

    assert [one["metadata"]["name"] for one in walls.policies] == ["cart", "deny", "shop"]
    assert walls.space == {"kubernetes.io/metadata.name": "team"}
    assert [pod["metadata"]["name"] for pod in walls.pods] == ["shop-1"]
    assert (walls.selector, walls.router) == (things.SELECTOR, None)
    template = things.deployment()["spec"]["template"]
    assert policing.seen(ana.kt, FRONT, original=template).pods == [template]


def test_the_selector_is_the_owners_while_a_router_has_the_service(api: FakeApi, ana: Person) -> None:
    with meshed(ana):
        walls = policing.seen_by_router(ana.kt, FRONT)

        assert walls.selector == things.SELECTOR
        assert walls.router is not None
        assert walls.router["metadata"]["labels"][names.SESSION] == table(api).router


def test_who_isolates_a_pod_is_told_by_name(ana: Person) -> None:
    assert policing.isolating(ana.kt, things.SELECTOR) == ["deny", "shop"]
    assert policing.isolating(ana.kt, {}) == ["deny"]


def test_a_refusal_says_why_and_where_to_look(ana: Person) -> None:
    with pytest.raises(KtError, match=r"namespace team stand in the way of service/shop: too lax\.") as refused:
        policing.must_admit(ana.kt, FRONT, Due(refuse="too lax."))

    assert refused.value.try_[0].startswith("kubectl -n team describe networkpolicies")


def test_rights_are_asked_for_only_where_something_is_due(api: FakeApi, ana: Person) -> None:
    ana.wire.rights = set()
    due = Due(make=(things.policy("ktpy-ana-1-shadow-in", {}),), words=("They would part it.",))

    policing.must_admit(ana.kt, FRONT, Due(words=("Beware.",)))
    assert ana.told == [Note("Beware.")]
    with pytest.raises(Forbidden, match=r"They would part it\. It takes networkpolicy/ktpy-ana-1-shadow-in\."):
        policing.must_admit(ana.kt, FRONT, due)


def test_a_shadow_that_is_to_have_the_service_is_let_in_once(api: FakeApi, ana: Person) -> None:
    before = same(api)
    with session(ana) as mine:
        policing.admit_shadow(mine, FRONT, WEARS)
        first = made(api)
        policing.admit_shadow(mine, FRONT, WEARS)

        assert first == made(api) == [f"ktpy-{mine.id}-out-cart", f"ktpy-{mine.id}-shadow-in"]
        assert [event for event in ana.told if isinstance(event, Step)] == [
            Step("policies", f"networkpolicy/ktpy-{mine.id}-shadow-in, networkpolicy/ktpy-{mine.id}-out-cart")
        ]

    assert same(api) == before


def test_a_router_that_is_being_ended_gets_nothing(api: FakeApi, ana: Person) -> None:
    with session(ana) as mine:
        policing.admit_router(mine, FRONT, SessionId("router-gone"))

    assert made(api) == []


def test_one_that_another_made_a_moment_before_is_as_good(api: FakeApi, ana: Person) -> None:
    def quicker(deed: str) -> None:
        if deed == "create NetworkPolicy":
            ana.wire.before = lambda deed: None
            ana.wire.fail_at(len(ana.wire.calls) + 1, Conflict("there"), when="before")

    with session(ana) as mine:
        ana.wire.before = quicker
        policing.admit_shadow(mine, FRONT, WEARS)

        assert len(made(api)) == 1


def test_keeping_says_once_what_stands_in_the_way_and_goes_on(
    api: FakeApi, ana: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(names, "HEARTBEAT_SECONDS", 0.001)
    tries: list[int] = []

    def admit() -> None:
        tries.append(1)
        if len(tries) < 4:
            raise Unreachable("no answer")

    with session(ana) as mine:
        policing.keep(mine, Walls(), admit)
        assert tries == []
        policing.keep(mine, Walls(policies=[{}]), admit)
        assert soon(lambda: len(tries) > 5, ana)

    assert [event for event in ana.told if isinstance(event, Note)] == [Note("no answer")]
