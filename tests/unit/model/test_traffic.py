"""What routers say of their traffic is read with nothing taken on trust, and summed."""

from __future__ import annotations

import json

import pytest

from ktpy.model.traffic import Carried, Traffic, read, total

COUNTED = {"requests": 5, "fallbacks": 1, "errors": 2, "open": 3, "bytes_in": 9, "histogram": [0] * 40}
STATS = {
    "version": 4,
    "rows": {"ana-1": COUNTED},
    "ports": {"8080": {"connections": 7, "default": {**COUNTED, "requests": 40}}, "9090": {"default": COUNTED}},
    "down": {"10.0.0.1:8080": 2, "10.0.0.2:80": 0},
}


def test_a_routers_answer_is_rows_the_rest_over_all_ports_and_what_is_down() -> None:
    carried = read(json.dumps(STATS))

    assert carried.rows == {"ana-1": Traffic(5, 1, 2, 3)}
    assert carried.rest == Traffic(45, 2, 4, 6)
    assert carried.down == {"10.0.0.1:8080"}


def test_an_older_routers_answer_lacks_some() -> None:
    assert read('{"ports": {"8080": {"connections": 1}}, "rows": {}}') == Carried({}, Traffic(), frozenset())


@pytest.mark.parametrize("text", ["", "[]", '{"rows": 3}', '{"rows": {"a": []}}', '{"rows": {"a": {"open": "x"}}}'])
def test_what_is_no_such_answer_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="."):
        read(text)


def test_the_sum_has_every_row_of_every_pod() -> None:
    one = Carried({"a": Traffic(1), "b": Traffic(2)}, Traffic(10), frozenset({"x:1"}))
    other = Carried({"a": Traffic(3, errors=1)}, Traffic(20), frozenset())

    assert total([one, other]) == Carried({"a": Traffic(4, errors=1), "b": Traffic(2)}, Traffic(30), frozenset({"x:1"}))
    assert total([]) == Carried()


@pytest.mark.parametrize(
    ("traffic", "said"),
    [(Traffic(), "0"), (Traffic(12), "12"), (Traffic(12, 1, 2, 3), "12 (3 open, 1 fell back, 2 failed)")],
)
def test_traffic_is_said_in_few_words(traffic: Traffic, said: str) -> None:
    assert str(traffic) == said
