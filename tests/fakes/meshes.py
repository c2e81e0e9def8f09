"""People who share a Service by `mesh` over a FakeApi, and what must hold while they do."""

from __future__ import annotations

import contextlib
import functools
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

from ktpy import undo
from ktpy.model import marks, names, routes
from ktpy.model.diversion import holder_of, selector_of
from ktpy.model.names import CLEAN_SECONDS, SessionId
from ktpy.model.ref import Object, labels_of, uid_of
from ktpy.model.routes import Routes
from ktpy.model.target import Target
from ktpy.modes.link import Link
from ktpy.modes.mesh import Plan, looked, mesh
from ktpy.upkeep.clean import clean, dead, sweep
from ktpy.upkeep.recover import left_of
from tests.fakes import things
from tests.fakes.api import FakeApi
from tests.fakes.run import Person, essence, person

SHOP = Target("Service", "shop")
TABLE = names.router_name("shop")


def a_team() -> FakeApi:
    api = FakeApi()
    api.put(things.service())
    api.put(things.service("cart", selector={"app": "cart"}))
    api.put(things.pod("shop-1"))
    api.put(things.deployment())
    return api


def an_isolated_team() -> FakeApi:
    """The same where nobody may be called or call but as the team's policies say: the shop by the cart."""
    api = a_team()
    cart = [{"podSelector": {"matchLabels": {"app": "cart"}}}]
    web = [{"protocol": "TCP", "port": 8080}]
    api.put(things.policy("deny", {}, policyTypes=["Ingress", "Egress"]))
    api.put(things.policy("shop", {"matchLabels": things.SELECTOR}, ingress=[{"from": cart, "ports": web}]))
    to_shop = [{"podSelector": {"matchLabels": things.SELECTOR}}]
    api.put(things.policy("cart", {"matchLabels": {"app": "cart"}}, egress=[{"to": to_shop, "ports": web}]))
    return api


def plan_of(user: Person, mark: str | None = None) -> Plan:
    """USER's own requests, by the header `version`."""
    match = marks.match(mark, [], lambda: user.kt.user.name)
    return looked(user.kt, SHOP, (), match)


@contextlib.contextmanager
def meshed(user: Person, mark: str | None = None) -> Iterator[Link]:
    with mesh(user.kt, plan_of(user, mark)) as link:
        yield link


def whole_run(user: Person) -> None:
    """Look, join, beat once, and leave."""
    with meshed(user) as link:
        link.session.renew()


def left_by(*names_: str) -> FakeApi:
    """What kill -9 leaves of people whose meshes of one Service are in force."""
    return _left_by(names_).snapshot()


@functools.cache
def _left_by(names_: tuple[str, ...]) -> FakeApi:
    api = a_team()
    with contextlib.ExitStack() as stack:
        for name in names_:
            stack.enter_context(meshed(person(api, name)))
        return api.snapshot()


def cleaned(api: FakeApi, name: str = "eve", *, after: float = CLEAN_SECONDS + 40, alive: Link | None = None) -> None:
    """What a colleague's `ktpy clean` does, some minutes later; ALIVE has beaten meanwhile."""
    api.time += after
    if alive:
        alive.session.renew()
    kt = person(api, name).kt
    results = clean(kt, dead(kt, CLEAN_SECONDS), older_than=CLEAN_SECONDS)
    results += sweep(kt, older_than=CLEAN_SECONDS)
    assert not left_of(results)


def service(api: FakeApi) -> Object:
    found = api.read("Service", "shop")
    assert found is not None
    return found


def table(api: FakeApi) -> Routes:
    found = api.read("ConfigMap", TABLE)
    assert found is not None
    return routes.read(found)


def owners(api: FakeApi) -> tuple[str, ...]:
    """Whose rows there are; none where there is no table."""
    return table(api).sessions if api.read("ConfigMap", TABLE) else ()


def router_pods(api: FakeApi) -> list[Object]:
    """Those that are not going."""
    found = [api.read("Pod", name) or {} for name in api.names("Pod")]
    ours = [pod for pod in found if labels_of(pod).get(names.ROLE) == names.ROLE_ROUTER]
    return [pod for pod in ours if not pod["metadata"].get("deletionTimestamp")]


def owners_in_pods(api: FakeApi) -> list[tuple[str, ...]]:
    """The same as each router pod has it."""
    tables = [api.routers.tables.get(uid_of(pod)) for pod in router_pods(api)]
    return [tuple(row.owner for row in found.rows) if found else () for found in tables]


def is_meshed_for(api: FakeApi, *links: Link) -> bool:
    """The Service leads to a router, and the table and each of its pods have exactly the rows of LINKS."""
    wanted = tuple(link.session.id for link in links)
    pods = owners_in_pods(api)
    is_there = bool(pods) and all(set(found) == set(wanted) for found in [owners(api), *pods])
    return is_there and holder_of(service(api)) == table(api).router


def has_a_home(api: FakeApi, *originals: dict[str, str]) -> None:
    """Unmarked traffic reaches the originals: at once, or by a router of which everything is there."""
    selector = selector_of(service(api))
    if selector in (originals or (things.SELECTOR,)):
        return
    found = table(api)
    assert set(selector.values()) == {names.selector_value(found.router)}, "a generation that is gone"
    assert api.read("Deployment", TABLE), "no router pods"
    assert all(selector.items() <= labels_of(pod).items() for pod in router_pods(api))
    stunt = api.read("Service", names.stuntman_name("shop", found.router))
    assert stunt, "no stuntman"
    assert selector_of(stunt) in (originals or (things.SELECTOR,))
    assert {port.default for port in found.table.ports} == {f"{stunt['spec']['clusterIP']}:80"}


def has_no_row_of_the_dead(api: FakeApi) -> None:
    cluster = person(api, "judge").cluster
    assert [owner for owner in owners(api) if not undo.is_alive(cluster, SessionId(owner), CLEAN_SECONDS)] == []


def same(api: FakeApi) -> dict[str, Any]:
    """What does not differ between two clusters: no uids, addresses and times."""
    return plain(essence(api))


def plain(found: dict[str, Object]) -> dict[str, Any]:
    drop = ("uid", "creationTimestamp", "ownerReferences")
    return {
        name: {**thing, "metadata": {k: v for k, v in thing["metadata"].items() if k not in drop}}
        for name, thing in found.items()
    }


def still_the_same(api: FakeApi) -> dict[str, Any]:
    """As `essence`, but for what lives: heartbeats, and the table's version and its order of rows."""
    found = essence(api)
    for name, thing in found.items():
        if name == f"ConfigMap/{TABLE}":
            raw = json.loads(thing["data"][routes.TABLE_KEY])
            found[name] = {**thing, "data": {**thing["data"], routes.TABLE_KEY: {**raw, "version": 0}}}
        elif thing["kind"] == "Lease":
            found[name] = {**thing, "spec": {**thing["spec"], "renewTime": ""}}
    return found


def soon(fact: Callable[[], bool], user: Person, seconds: float = 5.0) -> bool:
    """Whether FACT holds within SECONDS; also one of which USER's run is not told."""
    until = time.monotonic() + seconds
    while not fact() and time.monotonic() < until:
        user.kt.stop.wait_for(fact, 0.005)
    return fact()
