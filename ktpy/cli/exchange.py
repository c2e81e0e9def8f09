"""`ktpy exchange`: parse, look, hold, and say what happens."""

from __future__ import annotations

from typing import Any

import click

from ktpy.cli.base import Command
from ktpy.cli.holding import Held, holding
from ktpy.cli.types import SECONDS, TARGET
from ktpy.model import ports
from ktpy.model.events import Ready
from ktpy.model.target import Target


@click.command(
    "exchange",
    cls=Command,
    pods=True,
    epilog="""\b
Examples:
  ktpy exchange shop --expose 8080              the Service's only port is answered by laptop port 8080
  ktpy exchange shop -p 8080:80 -p 9090:grpc    a Service port, a port name or a targetPort on the right
  ktpy exchange deploy/shop -- ./serve --port 8080
""",
)
@click.argument("target", type=TARGET)
@click.option(
    "-p",
    "--expose",
    "exposed",
    multiple=True,
    metavar="[HOST:]LAPTOP[:SERVICE]",
    help="Which laptop port answers which Service port; a comma list or repeated.",
)
@click.option("--check-ports/--no-check-ports", default=True, help="First see that something listens on the laptop.")
@click.option(
    "--wait",
    type=SECONDS,
    default="60s",
    metavar="TIME",
    help="How long the command after -- may take to open its ports.",
)
@click.option("--take-over", is_flag=True, help="End the session that holds the Service, if its heartbeat stopped.")
@click.option(
    "--if-taken-back",
    type=click.Choice(["end", "again"]),
    default="end",
    help="When the owner's apply gives the Service back: end, or divert it again.",
)
@click.option("--dry-run", is_flag=True, help="Print each object and patch and what undoes it; change nothing.")
@click.option("--background", is_flag=True, help="Return at ready; the session goes on. See status, leave, logs.")
@click.option(
    "--interactive",
    is_flag=True,
    help="The command after -- reads this terminal, and Ctrl-C is its own too. Else the Service is given back before "
    "the command is ended, and its standard input is /dev/null instead of the terminal.",
)
@click.option(
    "--events", type=click.Path(dir_okay=False), help="With --output json and a command: where the events go."
)
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def command(ctx: click.Context, /, target: Target, exposed: tuple[str, ...], **how: Any) -> int:
    """Send ALL of a Service's traffic to this laptop until you press Ctrl-C.

    TARGET is shop, service/shop, deployment/shop or statefulset/shop. With a command after --, that is started first,
    the Service is switched when its ports listen, and the exchange ends with it. Ctrl-C gives the Service back first,
    then ends the command and all that it started; a command that reads the terminal needs --interactive.
    """
    from ktpy.modes import exchange as mode

    held = Held(
        ctx.obj, "exchange", how["command"], wait=how["wait"], check=how["check_ports"], events=how["events"],
        interactive=how["interactive"],
    )  # fmt: skip
    wanted = ports.exposes(exposed)  # first: in the background nobody would read that they make no sense
    if how["background"] and not how["dry_run"]:
        return held.in_background()
    with holding(held) as kt:
        plan = mode.looked(kt, target, wanted, take_over=how["take_over"], dry_run=how["dry_run"])
        if how["dry_run"]:
            held.print_plan(mode.steps(kt, plan))
            return 0
        if not how["command"]:
            held.expect_listeners(plan.routes)
        with (
            held.child(kt),
            mode.exchange(
                kt, plan, gate=lambda: held.gate(kt, plan.routes), again=how["if_taken_back"] == "again"
            ) as link,
        ):
            held.ready(kt, link, ready_text(kt.cluster.namespace, plan), plan.routes)
    return held.exit_code(kt)


def ready_text(namespace: str, plan: Any) -> Ready:
    """The four facts."""
    name, first = plan.ref.name, plan.routes[0].service.port
    pods = len(plan.pods)
    wait = f"{pods} pod{'s' if pods != 1 else ''} of the cluster get{'s' if pods == 1 else ''} nothing new"
    return Ready(
        mode="exchange",
        session="",
        namespace=namespace,
        target=str(plan.ref),
        taken=(*(f"port {route}" for route in plan.routes), wait),
        affected="ALL requests, everyone's; older connections stay with the old pods until their clients reconnect.",
        try_=f"kubectl -n {namespace} port-forward service/{name} 8000:{first}, then: curl http://127.0.0.1:8000/",
        stop=f"Ctrl-C, or from anywhere: ktpy leave {name}",
        others=tuple(f"{other.owner} ({other.mode} of {other.target})" for other in plan.others),
    )
