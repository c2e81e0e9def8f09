"""Which of the rights that something needs this user lacks, in one call where that is possible."""

from __future__ import annotations

from collections.abc import Sequence

from ktpy.cluster.gateway import Cluster
from ktpy.model.rights import Right, is_granted
from ktpy.workers import each


def lacking(cluster: Cluster, rights: Sequence[Right]) -> list[Right]:
    """Those of RIGHTS that this user does not have in the namespace.

    One review of all rules answers for most. What no rule grants is asked one by one, and so is everything where
    authorizers without rules, such as a cloud's, have a say: the server then calls its answer incomplete.
    """
    rules = cluster.rules()
    doubtful = [right for right in rights if not is_granted(rules, right)]
    return [right for right, yes in zip(doubtful, each(cluster.may, doubtful), strict=True) if not yes]
