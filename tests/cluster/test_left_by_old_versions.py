"""What killed sessions of each released format left is given back by this ktpy, on the fake and on the real server.

`left/version-N.json` was recorded from a namespace after `kill -9`: a meshed Service with its router (whose replicas
are 0 here), an exchanged one, a workload that was scaled away. It is never changed; a new format adds a file.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from ktpy.model.diversion import selector_of
from ktpy.model.names import NOTE, SESSION
from ktpy.model.ref import Object, annotations_of, labels_of, ref_of, uid_of
from ktpy.upkeep import clean
from tests.cluster.conftest import World
from tests.fakes.api import FakeApi
from tests.fakes.run import person

RECORDED = sorted((Path(__file__).parent / "left").glob("*.json"))


def put(world: World, recorded: Path) -> None:
    """As it was recorded, with the uids that the objects have in this cluster."""
    text = recorded.read_text()
    for number in range(len(json.loads(text))):
        made = world.put(json.loads(text)[number])
        name = f"uid of {made['kind']}/{made['metadata']['name']}"
        if name in text:
            text = text.replace(name, uid_of(made))
            if NOTE in annotations_of(made):  # it speaks of the object that it is on
                note = annotations_of(made)[NOTE].replace(name, uid_of(made))
                where = f"/metadata/annotations/{NOTE.replace('/', '~1')}"
                world.edit(ref_of(made), {"op": "replace", "path": where, "value": note})


def found(world: World, kind: str, name: str) -> Object:
    thing = world.cluster.get(world.ref(kind, name))
    assert thing is not None
    return thing


@pytest.mark.parametrize("recorded", RECORDED, ids=lambda path: path.stem)
def test_what_an_older_ktpy_left_is_given_back(world: World, recorded: Path) -> None:
    put(world, recorded)
    kt = replace(person(FakeApi()).kt, cluster=world.cluster)

    results = [*clean.clean(kt, clean.dead(kt, 30.0), older_than=30.0), *clean.sweep(kt, older_than=30.0)]

    assert [result.report.left for result in results if result.report.left] == []
    assert selector_of(found(world, "Service", "shop")) == {"app": "shop"}
    assert selector_of(found(world, "Service", "pay")) == {"app": "pay", "tier": "back"}
    assert found(world, "Deployment", "jobs")["spec"]["replicas"] == 3
    for thing in (found(world, "Service", "shop"), found(world, "Service", "pay"), found(world, "Deployment", "jobs")):
        assert SESSION not in labels_of(thing)
        assert NOTE not in annotations_of(thing)

    def left() -> list[str]:
        kinds = ("Lease", "Service", "Deployment", "ConfigMap")
        everything = [thing for kind in kinds for thing in world.cluster.find(kind, labels={SESSION: None})]
        return [str(ref_of(thing)) for thing in everything]

    assert world.soon(lambda: not left()), left()
