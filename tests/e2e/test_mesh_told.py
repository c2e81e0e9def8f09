"""What the owner of a mesh is told while it lasts: the first marked request, and what the cluster answered instead."""

from __future__ import annotations

from tests.e2e.harness.calm import calm
from tests.e2e.harness.client import InCluster
from tests.e2e.harness.laptop import Server, serving
from tests.e2e.harness.people import Person
from tests.e2e.harness.space import Space

URL = "http://shop/"
MARKED = ("--header", "version: ana")


def test_the_first_marked_request_and_later_what_fell_back_to_the_cluster(
    space: Space, ana: Person, client: InCluster
) -> None:
    before = calm(space)
    with serving(ana) as server, ana.start("mesh", "shop", "--expose", str(server.port)) as session:
        session.wait_ready()
        client.load(URL, "--count", "3")
        client.load(f"{URL}?token=secret&x=1", "--count", "1", *MARKED)
        first = session.wait_event("first-request")

        server.process.kill()
        fallen = client.load(URL, "--count", "5", *MARKED)
        # With the next heartbeat, or the next two.
        told = session.wait_event("fell-back", lambda event: event["total"] == 5, seconds=40)
        session.interrupt()
        assert session.wait() == 0, session.said()

    assert (first["marked"], first["method"], first["path"], first["status"]) == (True, "GET", "/?token=…&x=…", 200)
    assert first["milliseconds"] is not None
    assert "secret" not in session.said()
    assert fallen.answers == {"shop": 5}
    assert told["marked"]
    space.wait_same(before)


def test_a_service_that_is_for_mesh_only_refuses_an_exchange_with_the_line_to_type(
    space: Space, ana: Person, server: Server
) -> None:
    space.kubectl("annotate", "service", "shop", "ktpy.io/allow=mesh")
    before = calm(space)
    try:
        done = ana.run("exchange", "shop", "--expose", str(server.port))
        space.wait_same(before, seconds=0)
    finally:
        space.kubectl("annotate", "service", "shop", "ktpy.io/allow-")

    assert done.code == 5, done.said
    assert f"ktpy mesh shop --expose {server.port}" in done.err
