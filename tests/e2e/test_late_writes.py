"""A session that was ended by somebody else and then goes on: it says by whom, ends with code 4, leaves nothing."""

from __future__ import annotations

import contextlib
import signal
import socket
from collections.abc import Iterator

import pytest

from tests.e2e.harness.apiproxy import of
from tests.e2e.harness.calm import calm
from tests.e2e.harness.laptop import Server
from tests.e2e.harness.people import Person
from tests.e2e.harness.process import Ktpy, stopped
from tests.e2e.harness.proxied import proxied
from tests.e2e.harness.space import Space

TAKEN = 4
CLEAN = ("clean", "--older-than", "0")
BY_BOB = f"bob on {socket.gethostname()} (ktpy clean)"


@contextlib.contextmanager
def exchanging(person: Person, server: Server) -> Iterator[Ktpy]:
    with person.start("exchange", "shop", "--expose", str(server.port)) as session:
        yield session


SESSION = ("leases", "-l", "ktpy.io/role=session")  # in router mode the router has one, too


def leases(space: Space) -> str:
    return space.kubectl("get", "leases", "-o", "name")


def ended_by_bob(session: Ktpy, space: Space) -> None:
    """Its words and its end, and that it made no new Lease."""
    assert session.wait(30) == TAKEN, session.said()
    failed = session.wait_event("failed")
    assert BY_BOB in failed["what"], session.said()
    assert leases(space) == ""


def test_a_session_that_slept_while_it_was_cleaned_says_by_whom(
    space: Space, ana: Person, bob: Person, server: Server
) -> None:
    before = calm(space)
    with exchanging(ana, server) as session:
        session.wait_ready()
        with stopped(session.pid):
            done = bob.run(*CLEAN)
            assert done.code == 0, done.said
            space.wait_same(before, seconds=10)
        ended_by_bob(session, space)
    space.wait_same(before)


@pytest.mark.parametrize("call", ["PATCH /leases/", "PATCH /services/", "DELETE /pods/", "DELETE /leases/"])
def test_a_session_that_wakes_while_it_is_cleaned_leaves_nothing(
    space: Space, ana: Person, bob: Person, server: Server, call: str
) -> None:
    before = calm(space)
    with proxied(bob) as (slow,), exchanging(ana, server) as session:
        session.wait_ready()
        hold = slow.proxy.hold(of(*call.split(" ")))
        with stopped(session.pid), slow.person.ktpy(*CLEAN) as clean:
            hold.reached.result(20)
            session.signal(signal.SIGCONT)
            with contextlib.suppress(AssertionError):  # it may only learn of it from what comes next
                session.wait_event("failed", seconds=2)
            hold.release()
            assert clean.wait() == 0, clean.said()
        ended_by_bob(session, space)
    print(f"as before after {space.wait_same(before):.1f} s")


@pytest.mark.parametrize(
    ("method", "part"),
    [("POST", "/secrets"), ("POST", "/pods"), ("GET", "/portforward"), ("PATCH", "/leases/"), ("PATCH", "/services/")],
)
def test_a_write_that_is_later_than_the_clean_changes_nothing(
    space: Space, ana: Person, bob: Person, server: Server, method: str, part: str
) -> None:
    before = calm(space)
    with proxied(ana) as (late,):
        hold = late.proxy.hold(of(method, part))
        with exchanging(late.person, server) as session:
            call = hold.reached.result(30)
            done = bob.run(*CLEAN)
            assert done.code == 0, done.said
            hold.release()
            ended_by_bob(session, space)
            status = late.proxy.statuses[call.number]
            print(f"{call} → {status}")
            assert part != "/services/" or status == 409
    print(f"as before after {space.wait_same(before):.1f} s")


def test_a_heartbeat_that_meets_no_lease_ends_the_session(space: Space, ana: Person, server: Server) -> None:
    before = calm(space)
    with exchanging(ana, server) as session:
        session.wait_ready()
        space.kubectl("delete", *SESSION)
        assert session.wait(30) == TAKEN, session.said()
        assert "its Lease is gone" in session.wait_event("failed")["what"]
        assert leases(space) == ""
    print(f"as before after {space.wait_same(before):.1f} s")


def test_a_lease_deleted_without_what_it_owns_ends_the_session_and_all_is_given_back(
    space: Space, ana: Person, server: Server
) -> None:
    before = calm(space)
    with exchanging(ana, server) as session:
        session.wait_ready()
        space.kubectl("delete", "--cascade=orphan", *SESSION)
        assert session.wait(30) == TAKEN, session.said()
        assert leases(space) == ""
    print(f"as before after {space.wait_same(before):.1f} s")


@pytest.mark.parametrize("words", [CLEAN, ("recover", "shop")], ids=" ".join)
def test_what_a_dead_session_left_is_found_without_its_lease(
    space: Space, ana: Person, bob: Person, server: Server, words: tuple[str, ...]
) -> None:
    before = calm(space)
    with exchanging(ana, server) as session:
        session.wait_ready()
        session.kill()
    space.kubectl("delete", "--cascade=orphan", *SESSION)
    done = bob.run(*words)
    assert done.code == 0, done.said
    print(f"as before after {space.wait_same(before):.1f} s: {done.err}")
    again = bob.run(*words)
    assert (again.code, "Nothing to" in again.err) == (0, True), again.said
