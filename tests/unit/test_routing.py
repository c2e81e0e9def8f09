"""The routes in the cluster: read, changed under the ConfigMap's version, and pushed to router pods."""

from __future__ import annotations

import pytest

from ktpy import routing
from ktpy.errors import Forbidden, KtError, Taken
from ktpy.model import names, routes
from ktpy.model.ref import uid_of
from ktpy.model.routes import Routes
from ktpy.model.traffic import Traffic
from tests.fakes.api import NAMESPACE, FakeApi
from tests.fakes.meshes import TABLE, a_team, left_by, owners_in_pods, router_pods, table
from tests.fakes.run import Person, person


@pytest.fixture
def api() -> FakeApi:
    """A mesh of ana's in force."""
    return left_by("ana")


@pytest.fixture
def bob(api: FakeApi) -> Person:
    return person(api, "bob")


def struck(now: Routes) -> Routes:
    return routes.without(now, *now.sessions)


def test_no_configmap_and_one_of_somebody_else_are_no_routes(bob: Person) -> None:
    api = a_team()
    cluster = person(api).cluster
    assert routing.read(cluster, "shop") is None

    api.put({"kind": "ConfigMap", "metadata": {"name": TABLE, "namespace": NAMESPACE}, "data": {"a": "b"}})

    assert routing.read(cluster, "shop") is None
    assert not routing.is_table(api.read("ConfigMap", TABLE) or {})


def test_the_routes_are_read_as_they_were_written(api: FakeApi, bob: Person) -> None:
    found = routing.read(bob.cluster, "shop")

    assert found == table(api)
    assert routing.table_ref(bob.cluster, "shop") == bob.cluster.ref("ConfigMap", TABLE)
    assert routing.is_table(api.read("ConfigMap", TABLE) or {})


def test_a_change_that_changes_nothing_writes_nothing(bob: Person) -> None:
    before = routing.read(bob.cluster, "shop")

    assert routing.change(bob.cluster, "shop", lambda now: now) == before
    assert bob.wire.changes() == []


def test_a_change_of_what_is_not_there_is_none(bob: Person) -> None:
    assert routing.change(bob.cluster, "cart", struck) is None


def test_a_change_meets_what_others_wrote_in_between(api: FakeApi, bob: Person) -> None:
    seen: list[tuple[str, ...]] = []

    def how(now: Routes) -> Routes:
        seen.append(now.sessions)
        return routes.renewed(now)

    def somebody(deed: str) -> None:
        if deed.startswith("patch") and len(seen) == 1:
            routing.change(person(api, "eve").cluster, "shop", struck)

    bob.wire.before = somebody
    after = routing.change(bob.cluster, "shop", how)

    assert after is not None
    assert [len(sessions) for sessions in seen] == [1, 0]
    assert after.sessions == ()


def test_a_change_may_be_called_off_by_how_or_before_it_is_written(api: FakeApi, bob: Person) -> None:
    def refused(*_: object) -> Routes:
        raise Taken("no")

    for deed in (
        lambda: routing.change(bob.cluster, "shop", refused),
        lambda: routing.change(bob.cluster, "shop", struck, before=refused),
    ):
        with pytest.raises(Taken):
            deed()

    assert bob.wire.changes() == []


def test_pods_on_their_way_out_are_not_the_routers_any_more(api: FakeApi, bob: Person) -> None:
    router = table(api).router
    assert len(routing.pods(bob.cluster, router)) == 2
    assert routing.pods(bob.cluster, names.SessionId("router-other")) == []

    api.drains = True
    api.remove("Deployment", TABLE)

    assert routing.pods(bob.cluster, router) == []


def test_every_pod_is_told_and_who_has_it_is_known_by_uid(api: FakeApi, bob: Person) -> None:
    after = routing.change(bob.cluster, "shop", struck)
    assert after is not None

    told = routing.tell(bob.cluster, after, router_pods(api))

    assert told == routing.Told(frozenset(pod["metadata"]["uid"] for pod in router_pods(api)))
    assert owners_in_pods(api) == [(), ()]
    assert routing.tell(bob.cluster, after, []) == routing.Told()


def test_a_pod_that_has_a_newer_table_has_this_one_too(api: FakeApi, bob: Person) -> None:
    old = table(api)
    newer = routes.renewed(old)
    routing.tell(bob.cluster, newer, router_pods(api))

    assert routing.tell(bob.cluster, old, router_pods(api)).missing == {}
    assert {found.version for found in api.routers.tables.values()} == {newer.table.version}


def test_why_a_pod_has_not_got_it_is_said_by_its_name(api: FakeApi, bob: Person) -> None:
    first, second = router_pods(api)
    api.routers.down.add(first["metadata"]["uid"])
    gone = {"metadata": {"name": "gone", "uid": "u"}}

    told = routing.tell(bob.cluster, table(api), [first, second, gone])

    assert told.have == {second["metadata"]["uid"]}
    assert set(told.missing) == {first["metadata"]["name"], "gone"}
    assert "nobody listens" in told.missing[first["metadata"]["name"]]


@pytest.mark.parametrize("answer", [(409, "Another table"), (400, "The table is not JSON"), (500, "oh\n")])
def test_a_pod_that_refuses_has_not_got_it(
    api: FakeApi, bob: Person, monkeypatch: pytest.MonkeyPatch, answer: tuple[int, str]
) -> None:
    monkeypatch.setattr(
        api.routers, "asked", lambda pod, method, path, body: answer if method == "PUT" else (200, '{"version": null}')
    )

    assert set(routing.tell(bob.cluster, table(api), router_pods(api)).missing.values()) == {answer[1].strip()}


def test_whoever_may_not_speak_with_pods_is_told(api: FakeApi, bob: Person) -> None:
    bob.wire.rights -= {"create pods/portforward"}

    with pytest.raises(Forbidden):
        routing.tell(bob.cluster, table(api), router_pods(api))


def test_connections_are_counted_over_all_ports_and_none_where_nobody_says(
    api: FakeApi, bob: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    pod, told = router_pods(api)[0], table(api)
    assert routing.connections(bob.cluster, told, pod) == 1

    for said in ("", "[]", '{"ports": 1}', '{"ports": {"80": {}}}', '{"ports": {"80": {"connections": null}}}'):
        monkeypatch.setattr(api.routers, "asked", lambda *_, said=said: (200, said))
        assert routing.connections(bob.cluster, told, pod) == 0
    monkeypatch.setattr(
        api.routers, "asked", lambda *_: (200, '{"ports": {"1": {"connections": 2}, "2": {"connections": 3}}}')
    )
    assert routing.connections(bob.cluster, told, pod) == 5


def test_draining_is_asked_of_every_pod_and_a_failure_is_in_nobodys_way(api: FakeApi, bob: Person) -> None:
    first, second = router_pods(api)
    api.routers.down.add(first["metadata"]["uid"])

    routing.drain(bob.cluster, table(api), [first, second])

    assert api.routers.drained == {second["metadata"]["uid"]}


def test_a_table_that_somebody_has_broken_is_told(api: FakeApi, bob: Person) -> None:
    api.edit("ConfigMap", TABLE, lambda now: now["data"].update({routes.TABLE_KEY: "{}"}))

    with pytest.raises(KtError, match=f"configmap/{TABLE} holds no route table"):
        routing.read(bob.cluster, "shop")


def test_a_heartbeat_is_told_to_every_pod_and_answered_with_what_the_rows_carried(api: FakeApi, bob: Person) -> None:
    found = table(api)
    (session,) = found.sessions
    first, second = router_pods(api)
    api.routers.fallbacks[session] = 3
    api.routers.down.add(uid_of(second))

    assert routing.beat(bob.cluster, found, session, [first, second]) == [Traffic(fallbacks=3), None]
    assert api.routers.beats == {uid_of(first): [(session, names.DEAD_SECONDS)]}


def test_a_router_that_knows_no_heartbeats_is_no_failure(api: FakeApi, bob: Person, monkeypatch) -> None:
    monkeypatch.setattr(api.routers, "asked", lambda *_: (404, "There is no /heartbeat."))

    assert routing.beat(bob.cluster, table(api), table(api).sessions[0], router_pods(api)) == [None, None]
    bob.wire.rights -= {"create pods/portforward"}
    assert routing.beat(bob.cluster, table(api), table(api).sessions[0], router_pods(api)) == [None, None]
