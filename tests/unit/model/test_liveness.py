"""Whether a session is alive is read from the server's own stamps."""

from __future__ import annotations

import pytest

from ktpy.model import manifests, names
from ktpy.model.liveness import Life, holder_from, lost_holder, moment, renewed_at, rfc3339
from ktpy.model.manifests import Identity
from ktpy.model.names import DEAD_SECONDS, MANAGER, SessionId
from ktpy.model.ref import Object
from tests.fakes import things

ANA = SessionId("ana-1")


def at(seconds: float) -> str:
    return rfc3339(seconds)[:19] + "Z"


def lease(*, created: float = 1000.0, beaten: float | None = None, **meta: object) -> Object:
    thing = manifests.lease(Identity(ANA, "ana", "mbp-7", "exchange", "service/shop"), "team", rfc3339(5.0))
    fields = [{"manager": MANAGER, "time": at(beaten)}] if beaten is not None else []
    return things.stored(thing, creationTimestamp=at(created), managedFields=fields, **meta)  # type: ignore[arg-type]


def test_a_moment_is_read_as_it_is_written() -> None:
    assert moment("1970-01-01T00:16:40Z") == 1000.0
    assert moment(rfc3339(1000.25)) == 1000.25
    assert rfc3339(1000.25) == "1970-01-01T00:16:40.250000Z"


def test_the_last_heartbeat_is_the_latest_stamp_of_ours() -> None:
    thing = lease(beaten=1100)
    thing["metadata"]["managedFields"] += [
        {"manager": MANAGER, "time": at(1200)}, {"manager": "kubectl", "time": at(9000)}, {"manager": MANAGER},
    ]  # fmt: skip

    assert renewed_at(thing) == 1200


def test_where_the_stamps_were_stripped_the_writers_time_counts_and_then_the_birth() -> None:
    thing = lease()
    assert renewed_at(thing) == 5.0

    thing["spec"] = {}
    assert renewed_at(thing) == 1000.0


@pytest.mark.parametrize(
    ("age", "life"), [(0.0, Life.ALIVE), (DEAD_SECONDS, Life.ALIVE), (DEAD_SECONDS + 1, Life.SILENT)]
)
def test_a_session_is_silent_when_its_heartbeat_is_too_old(age: float, life: Life) -> None:
    holder = holder_from(lease(beaten=2000), 2000 + age)

    assert (holder.life, holder.age) == (life, age)


def test_a_clock_that_lags_makes_nobody_younger_than_now() -> None:
    assert holder_from(lease(beaten=2000), 1999).age == 0.0


def test_a_session_whose_end_was_begun_has_ended() -> None:
    marked = lease(beaten=2000)
    marked["metadata"]["annotations"][names.ENDED_BY] = "bob"

    holder = holder_from(marked, 2000)

    assert (holder.life, holder.ended_by) == (Life.ENDED, "bob")


def test_a_lease_that_is_being_deleted_has_ended() -> None:
    assert holder_from(lease(beaten=2000, deletionTimestamp=at(2000)), 2000).life is Life.ENDED


def test_a_holder_says_who_where_what_and_when_last_seen() -> None:
    holder = holder_from(lease(beaten=2000), 2012)

    assert str(holder) == "session ana-1 (exchange, ana on mbp-7, seen 12 s ago)"
    assert (holder.target, holder.since) == ("service/shop", 1000.0)


def test_a_lost_session_has_no_heartbeat() -> None:
    holder = lost_holder(ANA)

    assert holder.life is Life.ENDED
    assert holder.age == float("inf")
    assert "no heartbeat" in str(holder)


def test_a_lease_without_our_annotations_is_somebodys() -> None:
    bare = lease(beaten=2000, annotations={}, labels={})

    assert holder_from(bare, 2000).owner == "somebody"
    assert holder_from(bare, 2000).session == "ktpy-ana-1"
