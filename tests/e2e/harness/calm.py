"""A namespace before a test: what an earlier one left is gone, or this one is not begun."""

from __future__ import annotations

from ktpy.model.names import ROLE
from tests.e2e.harness.snapshot import Snapshot
from tests.e2e.harness.space import PATIENCE_SECONDS, Space
from tests.e2e.harness.until import until


def calm(space: Space) -> Snapshot:
    """The snapshot, once no pod of ktpy's is left: a terminated one goes after a second or more."""

    def are_gone() -> bool:
        return not space.kubectl("get", "pods", "-l", ROLE, "-o", "name")

    until(are_gone, "the pods of an earlier test are gone", seconds=PATIENCE_SECONDS)
    return space.snapshot()
