"""What a user may set once instead of typing it each time, and where each value came from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from ktpy.errors import Usage


@dataclass(frozen=True)
class Settings:
    """Defaults < config file < environment (KTPY_…) < flags. Times in seconds. SOURCES: setting → where from."""

    context: str | None = None
    kubeconfig: str | None = None
    namespace: str | None = None
    timeout: float = 60.0
    linger: float = 1.5
    drain: float = 60.0
    router_replicas: int = 2
    image: str | None = None
    prefix: str | None = None
    router_image: str | None = None
    pull_policy: str = "IfNotPresent"
    pull_secret: str | None = None
    service_account: str | None = None
    node_selector: Mapping[str, str] = field(default_factory=dict)
    label: Mapping[str, str] = field(default_factory=dict)
    annotation: Mapping[str, str] = field(default_factory=dict)
    requests: Mapping[str, str] = field(default_factory=dict)
    limits: Mapping[str, str] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)


def pairs(text: str) -> dict[str, str]:
    """`a=1,b=2` as a mapping. Raises Usage."""
    found = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        key, equals, value = part.partition("=")
        if not equals or not key:
            raise Usage(f"'{part}' is not KEY=VALUE.")
        found[key.strip()] = value.strip()
    return found


def seconds(text: str) -> float:
    """`60`, `60s`, `2m`, `500ms`. Raises Usage."""
    number = text.rstrip("mhs")
    factor = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}.get(text[len(number) :])
    try:
        value = float(number) * (factor or -1.0)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e7:
        raise Usage(f"'{text}' is not a time such as 60s, 2m or 500ms.")
    return value


def pull_policy(text: str) -> str:
    known = {"always": "Always", "ifnotpresent": "IfNotPresent", "never": "Never"}
    if text.lower() not in known:
        raise Usage(f"'{text}' is not a pull policy: Always, IfNotPresent or Never.")
    return known[text.lower()]


def replicas(text: str) -> int:
    """How many pods a router has. Raises Usage."""
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:3]) <= 20:
        raise Usage(f"'{text}' is not a number of router pods from 1 to 20.")
    return int(text)


PARSERS: dict[str, Callable[[str], Any]] = {
    "timeout": seconds,
    "linger": seconds,
    "drain": seconds,
    "router_replicas": replicas,
    "pull_policy": pull_policy,
    "node_selector": pairs,
    "label": pairs,
    "annotation": pairs,
    "requests": pairs,
    "limits": pairs,
}
NAMES: tuple[str, ...] = tuple(f.name for f in fields(Settings) if f.name != "sources")


def layered(layers: Sequence[tuple[str, Mapping[str, Any]]]) -> Settings:
    """Settings from LAYERS, (where from, name → value), the later ones winning; None means not given there."""
    settings, sources = Settings(), {}
    for source, values in layers:
        for name, value in values.items():
            key = name.replace("-", "_")
            if key not in NAMES:
                raise Usage(
                    f"'{name}' ({source}) is not a setting.", f"known: {', '.join(n.replace('_', '-') for n in NAMES)}"
                )
            if value is None or value == {}:
                continue
            parse = PARSERS.get(key, str)
            parsed = parse(value) if isinstance(value, str) else _checked(key, value, source)
            settings = replace(settings, **{key: parsed})
            sources[key] = source
    return replace(settings, sources=sources)


def _checked(key: str, value: Any, source: str) -> Any:
    """A value that is not text: YAML gives numbers and maps."""
    if key == "router_replicas" and isinstance(value, int) and not isinstance(value, bool):
        return replicas(str(value))
    if key in ("timeout", "linger", "drain") and isinstance(value, int | float):
        return float(value)
    if isinstance(value, Mapping) and PARSERS.get(key) is pairs:
        return {str(k): str(v) for k, v in value.items()}
    raise Usage(f"{key} ({source}) cannot be {value!r}.")


def from_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """KTPY_PULL_SECRET=x → pull_secret. KUBECONFIG is read too."""
    found = {name: environment[f"KTPY_{name.upper()}"] for name in NAMES if environment.get(f"KTPY_{name.upper()}")}
    if environment.get("KUBECONFIG"):
        found.setdefault("kubeconfig", environment["KUBECONFIG"])
    return found
