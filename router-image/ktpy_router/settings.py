"""The command line of the router: files, ports, processes, and every limit of Config as a flag."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path

from ktpy_router.config import Config
from ktpy_router.store import Store

CHANNEL = "channel.sock"
STATE = "routes.json"
TOKEN = "inspect.token"


@dataclasses.dataclass(frozen=True)
class Settings:
    """What all processes of a router know from their start."""

    store: Store
    config: Config
    run_dir: Path
    bind: str = ""
    control_port: int = 9901
    health_port: int = 0
    workers: int = 1
    inspect_port: int = 9902
    inspect_web_port: int = 9903
    inspect_token: Path | None = None
    inspect_flows: int = 500
    inspect_bytes: int = 64 * 1024 * 1024
    options: tuple[str, ...] = ()

    @property
    def channel(self) -> str:
        """Where control process and workers meet."""
        return str(self.run_dir / CHANNEL)

    @property
    def token(self) -> Path:
        """The file with the password of the inspector's web page."""
        return self.inspect_token or self.run_dir / TOKEN


def parse(words: Sequence[str]) -> Settings:
    """Errors: SystemExit 2, after telling what is wrong, as argparse does."""
    ours, _, options = _split(words)
    given = vars(_parser().parse_args(ours))
    config = Config(**{field.name: given.pop(field.name) for field in dataclasses.fields(Config)})
    run_dir: Path = given.pop("run_dir")
    store = Store(given.pop("table"), given.pop("state") or run_dir / STATE)
    return Settings(store=store, config=config, run_dir=run_dir, options=tuple(options), **given)


def _split(words: Sequence[str]) -> tuple[Sequence[str], Sequence[str], Sequence[str]]:
    at = words.index("--") if "--" in words else len(words)
    return words[:at], words[at : at + 1], words[at + 1 :]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "ktpy_router", description="Routes a Service's traffic by header.", epilog="After -- follow mitmdump's options."
    )
    add = parser.add_argument
    add("--table", type=Path, required=True, metavar="FILE", help="the route table, a mounted ConfigMap's file")
    add("--state", type=Path, metavar="FILE", help=f"where the last pushed table is kept; {STATE} in the run directory")
    add("--run-dir", type=Path, default=Path("/run/ktpy-router"), metavar="DIR", help="writable; %(default)s")
    add("--bind", default="", metavar="ADDRESS", help="listen on this address only; all of IPv4 and IPv6 if not given")
    add("--workers", type=_Whole(1, 64), default=1, metavar="N", help="processes that serve; %(default)s")
    add("--control-port", type=_Whole(1, 65535), default=9901, metavar="PORT", help="on loopback; %(default)s")
    add("--health-port", type=_Whole(0, 65535), default=0, metavar="PORT", help="probes and metrics; none if not given")
    add("--inspect-port", type=_Whole(1, 65535), default=9902, metavar="PORT", help="the inspector's; %(default)s")
    add("--inspect-web-port", type=_Whole(1, 65535), default=9903, metavar="PORT", help="its web page's; %(default)s")
    add("--inspect-token", type=Path, metavar="FILE", help=f"the page's password; made as {TOKEN} if not given")
    add("--inspect-flows", type=_Whole(1, 100_000), default=500, metavar="N", help="most flows it keeps; %(default)s")
    add("--inspect-bytes", type=_Whole(0, 2**40), default=64 << 20, metavar="N", help="most bytes; %(default)s")
    for field in dataclasses.fields(Config):
        flag = f"--{field.name.replace('_', '-')}"
        if isinstance(field.default, bool):
            add(flag, action=argparse.BooleanOptionalAction, default=field.default)
        elif isinstance(field.default, int):
            add(flag, type=_Whole(0, 2**40), default=field.default, metavar="N", help="%(default)s")
        else:
            add(flag, type=_seconds, default=field.default, metavar="SECONDS", help="%(default)s")
    return parser


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 10**9:
        raise argparse.ArgumentTypeError(f"{text} is no number of seconds")
    return value


class _Whole:
    """A whole number from LEAST to MOST."""

    def __init__(self, least: int, most: int) -> None:
        self.least, self.most = least, most

    def __call__(self, text: str) -> int:
        value = int(text)
        if not self.least <= value <= self.most:
            raise argparse.ArgumentTypeError(f"{text} is not from {self.least} to {self.most}")
        return value
