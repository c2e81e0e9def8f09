"""What a process holds: descriptors, threads, memory; on the laptop, and in the pods by the node's own /proc."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

from tests.e2e.harness.node import Node

# Runs inside the node: every process whose control group is the pod's.
INSIDE = """
import json, pathlib, sys
found = []
for each in pathlib.Path('/proc').glob('[0-9]*'):
    try:
        if sys.argv[1] in (each / 'cgroup').read_text().replace('_', '-'):
            status = dict(line.split(':', 1) for line in (each / 'status').read_text().splitlines())
            found.append([status['Name'].strip(), len(list((each / 'fd').iterdir())), int(status['Threads']),
                          int(status['VmRSS'].split()[0])])
    except (FileNotFoundError, ProcessLookupError, KeyError):
        pass
print(json.dumps(found))
"""


class Weight(NamedTuple):
    """MEMORY in kB."""

    descriptors: int
    threads: int
    memory: int

    def is_within(self, other: Weight, *, count: int = 2, megabytes: float = 5.0) -> bool:
        """Whether it is what OTHER was: descriptors and threads ± COUNT, memory at most MEGABYTES more."""
        return (
            abs(self.descriptors - other.descriptors) <= count
            and abs(self.threads - other.threads) <= count
            and self.memory - other.memory <= megabytes * 1024
        )


def of_process(pid: int) -> Weight:
    at = Path("/proc", str(pid))
    status = dict(line.split(":", 1) for line in (at / "status").read_text().splitlines())
    return Weight(len(list((at / "fd").iterdir())), int(status["Threads"]), int(status["VmRSS"].split()[0]))


def of_sshd(node: Node, pod_uid: str) -> Weight:
    """All sshd processes of the pod together: the listener and the session's."""
    found = [entry for entry in json.loads(node.enter("python3", "-c", INSIDE, pod_uid)) if "sshd" in entry[0]]
    assert found, "no sshd in the pod"
    return Weight(*(sum(entry[column] for entry in found) for column in (1, 2, 3)))
