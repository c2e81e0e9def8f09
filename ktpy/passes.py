"""The NetworkPolicies that ktpy made, found for whoever gives back. They are few: most namespaces isolate nobody."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from ktpy.cluster.gateway import Cluster
from ktpy.errors import Forbidden
from ktpy.model import names
from ktpy.model.ours import is_policy
from ktpy.model.ref import Object

log = logging.getLogger(__name__)


def labelled(cluster: Cluster, session: str | None = None) -> Sequence[Object]:
    """What wears our role, and the label of SESSION (None: of any), also by copy.

    None where this user may not list them: his own sessions made none, and another's go with their Leases.
    """
    try:
        return cluster.find("NetworkPolicy", labels={names.ROLE: names.ROLE_POLICY, names.SESSION: session})
    except Forbidden:
        log.debug("this user may not list NetworkPolicies: those of lost sessions are not looked for")
        return ()


def made_for(cluster: Cluster, session: str | None = None) -> Sequence[Object]:
    """Those that were made for SESSION, or a router of that id; None: for any."""
    return [policy for policy in labelled(cluster, session) if is_policy(policy)]
