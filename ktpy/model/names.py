"""Every name, label, port and timer that ktpy writes into a cluster, once."""

from __future__ import annotations

import hashlib
import re
from typing import NewType

SessionId = NewType("SessionId", str)

MANAGER = "ktpy"  # fieldManager of each write
ROLE = "ktpy.io/role"  # label of what was born ours, by its kind of part; see ROLE_…
SESSION = "ktpy.io/session"  # label: on ours, whose it is; on somebody else's Service, who holds it
NOTE = "ktpy.io/undo"  # annotation: the undo note
SELF = "ktpy.io/self"  # annotation of a shadow or policy: its own name, which no copy of it has
PREVIEW = "ktpy.io/preview"  # label of a preview's shadows, which its Service's selector asks for
OWNER = "ktpy.io/owner"  # annotations of a Lease
HOST = "ktpy.io/host"
MODE = "ktpy.io/mode"
TARGET = "ktpy.io/target"
SCALED = "ktpy.io/scaled"  # annotation of a Lease: the workload that its session scales to 0
SINCE = "ktpy.io/since"
ENDED_BY = "ktpy.io/ended-by"
ALLOW = "ktpy.io/allow"
VERSION = "ktpy.io/version"  # annotation of a router's Lease: the ktpy that set it up
OPENER = "ktpy.io/opener"  # annotation of a router's Lease: the session that set it up

ROLE_SESSION = "session"
ROLE_SHADOW = "shadow"
ROLE_KEY = "key"
ROLE_ROUTER = "router"
ROLE_STUNTMAN = "stuntman"
ROLE_TABLE = "table"
ROLE_POLICY = "policy"
ROLE_PREVIEW = "preview"  # also the mode's name
ROLE_LINK = "link"
MODE_SCALE = "scale"
MODE_MANUAL = "mesh-manual"  # the mode of a session whose shadow is one more pod of the Service

SSH_PORT = 2222
PULSE_PORT = 2223  # or the next one that is free
SSH_USER = "tunnel"
SHADOW_UID = 10001

HEARTBEAT_SECONDS = 10.0
DEAD_SECONDS = 32.0  # 30 s, and 2 s for whole-second stamps and a round trip
CLEAN_SECONDS = 300.0
LINGER_SECONDS = 1.5  # kube-proxy may take 1 s to follow a selector
LABEL_LIMIT = 63
ROUTER_TAIL = "-kt-router"


def short_hash(text: str, length: int = 8) -> str:
    """A stable stand-in for TEXT where Kubernetes allows little: LENGTH hex digits."""
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def fitted(text: str, limit: int = LABEL_LIMIT) -> str:
    """TEXT as a DNS label (RFC 1123): lower case, dashes; hashed at its end where it is too long or was changed."""
    plain = re.sub(r"[^a-z0-9-]+", "-", text.lower()).strip("-") or "x"
    if len(plain) <= limit and plain == text.lower():
        return plain
    return f"{plain[: limit - 9].strip('-')}-{short_hash(text)}"


def session_id(user: str, tail: str) -> SessionId:
    """USER-TAIL, fit for a label value and an object name; TAIL is random hex."""
    plain = re.sub(r"[^a-z0-9-]+", "-", user.lower()).strip("-")[:24].strip("-") or "user"
    return SessionId(f"{plain}-{tail}")


def lease_name(session: str) -> str:
    """A session's Lease and its Secret carry the same name, so that either is found without listing Secrets."""
    return f"ktpy-{session}"


def shadow_name(target: str, mode: str, session: str) -> str:
    """The shadow pod's name, as KT-Connect forms it."""
    tail = session.rsplit("-", 1)[-1]
    return f"{fitted(target, LABEL_LIMIT - len(mode) - len(tail) - 8)}-kt-{mode}-{tail}"


def policy_name(session: str, tail: str) -> str:
    """The NetworkPolicy that a session, or a router, needs for what TAIL says."""
    return f"{lease_name(session)}-{fitted(tail)}"


def selector_value(session: str) -> str:
    """The value that every key of a diverted selector gets."""
    return f"kt-{short_hash(session)}"


def router_name(service: str) -> str:
    """SERVICE's router: its Deployment, and the ConfigMap with its table, of which there can be only one."""
    return f"{fitted(service, LABEL_LIMIT - len(ROUTER_TAIL))}{ROUTER_TAIL}"


def stuntman_name(service: str, router: str) -> str:
    """The Service that has SERVICE's own selector while that leads to ROUTER; it outlives it until all is drained."""
    tail = stuntman_tail(router)
    return fitted(service, LABEL_LIMIT - len(tail)) + tail


def link_name(service: str, mark: str) -> str:
    """The Service whose requests need no MARK: the same each time, so that it may be handed round."""
    return fitted(f"{service}-link-{mark}")


def stuntman_tail(router: str) -> str:
    """How the name of every stuntman of ROUTER ends."""
    return f"-kt-stuntman-{router.rsplit('-', 1)[-1]}"
