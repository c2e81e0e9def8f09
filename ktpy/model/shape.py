"""How pods of ours are to look: image, resources, labels and the like, as the user's settings say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class PodShape:
    """What a cluster's owner may demand of each pod. PULL_SECRET names an image pull secret of the namespace."""

    image: str
    pull_policy: str = "IfNotPresent"
    pull_secret: str | None = None
    service_account: str | None = None
    node_selector: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    requests: Mapping[str, str] = field(default_factory=lambda: {"cpu": "20m", "memory": "32Mi"})
    limits: Mapping[str, str] = field(default_factory=lambda: {"cpu": "1", "memory": "256Mi"})
    platform_picks_uid: bool = False  # OpenShift's restricted-v2 refuses a uid of our choice
