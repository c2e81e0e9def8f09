"""KT-Connect's spellings, in one table: what each means here, or what replaces it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple


class Legacy(NamedTuple):
    """NEW: our spelling (None: no meaning here, NOTE says what replaces it). TAKES: whether a value follows."""

    new: str | None
    takes: bool
    note: str = ""


_NO_CLOCK = "ktpy goes by the API server's own stamps; no clock pod is needed."

TABLE: dict[str, Legacy] = {
    "--asWorker": Legacy(None, False, "it had no effect in ktctl either."),
    "--forceUpdate": Legacy("--pull-policy=Always", False),
    "-f": Legacy("--pull-policy=Always", False),
    "--imagePullSecret": Legacy("--pull-secret", True),
    "--ipVersion": Legacy(None, True, "ktpy follows the Service's own address families."),
    "--nodeSelector": Legacy("--node-selector", True),
    "--podCreationTimeout": Legacy("--timeout", True),
    "--podQuota": Legacy("--pod-quota", True),
    "--portForwardTimeout": Legacy("--timeout", True),
    "--recoverWaitTime": Legacy("--recover-wait-time", True),
    "--routerImage": Legacy("--router-image", True),
    "--serviceAccount": Legacy("--service-account", True),
    "--skipPortChecking": Legacy("--no-check-ports", False),
    "--thresholdInMinus": Legacy("--older-than-minutes", True),
    "--dryRun": Legacy("--dry-run", False),
    "--localOnly": Legacy(None, False, "ktpy changes nothing on the laptop that would have to be cleaned."),
    "--sortBy": Legacy("--sort-by", True),
    "--showConnector": Legacy("--show-connector", False),
    "--hideNaturalService": Legacy("--only-taken", False),
    "--useLocalTime": Legacy(None, False, _NO_CLOCK),
    "--useShadowDeployment": Legacy(None, False, "a shadow that is evicted is replaced by ktpy itself."),
    "--versionMark": Legacy("--version-mark", True),
    "--withAnnotation": Legacy("--annotation", True),
    "--withLabel": Legacy("--label", True),
}


def translated(arguments: Sequence[str], known: frozenset[str]) -> tuple[list[str], list[str]]:
    """ARGUMENTS in our spelling, and a line for each flag that has no meaning here. What follows `--` is not ours.

    KNOWN: the command's own flags, which win (`-f` is `ktpy logs --follow`).
    """
    words: list[str] = []
    notes: list[str] = []
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if word == "--":
            return [*words, word, *rest], notes
        flag, equals, value = word.partition("=")
        entry = None if flag in known else TABLE.get(flag)
        if entry is None:
            words.append(word)
        elif entry.new is None:
            notes.append(f"{flag} has no meaning here: {entry.note}")
            if entry.takes and not equals and rest:
                rest.pop(0)
        elif equals and value.lower() in ("true", "false") and not entry.takes:
            words += [entry.new] if value.lower() == "true" else []
        else:
            words.append(f"{entry.new}{equals}{value}")
    return words, notes


def pod_quota(text: str) -> dict[str, str]:
    """KT-Connect's `0.5c,512m`: c cores, k m g binary bytes. Items that are neither are an error there and here."""
    found = {}
    for item in filter(None, text.split(",")):
        match = re.fullmatch(r"(\d+(?:\.\d+)?)([ckmg])", item.strip().lower())
        if match is None:
            raise ValueError(item)
        number, unit = match.groups()
        found["cpu" if unit == "c" else "memory"] = number if unit == "c" else f"{number}{unit.upper()}i"
    return found
