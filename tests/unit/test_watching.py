"""A view shows what is there, hears of every change, and heals."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from ktpy.errors import Forbidden, Unreachable
from ktpy.watching import View
from ktpy.workers import Workers
from tests.fakes import things
from tests.fakes.api import FakeApi
from tests.fakes.run import Person, person, still


@contextlib.contextmanager
def viewed(user: Person, **how: object) -> Iterator[View]:
    with Workers(user.kt.stop) as workers:
        view = View(user.cluster, workers, "Service", **how)  # type: ignore[arg-type]
        assert still(lambda: view.is_complete or user.kt.stop.is_asked, user.kt.stop)
        yield view


def test_a_view_shows_what_is_there_and_what_comes_and_goes(api: FakeApi) -> None:
    api.put(things.service("shop"))
    user = person(api)

    with viewed(user) as view:
        assert set(view.objects) == {"shop"}
        api.put(things.service("cart"))
        assert still(lambda: set(view.objects) == {"shop", "cart"}, user.kt.stop)
        api.remove("Service", "shop")
        assert still(lambda: set(view.objects) == {"cart"}, user.kt.stop)


def test_a_view_shows_the_last_state(api: FakeApi) -> None:
    api.put(things.service("shop"))
    user = person(api)

    with viewed(user, name="shop") as view:
        new = api.edit("Service", "shop", lambda now: now["metadata"]["labels"].update(n="1"))
        assert still(lambda: view.objects["shop"] == new, user.kt.stop)


def test_a_view_of_labels_shows_only_what_wears_them(api: FakeApi) -> None:
    api.put(things.service("cart"))
    api.put(things.service("shop"))

    with viewed(person(api), labels={"app": "shop"}) as view:
        assert set(view.objects) == {"shop"}


def test_every_change_is_told_in_order(api: FakeApi) -> None:
    user, told = person(api), []  # type: ignore[var-annotated]

    with viewed(user, on_change=lambda: told.append(1)):
        api.put(things.service("shop"))
        assert still(lambda: len(told) == 2, user.kt.stop)  # the list, and the addition


def test_a_view_that_lost_its_place_in_history_lists_anew(api: FakeApi) -> None:
    user = person(api)

    def compact(deed: str) -> None:
        if deed.startswith("watch") and not api.names("Service"):
            api.put(things.service("shop"))
            api.forget_history()
            api.put(things.service("cart"))

    user.wire.before = compact
    with viewed(user) as view:
        assert still(lambda: set(view.objects) == {"shop", "cart"}, user.kt.stop)


def test_an_api_server_that_does_not_answer_is_asked_again(api: FakeApi, monkeypatch) -> None:
    monkeypatch.setattr("ktpy.watching.RETRY_SECONDS", 0.0)
    api.put(things.service("shop"))
    user = person(api)
    user.wire.fail_at(1, Unreachable("gone"))
    user.wire.fail_at(3, Unreachable("gone again"))

    with viewed(user) as view:
        again = ["list Service", "list Service", "watch Service", "list Service", "watch Service"]
        assert still(lambda: user.wire.calls == again, user.kt.stop)
        assert set(view.objects) == {"shop"}
    assert not user.kt.stop.is_asked


def test_a_view_that_is_forbidden_ends_the_run(api: FakeApi) -> None:
    user = person(api)
    user.wire.rights = set()

    with viewed(user):
        assert user.kt.stop.wait(10)

    assert isinstance(user.kt.stop.error, Forbidden)
