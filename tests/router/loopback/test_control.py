"""The control port: what is taken, what is refused and changes nothing, and what it tells."""

from __future__ import annotations

import json

import pytest
from harness import fetch, free_port, origin, router, row, table


@pytest.fixture(scope="module")
def mine():
    with origin(b"mine") as address:
        yield address


@pytest.fixture(scope="module")
def running(mine):
    """One router for all of these; what is pushed has a version of its own each time."""
    with origin() as default, router(table(default), workers=2) as one:
        yield one


@pytest.fixture
def version(running):
    """One above what is in force."""
    return running.control("GET", "/routes").json()["version"] + 1


def test_a_pushed_table_is_in_force_when_the_answer_comes(running, mine, version):
    for number in range(version, version + 20):
        mark = f"m{number}"
        answer = running.put(running.table(version=number, rows=[row(mark, mine)]))

        assert answer.json()["version"] == number
        for _ in range(4):  # of either worker
            assert fetch(running.port, headers={"version": mark}).body == b"mine"
    assert running.control("GET", "/routes").json()["version"] == version + 19


def test_the_same_table_again_is_fine(running, version):
    for _ in range(2):
        assert running.control("PUT", "/routes", running.table(version=version)).status == 200


@pytest.mark.parametrize(
    ("change", "status", "sentence"),
    [
        (b"{", 400, "The table is not JSON"),
        (b"\xff\xfe", 400, "The table is not JSON"),
        (b"[" * 100_000, 400, "The table is not JSON"),
        ({"format": 2}, 400, "The table has format 2"),
        ({"rows": [{"id": "x"}]}, 400, "rows[0]: "),
        ({"version": 0}, 409, "which is newer than 0"),
        ({"ports": [{"listen": 1, "default": "10.0.0.1:80"}]}, 409, "this router has bound"),
    ],
)
def test_a_table_that_is_refused_changes_nothing(running, mine, version, change, status, sentence):
    running.put(running.table(version=version, rows=[row("ana", mine)]))
    before = running.control("GET", "/routes").json()
    body = change if isinstance(change, bytes) else running.table(version=version + 1) | change

    answer = running.control("PUT", "/routes", body)

    assert (answer.status, answer.headers["content-type"]) == (status, "text/plain; charset=utf-8")
    assert sentence in answer.body.decode()
    assert running.control("GET", "/routes").json() == before
    assert fetch(running.port, headers={"version": "ana"}).body == b"mine"


def test_another_table_of_the_same_version_is_refused(running, mine, version):
    running.put(running.table(version=version))

    answer = running.control("PUT", "/routes", running.table(version=version, rows=[row("ana", mine)]))

    assert answer.status == 409
    assert answer.body.decode() == f"Another table {version} is in force; a changed table needs a greater version.\n"


def test_more_than_a_mebibyte_is_not_read(running):
    answer = running.control("PUT", "/routes", b" " * (1024 * 1024 + 1))

    assert answer.status == 413
    assert answer.body.decode() == "A table has 1048576 bytes at most, and this one 1048577.\n"


def test_the_largest_table_reaches_all_workers(running, mine, version):
    match = [{"in": "path", "prefix": "/\u20ac" + "x" * 900}]
    rows = [row(f"m{i}", mine) | {"match": match} for i in range(900)]
    big = json.dumps(running.table(version=version, rows=rows), ensure_ascii=False).encode()
    assert 900_000 < len(big) < 1024 * 1024

    assert running.control("PUT", "/routes", big).status == 200
    assert {worker["version"] for worker in running.control("GET", "/stats").json()["workers"]} == {version}


def test_counters_of_all_workers_are_added_up(running, mine, version):
    running.put(running.table(version=version, rows=[row("sum", mine)]))
    for _ in range(30):
        fetch(running.port, headers={"version": "sum"})
    fetch(running.port)

    stats = running.control("GET", "/stats").json()

    assert stats["rows"]["sum"]["requests"] == 30
    assert sum(stats["rows"]["sum"]["histogram"]) == 30
    port = stats["ports"][str(running.port)]
    assert port["default"]["requests"] >= 1
    assert port["http1"] >= 31
    assert [worker["worker"] for worker in stats["workers"]] == [0, 1]


@pytest.mark.parametrize("path", ["/metrics", "/stats?format=prometheus"])
def test_prometheus_reads_them_too(running, mine, version, path):
    mark = f"prom{version}"
    running.put(running.table(version=version, rows=[row(mark, mine)]))
    fetch(running.port, headers={"version": mark})

    answer = running.control("GET", path)

    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    requests = [line for line in answer.body.decode().splitlines() if line.startswith("ktpy_router_requests_total")]
    assert sum(float(line.rpartition(" ")[2]) for line in requests if f'row="{mark}"' in line) == 1
    assert f"ktpy_router_table_version {version}" in answer.body.decode()


@pytest.mark.parametrize("headers", [{"Host": "evil.example"}, {"Origin": "http://evil.example"}])
@pytest.mark.parametrize(("method", "path"), [("GET", "/routes"), ("PUT", "/routes"), ("POST", "/drain")])
def test_web_pages_are_kept_out(running, method, path, headers):
    before = running.control("GET", "/routes").json()

    assert running.control(method, path, b"", headers=headers).status == 403

    assert running.control("GET", "/routes").json() == before
    assert running.is_ready()


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/", 404), ("POST", "/routes", 405), ("GET", "/drain", 405)]
)
def test_what_is_not_there_is_told(running, method, path, status):
    assert running.control(method, path, b"").status == status


def test_health_is_that_it_answers(running):
    assert running.control("GET", "/healthz").status == 200


def test_the_health_port_answers_probes_by_any_name_and_changes_nothing():
    health = free_port()
    with origin() as default, router(table(default), flags=("--health-port", str(health))):
        for path in ("/healthz", "/readyz", "/metrics"):
            assert fetch(health, path, headers={"Host": "10.1.2.3:80"}).status == 200
        for method, path in (("GET", "/routes"), ("PUT", "/routes"), ("POST", "/drain"), ("GET", "/stats")):
            assert fetch(health, path, method=method, body=b"").status == 404
