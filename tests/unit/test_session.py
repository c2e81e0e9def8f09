"""A session is its Lease: it beats, it stops when the Lease is another's, and leaving it gives all back."""

from __future__ import annotations

import pytest

from ktpy.errors import LeftBehind, NotFound, Taken, Unreachable
from ktpy.model import manifests, names
from ktpy.model.diversion import diverted, holder_of, selector_of
from ktpy.model.liveness import renewed_at
from ktpy.model.ref import Object, Ref, annotations_of
from ktpy.session import Session
from tests.fakes import things
from tests.fakes.api import FakeApi
from tests.fakes.run import Person, person
from tests.fakes.wire import Killed

SHOP = Ref("Service", "shop", "team")


@pytest.fixture
def ana(api: FakeApi) -> Person:
    api.put(things.service())
    return person(api)


def lease_of(api: FakeApi, session: Session) -> Object:
    found = api.read("Lease", names.lease_name(session.id))
    assert found is not None
    return found


def taken(session: Session) -> Object:
    return session.take(SHOP, lambda now: diverted(now, session.id, "kt-1"))


def test_a_session_has_a_lease_that_says_who_and_what_for(api: FakeApi, ana: Person) -> None:
    with Session.open(ana.kt, "exchange", SHOP) as session:
        notes = annotations_of(lease_of(api, session))

    assert notes == {
        names.OWNER: "ana", names.HOST: "ana-laptop", names.MODE: "exchange", names.TARGET: "service/shop",
    }  # fmt: skip
    assert api.names("Lease") == []


def test_what_is_taken_and_created_is_given_back_at_the_end(api: FakeApi, ana: Person) -> None:
    with Session.open(ana.kt, "exchange", SHOP) as session:
        session.create(manifests.key_secret(session.id, session.owner, {"a": "b"}))
        taken(session)
        assert holder_of(api.read("Service", "shop") or {}) == session.id

    service = api.read("Service", "shop")
    assert service is not None
    assert selector_of(service) == things.SELECTOR
    assert api.names("Secret") == []


def test_a_failure_in_the_block_gives_back_and_flies_on(api: FakeApi, ana: Person) -> None:
    def run() -> None:
        with Session.open(ana.kt, "exchange", SHOP) as session:
            taken(session)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run()

    assert api.names("Lease") == []
    assert "ktpy" not in str(api.read("Service", "shop"))


def test_a_heartbeat_moves_the_servers_stamp(api: FakeApi, ana: Person) -> None:
    with Session.open(ana.kt, "exchange", SHOP) as session:
        api.time += 25
        session.renew()

        assert renewed_at(lease_of(api, session)) == api.time


def test_a_session_taken_by_another_stops_and_says_by_whom(api: FakeApi, ana: Person) -> None:
    with Session.open(ana.kt, "exchange", SHOP) as session:
        name = names.lease_name(session.id)
        api.edit("Lease", name, lambda now: now["metadata"]["annotations"].update({names.ENDED_BY: "bob on x"}))
        with pytest.raises(Taken, match="ended by bob on x"):
            taken(session)

    assert "ktpy" not in str(api.read("Service", "shop"))


def test_a_lease_that_was_deleted_is_not_made_anew(api: FakeApi, ana: Person) -> None:
    with Session.open(ana.kt, "exchange", SHOP) as session:
        api.remove("Lease", names.lease_name(session.id))
        with pytest.raises(Taken, match="its Lease is gone"):
            session.renew()

    assert api.names("Lease") == []
    assert len([call for call in ana.wire.calls if call.startswith("create Lease")]) == 1


def test_a_lease_of_the_same_name_born_later_is_not_ours(api: FakeApi, ana: Person) -> None:
    with Session.open(ana.kt, "exchange", SHOP) as session:
        again = {
            **session.owner,
            "metadata": {k: session.owner["metadata"][k] for k in ("name", "namespace", "labels")},
        }
        api.remove("Lease", names.lease_name(session.id))
        api.put(again)
        with pytest.raises(Taken):
            session.renew()


def test_a_harmless_write_on_the_lease_is_read_and_the_heart_beats_on(api: FakeApi, ana: Person) -> None:
    with Session.open(ana.kt, "exchange", SHOP) as session:
        api.edit("Lease", names.lease_name(session.id), lambda now: now["metadata"]["labels"].update(seen="1"))

        session.renew()

        assert lease_of(api, session)["metadata"]["labels"]["seen"] == "1"


def test_the_history_tells_who_ended_a_session_whose_lease_is_gone(api: FakeApi, ana: Person) -> None:
    with Session.open(ana.kt, "exchange", SHOP) as session:
        name = names.lease_name(session.id)
        api.edit("Lease", name, lambda now: now["metadata"]["annotations"].update({names.ENDED_BY: "eve"}))
        api.remove("Lease", name)
        with pytest.raises(Taken, match="ended by eve"):
            session.renew()


def test_what_is_gone_cannot_be_taken(api: FakeApi, ana: Person) -> None:
    with Session.open(ana.kt, "exchange", SHOP) as session:
        api.remove("Service", "shop")
        with pytest.raises(NotFound, match="service/shop is gone"):
            taken(session)


def test_a_heartbeat_thread_that_meets_a_taken_lease_ends_the_run(api: FakeApi, ana: Person, monkeypatch) -> None:
    monkeypatch.setattr(names, "HEARTBEAT_SECONDS", 0.001)

    with Session.open(ana.kt, "exchange", SHOP) as session:
        api.remove("Lease", names.lease_name(session.id))
        assert ana.kt.stop.wait(10)

    assert isinstance(ana.kt.stop.error, Taken)
    assert ana.kt.stop.reason == "heartbeat failed"


def test_a_heartbeat_without_an_answer_is_tried_again(api: FakeApi, ana: Person, monkeypatch) -> None:
    monkeypatch.setattr(names, "HEARTBEAT_SECONDS", 0.001)
    patches: list[str] = []

    def flaky(deed: str) -> None:
        if deed.startswith("patch Lease"):
            patches.append(deed)
            ana.kt.stop.poke()
            if len(patches) == 2:
                raise Unreachable("gone for a moment")

    ana.wire.before = flaky
    with Session.open(ana.kt, "exchange", SHOP):
        ana.kt.stop.wait_for(lambda: len(patches) > 2, 10)

    assert len(patches) > 2
    assert not ana.kt.stop.is_asked


def test_each_heartbeat_is_counted_and_told_to_whoever_waits_for_it(api: FakeApi, ana: Person, monkeypatch) -> None:
    monkeypatch.setattr(names, "HEARTBEAT_SECONDS", 0.001)

    with Session.open(ana.kt, "exchange", SHOP) as session:
        assert not ana.kt.stop.wait_for(lambda: session.beats >= 2, 10)
        assert session.beats >= 2


def test_a_lease_whose_creation_had_no_answer_is_looked_for_and_given_back(api: FakeApi, ana: Person) -> None:
    ana.kt.cluster.now()
    ana.wire.fail_at(2, Unreachable("no answer"), when="after")

    with pytest.raises(Unreachable), Session.open(ana.kt, "exchange", SHOP):
        pytest.fail("it is not open")

    assert "delete Lease" in ana.wire.calls[-1]
    assert api.names("Lease") == []


def test_a_give_back_waits_for_an_api_server_that_is_gone_for_a_moment(api: FakeApi, ana: Person, monkeypatch) -> None:
    waits: list[float] = []
    with Session.open(ana.kt, "exchange", SHOP) as session:
        taken(session)
        monkeypatch.setattr("ktpy.session.Stop.wait", lambda self, seconds=None: waits.append(seconds))
        for number in range(1, 4):
            ana.wire.fail_at(len(ana.wire.calls) + number, Unreachable("gone"))

    assert waits[-3:] == [1.0, 1.0, 1.0]
    assert api.names("Lease") == []


def test_what_cannot_be_given_back_is_said_with_what_to_type(api: FakeApi, ana: Person) -> None:
    def run() -> None:
        with Session.open(ana.kt, "exchange", SHOP) as session:
            taken(session)
            ana.wire.rights -= {"patch services"}

    with pytest.raises(LeftBehind, match="could not give everything back") as left:
        run()

    assert left.value.try_ == ("ktpy recover -n team      once that is mended",)


def test_a_kill_gives_nothing_back(api: FakeApi, ana: Person) -> None:
    def run() -> None:
        with Session.open(ana.kt, "exchange", SHOP) as session:
            taken(session)
            ana.wire.die()

    with pytest.raises(Killed):
        run()

    assert api.names("Lease") != []
