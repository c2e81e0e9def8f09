"""Through the tunnel on the real node: short connections by the thousand, large bodies, half-closed streams."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.harness.client import InCluster
from tests.e2e.harness.laptop import Server
from tests.e2e.harness.node import Node
from tests.e2e.harness.process import Ktpy
from tests.e2e.harness.space import Space
from tests.e2e.harness.until import until
from tests.e2e.harness.weight import of_process, of_sshd

URL = "http://shop/"
WAYS = {
    "HTTP/1.0, the server closes first": ("--http", "1.0"),
    "Connection: close, the server closes first": (),
    "the client closes first": ("--close", "client"),
}


@pytest.fixture(scope="module")
def session(space: Space, server: Server) -> Iterator[Ktpy]:
    with space.person("ana").start("exchange", "shop", "--expose", str(server.port)) as running:
        running.wait_ready()
        space.client().wait_for(URL, "laptop")
        yield running
        running.interrupt()
        assert running.wait() == 0, running.said()


@pytest.fixture
def pod_uid(space: Space, session: Ktpy) -> str:
    (pod,) = space.read("get", "pods", "-l", "ktpy.io/role=shadow")["items"]
    uid: str = pod["metadata"]["uid"]
    return uid


def test_ten_thousand_short_connections_end_properly_and_leave_nothing_behind(
    node: Node, client: InCluster, session: Ktpy, pod_uid: str
) -> None:
    if not node.own:
        pytest.skip("the processes of a shadow are seen from the node of scripts/cluster only")
    assert client.load(URL, "--count", "1000").answers == {"laptop": 1000}
    laptop, shadow = of_process(session.pid), of_sshd(node, pod_uid)

    results = {way: client.load(URL, "--count", "3000", "--timeout", "10", *options) for way, options in WAYS.items()}

    assert {way: (r.answers, r.failed) for way, r in results.items()} == dict.fromkeys(WAYS, ({"laptop": 3000}, {}))
    until(lambda: of_process(session.pid).is_within(laptop), f"ktpy is again at {laptop}", seconds=10)
    until(lambda: of_sshd(node, pod_uid).is_within(shadow), f"the shadow's sshd is again at {shadow}", seconds=10)


def test_a_hundred_megabytes_come_back_byte_for_byte(client: InCluster, session: Ktpy) -> None:
    result = client.load(URL, "--echo", str(100_000_000))

    assert result.answers == {"same": 1}


def test_a_half_closed_stream_is_answered_to_its_last_byte(client: InCluster, session: Ktpy) -> None:
    results = [client.load(URL, "--echo", str(length), "--half-close") for length in (1, 70_000, 5_000_000)]

    assert [result.answers for result in results] == [{"same": 1}] * 3


def test_many_kept_connections_at_once_answer_all_the_time(client: InCluster, session: Ktpy) -> None:
    result = client.load(URL, "--keep", "100", "--seconds", "3")

    assert result.failed == {}
    assert result.answers["laptop"] > 1000
