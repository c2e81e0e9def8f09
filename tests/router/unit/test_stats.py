"""Counters are summed over workers, and Prometheus reads what we write."""

from __future__ import annotations

import re

from ktpy_router import stats
from ktpy_router.stats import LAST_BUCKET, PortStats, RowStats


def one_worker(requests: int, seconds: float = 0.001) -> stats.Report:
    row, port, rest = RowStats(), PortStats(), RowStats()
    row.requests, row.fallbacks, port.connections, rest.requests = requests, 1, 2, 5
    row.took(seconds)
    return stats.report({"s1": row}, {8080: (port, rest)}, {"10.0.0.1:80": True})


def test_a_duration_is_counted_in_the_bucket_of_its_power_of_two():
    row = RowStats()

    for seconds in (0.0, 0.000001, 0.000100, 0.000127, 0.000128, 10.0**12):
        row.took(seconds)

    assert {i: n for i, n in enumerate(row.histogram) if n} == {0: 1, 1: 1, 7: 2, 8: 1, LAST_BUCKET: 1}


def test_a_report_has_every_counter():
    report = one_worker(3)

    assert report["rows"]["s1"].keys() == set(RowStats.__slots__)
    assert report["ports"]["8080"].keys() == {*PortStats.__slots__, "default"}
    assert report["down"] == {"10.0.0.1:80": 1}


def test_the_sum_of_workers_keeps_rows_that_only_one_has():
    other = stats.report({"s2": RowStats()}, {8080: (PortStats(), RowStats())}, {})

    total = stats.merge([one_worker(3), one_worker(4), other])

    assert total["rows"]["s1"]["requests"] == 7
    assert sum(total["rows"]["s1"]["histogram"]) == 2
    assert total["rows"]["s2"]["requests"] == 0
    assert total["ports"]["8080"]["connections"] == 4
    assert total["ports"]["8080"]["default"]["requests"] == 10
    assert total["down"] == {"10.0.0.1:80": 2}


def test_no_workers_are_an_empty_sum():
    assert stats.merge([]) == {"rows": {}, "ports": {}, "down": {}}


def test_the_sum_leaves_its_parts_alone():
    first = one_worker(3)

    stats.merge([first, one_worker(4)])

    assert first == one_worker(3)


SAMPLE = re.compile(r'ktpy_router_[a-z0-9_]+(\{([a-z]+="(\\.|[^"\\])*",?)+\})? [0-9.e+-]+')


def test_every_line_is_a_comment_or_a_sample_and_every_family_is_declared_before_it():
    text = stats.prometheus({0: one_worker(3), 1: one_worker(4)}, {"s1": 'a"n\\a\n'}, version=7)

    declared: set[str] = set()
    for line in text.splitlines():
        if line.startswith("# TYPE"):
            declared.add(line.split()[2])
        elif not line.startswith("# HELP"):
            assert SAMPLE.fullmatch(line), line
            name = re.split(r"[{ ]", line)[0]
            assert name in declared or re.sub("_(bucket|sum|count)$", "", name) in declared
    assert text.endswith("\n")


def test_each_worker_has_its_series_and_unmatched_traffic_its_own():
    text = stats.prometheus({0: one_worker(3), 1: one_worker(4)}, {"s1": "ana"}, version=7)

    assert 'ktpy_router_requests_total{worker="0",row="s1",mark="ana",port=""} 3' in text
    assert 'ktpy_router_requests_total{worker="1",row="s1",mark="ana",port=""} 4' in text
    assert 'ktpy_router_requests_total{worker="0",row="",mark="",port="8080"} 5' in text
    assert 'ktpy_router_port_connections_total{worker="0",port="8080"} 2' in text
    assert "ktpy_router_table_version 7" in text
    assert 'ktpy_router_upstream_down{worker="0",upstream="10.0.0.1:80"} 1' in text


def test_buckets_add_up():
    text = stats.prometheus({0: one_worker(3, seconds=0.001)}, {"s1": "ana"}, version=7)

    labels = 'worker="0",row="s1",mark="ana",port=""'
    assert f'ktpy_router_seconds_bucket{{{labels},le="0.000512"}} 0' in text
    assert f'ktpy_router_seconds_bucket{{{labels},le="0.001024"}} 1' in text
    assert f'ktpy_router_seconds_bucket{{{labels},le="+Inf"}} 1' in text
    assert f"ktpy_router_seconds_sum{{{labels}}} 0.000768" in text
    assert f"ktpy_router_seconds_count{{{labels}}} 1" in text
