"""What a session would create, told before there is one."""

from __future__ import annotations

from ktpy.model import names
from ktpy.model.names import SessionId
from ktpy.model.policy_plan import Due
from ktpy.model.ports import PodPort
from ktpy.model.ref import Ref, labels_of
from ktpy.rehearsal import admitting, creations, patching, rehearsed
from tests.fakes import things
from tests.fakes.api import FakeApi
from tests.fakes.jsonpatch import patched
from tests.fakes.run import essence, person

SHOP = Ref("Service", "shop", "team")


def test_a_session_has_a_lease_a_secret_and_a_shadow_that_the_server_would_take(api: FakeApi) -> None:
    ana, before = person(api), essence(api)

    made = rehearsed(ana.kt, "mesh", SHOP, [PodPort(8080, "http")], lambda session: {"app": f"kt-{session}"})
    for thing in made.objects:
        ana.cluster.create(thing, dry_run=True)

    assert [thing["kind"] for thing in made.objects] == ["Lease", "Secret", "Pod"]
    assert {labels_of(thing)[names.SESSION] for thing in made.objects} == {made.session}
    assert labels_of(made.pod)["app"] == f"kt-{made.session}"
    assert made.pod["metadata"]["ownerReferences"][0]["uid"] == made.owner["metadata"]["uid"]
    assert essence(api) == before


def test_notes_and_a_probe_are_shown_as_they_will_be(api: FakeApi) -> None:
    def worn(session: SessionId) -> dict[str, str]:
        return {}

    made = rehearsed(person(api).kt, "scale", SHOP, [PodPort(80)], worn, notes={"a": "b"}, is_probed=True)

    assert made.lease["metadata"]["annotations"]["a"] == "b"
    assert "readinessProbe" in made.pod["spec"]["containers"][0]


def test_a_creation_is_undone_by_a_deletion_and_a_patch_by_a_patch(api: FakeApi) -> None:
    before = things.stored(things.service())
    after = {**before, "spec": {**before["spec"], "selector": {"app": "other"}}}

    ((deed, thing, undo),) = creations([before])
    assert (deed, thing, undo) == ("create service/shop", before, {"delete": "service/shop"})
    deed, there, back = patching(before, after, before)
    assert deed == "patch service/shop"
    assert patched(before, there["patch"]) == after
    assert patched(after, back["patch"]) == before


def test_what_is_due_for_policies_is_shown_with_its_undo() -> None:
    new, old, gone = things.policy("new", {}), things.policy("old", {}), things.policy("gone", {})
    wanted = things.policy("old", {"matchLabels": {"a": "b"}})

    made, mended, dropped = admitting(Due(make=(new,), mend=((old, wanted),), drop=(gone,)))

    assert made == ("create networkpolicy/new", new, {"delete": "networkpolicy/new"})
    assert mended[0] == "patch networkpolicy/old"
    assert patched(old, mended[1]["patch"])["spec"] == wanted["spec"]
    assert dropped == ("delete networkpolicy/gone", {"delete": "networkpolicy/gone"}, gone)
