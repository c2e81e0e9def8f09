"""`ktpy preview`: parse, look, publish, hold, and say what happens."""

from __future__ import annotations

from typing import Any

import click

from ktpy.cli.base import Command
from ktpy.cli.holding import Held, holding
from ktpy.cli.options import holding_options
from ktpy.cli.types import Parsed
from ktpy.errors import Usage
from ktpy.model import preview
from ktpy.model.events import Ready
from ktpy.model.preview import Wanted

NAME: Parsed[str] = Parsed("name", preview.name)
HOST: Parsed[str] = Parsed("host", preview.host)


@click.command(
    "preview",
    cls=Command,
    pods=True,
    epilog="""\b
Examples:
  ktpy preview web --expose 8080                     http://web:8080/ in the cluster is laptop port 8080
  ktpy preview web -p 8080:80/http -p 9090:90/grpc   Service ports 80 and 90, with names of their own
  ktpy preview web -p 9090:90 --app-protocol kubernetes.io/h2c
  ktpy preview web -p 8080:80 --host web.example.com -- ./serve --port 8080
""",
)
@click.argument("name", type=NAME)
@click.option(
    "-p", "--expose", "exposed", multiple=True, required=True, metavar="[HOST:]LAPTOP[:PORT][/NAME]",
    help="Which laptop port answers which port of the new Service (the same number, if PORT is left out), and the "
    "port's NAME; of several ports each has one, port-80 if none is given. A comma list or repeated.",
)  # fmt: skip
@click.option(
    "--app-protocol", multiple=True, metavar="[PORT=]PROTOCOL",
    help="What the ports speak, for meshes and Ingresses, e.g. kubernetes.io/h2c or 80=http. Repeated for several.",
)  # fmt: skip
@click.option(
    "--external", is_flag=True, help="Reachable from outside of the cluster too: a Service of type LoadBalancer."
)
@click.option(
    "--host", type=HOST, metavar="NAME",
    help="Also an Ingress that sends requests for this host to the first port. It needs the rights to create and "
    "delete Ingresses, which the published Role does not have.",
)  # fmt: skip
@click.option("--ingress-class", metavar="CLASS", help="With --host: the Ingress's class, if not the default one.")
@holding_options
@click.pass_context
def command(ctx: click.Context, /, name: str, exposed: tuple[str, ...], **how: Any) -> int:
    """Publish a process of this laptop as a NEW Service NAME until you press Ctrl-C.

    Nobody's traffic is taken: a Service of that name must not exist yet, and it goes again at the end. With a command
    after --, that is started first, ready waits for its ports, and the preview ends with it.
    """
    from ktpy.modes import preview as mode

    held = Held.of(ctx.obj, mode.MODE, how)
    wanted = _wanted(name, exposed, how)  # first: in the background nobody would read that it makes no sense
    if how["background"] and not how["dry_run"]:
        return held.in_background()
    with holding(held) as kt:
        plan = mode.looked(kt, wanted, take_over=how["take_over"], dry_run=how["dry_run"])
        if how["dry_run"]:
            held.print_plan(mode.steps(kt, plan))
            return 0
        held.through(kt, plan.routes, lambda gate: mode.preview(kt, plan, gate=gate), ready_text(plan))
    return held.exit_code(kt)


def _wanted(name: str, exposed: tuple[str, ...], how: dict[str, Any]) -> Wanted:
    """Raises Usage."""
    if how["ingress_class"] and not how["host"]:
        raise Usage("--ingress-class is for an Ingress, and that needs a host.", "--host web.example.com")
    routes = preview.routes(exposed)
    return Wanted(
        name, routes, preview.protocols(how["app_protocol"], routes), external=how["external"],
        host=how["host"] or "", ingress_class=how["ingress_class"] or "",
    )  # fmt: skip


def ready_text(plan: Any) -> Ready:
    """The four facts."""
    wanted: Wanted = plan.wanted
    name, space, first = wanted.name, plan.namespace, plan.routes[0].service.port
    port = "" if first == 80 else f":{first}"
    outside = " and whoever reaches its external address" * wanted.external + f" and {wanted.host}" * bool(wanted.host)
    return Ready(
        mode="preview",
        session="",
        namespace=space,
        target=str(plan.ref),
        taken=(f"nothing of anybody's: {plan.ref} is new", *(f"port {route}" for route in plan.routes)),
        affected=f"Nobody else. Whoever asks for {name} (from elsewhere: {name}.{space}){outside} gets this laptop; at "
        "the end the name is gone.",
        try_=f"curl http://{name}.{space}{port}/ inside a pod; from here: kubectl -n {space} port-forward "
        f"service/{name} 8000:{first}, then: curl http://127.0.0.1:8000/",
        stop=f"Ctrl-C, or from anywhere: ktpy leave {name}",
        others=tuple(f"{other.owner} ({other.mode} of {other.target})" for other in plan.others),
    )
