"""The command line of scripts/cluster."""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

from . import images, lifecycle, network, places
from .state import Refused


def _parser() -> argparse.ArgumentParser:
    about = "A real single-node Kubernetes, without Docker."
    parser = argparse.ArgumentParser(prog="scripts/cluster", description=about)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, help_text: str, act: Callable[[argparse.Namespace], int]) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=help_text, description=help_text)
        command.add_argument(
            "--name", default=os.environ.get("KTPY_TEST_CLUSTER", "ktpy"),
            help="which cluster (default: KTPY_TEST_CLUSTER, else ktpy)",
        )  # fmt: skip
        command.set_defaults(act=act)
        return command

    command = add("up", "Bring a cluster up; the first time this compiles Kubernetes, about 10 minutes.", _up)
    command.add_argument("--min-sync-period", default="1s", help="of kube-proxy (default: 1s, as users have it)")
    add("down", "Take the cluster down, and all its files but the cache.", _down)
    add("status", "Say how the cluster is: exit code 0 when it is up, else 3.", _status)
    add("build", "Only compile and fetch what the node needs.", _build)
    command = add("load", "Load images from docker-archive or oci-archive files.", _load)
    command.add_argument("archives", nargs="+", type=Path, metavar="ARCHIVE")
    add("kubeconfig", "Print the path of the administrator's kubeconfig.", _kubeconfig)
    command = add("path", "Print the path of a built program, e.g. kubectl.", _path)
    command.add_argument("program")
    command = add("kubectl", "Run kubectl as the cluster's administrator.", _kubectl)
    command.add_argument("arguments", nargs=argparse.REMAINDER)
    command = add("enter", "Run a command, or a shell, inside the node.", _enter)
    command.add_argument("arguments", nargs=argparse.REMAINDER, metavar="CMD")
    command = add("laptop", "Run a command where only the API server can be reached.", _laptop)
    command.add_argument("--uid", type=int, help="as this user and group, without any capability")
    command.add_argument("arguments", nargs=argparse.REMAINDER, metavar="CMD")
    command = add("link", "Take the laptop's link down or up.", _link)
    command.add_argument("state", choices=("up", "down"))
    command = add("netem", "Delay and lose packets on the laptop's link, in each direction.", _netem)
    command.add_argument("--delay", default="", help="e.g. 20ms")
    command.add_argument("--loss", default="", help="e.g. 1%%")
    command.add_argument("--off", action="store_true", help="no more of it")
    return parser


def _up(given: argparse.Namespace) -> int:
    return lifecycle.up(given.name, min_sync_period=given.min_sync_period)


def _down(given: argparse.Namespace) -> int:
    return lifecycle.down(given.name)


def _status(given: argparse.Namespace) -> int:
    return lifecycle.status(given.name)


def _build(_: argparse.Namespace) -> int:
    programs = lifecycle.get_programs()
    print(*programs.built.values(), programs.tools.folder, sep="\n")
    return 0


def _load(given: argparse.Namespace) -> int:
    cluster, _, programs = lifecycle.running(given.name)
    for archive in given.archives:
        print(images.load(cluster, programs, archive), flush=True)
    return 0


def _kubeconfig(given: argparse.Namespace) -> int:
    print(lifecycle.running(given.name)[0].kubeconfig)
    return 0


def _path(given: argparse.Namespace) -> int:
    try:
        print(lifecycle.get_programs().program(given.program))
    except StopIteration:
        raise Refused(f"No program {given.program} is built here. Try: scripts/cluster path kubectl") from None
    return 0


def _kubectl(given: argparse.Namespace) -> int:
    cluster, _, programs = lifecycle.running(given.name)
    places.as_admin(cluster, programs, _words(given.arguments))


def _enter(given: argparse.Namespace) -> int:
    cluster, life, programs = lifecycle.running(given.name)
    places.in_node(cluster, life, programs, _words(given.arguments))


def _laptop(given: argparse.Namespace) -> int:
    _, life, _ = lifecycle.running(given.name)
    places.on_laptop(life, _words(given.arguments) or ["bash"], uid=given.uid)


def _link(given: argparse.Namespace) -> int:
    cluster, life, _ = lifecycle.running(given.name)
    network.set_laptop_link(cluster, life, up=given.state == "up")
    return 0


def _netem(given: argparse.Namespace) -> int:
    _, life, _ = lifecycle.running(given.name)
    if not given.off and not given.delay and not given.loss:
        raise Refused("Say what the link should do. Try: scripts/cluster netem --delay 20ms --loss 1%")
    complaint = network.set_weather(life, delay="" if given.off else given.delay, loss="" if given.off else given.loss)
    if complaint:
        raise Refused(complaint)
    return 0


def _marked(arguments: list[str]) -> list[str]:
    """Put -- before the command that is to be run, so that its options are not taken for ours."""
    if not arguments or arguments[0] not in {"kubectl", "enter", "laptop"}:
        return arguments
    at = 1
    while at < len(arguments) and arguments[at].partition("=")[0] in {"--name", "--uid"}:
        at += 1 if "=" in arguments[at] else 2
    is_ours = arguments[at : at + 1] in (["--"], ["-h"], ["--help"])
    return arguments if is_ours else [*arguments[:at], "--", *arguments[at:]]


def _words(arguments: list[str]) -> list[str]:
    return arguments[1:] if arguments[:1] == ["--"] else arguments


def main(arguments: list[str]) -> int:
    """Run one command; the answer is the exit code."""
    given = _parser().parse_args(_marked(arguments))
    try:
        code: int = given.act(given)
    except Refused as refusal:
        print(f"Error: {refusal}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
