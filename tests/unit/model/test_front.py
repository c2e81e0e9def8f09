"""The Service in front: what pods listen on, and how it is led to a router."""

from __future__ import annotations

import pytest

from ktpy.errors import KtError, Taken
from ktpy.model import names, ports
from ktpy.model.diversion import diverted as diverted_by
from ktpy.model.diversion import holder_of, selector_of
from ktpy.model.front import Front, diverted, wears
from ktpy.model.names import SessionId
from tests.fakes import things
from tests.fakes.api import FakeApi
from tests.fakes.meshes import a_team, service


@pytest.fixture
def api() -> FakeApi:
    return a_team()


def front(api: FakeApi) -> Front:
    return Front(service(api), ports.ports_of(service(api), []))


def test_a_front_knows_its_service_and_what_pods_listen_on(api: FakeApi) -> None:
    udp = {**things.port(53), "protocol": "UDP"}
    api.edit("Service", "shop", lambda now: now["spec"]["ports"].append(udp))
    found = front(api)

    assert (found.name, str(found.ref)) == ("shop", "service/shop")
    assert found.listens == {80: 8080}
    value = names.selector_value("router-1")
    assert wears(found, SessionId("router-1")) == {"app": value, "tier": value}


def test_a_service_is_diverted_to_a_router_unless_another_has_it_or_its_keys_changed(api: FakeApi) -> None:
    found, mine = front(api), SessionId("router-1")

    once = diverted(found, service(api), mine)
    half = {**once, "spec": {**once["spec"], "selector": {**selector_of(once), "app": "v2"}}}

    assert holder_of(once) == mine
    assert diverted(found, once, mine) == once
    assert '"was": {"app": "v2", "tier": "web"}' in str(diverted(found, half, mine))
    with pytest.raises(Taken, match="taken by session bob-1 a moment ago"):
        diverted(found, diverted_by(service(api), SessionId("bob-1"), "kt-b"), mine)
    with pytest.raises(KtError, match="another selector meanwhile"):
        diverted(found, {**once, "spec": {"selector": {"app": "shop"}}}, mine)


def test_one_without_a_router_has_the_ports_that_are_taken(api: FakeApi) -> None:
    routes = ports.resolve([ports.Expose(5000)], "shop", ports.ports_of(service(api), []))

    found = Front.alone(service(api), routes)

    assert (found.listens, list(found.ports), found.taken) == ({80: 8080}, [routes[0].service], routes)
