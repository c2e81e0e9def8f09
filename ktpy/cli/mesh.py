"""`ktpy mesh`: parse, look, join, hold, and say what happens."""

from __future__ import annotations

import os
import random
import string
from typing import Any

import click

from ktpy.cli.base import Command
from ktpy.cli.holding import Held, holding
from ktpy.cli.options import expose, holding_options
from ktpy.cli.types import SECONDS, Parsed
from ktpy.errors import Usage
from ktpy.model import istio, marks, ports, preview
from ktpy.model.events import Note, Ready, Rules
from ktpy.model.marks import Match
from ktpy.model.ports import Expose
from ktpy.model.sharelink import Link as ShareLink
from ktpy.model.target import Target, target

MESHED: Parsed[Target] = Parsed("target", lambda text: target(text, "mesh"))
_MATCH = (
    ("--header", "NAME=VALUE", "A request header."),
    ("--header-regex", "NAME=RE", "A header that matches all of a regular expression (RE2)."),
    ("--cookie", "NAME=VALUE", "A cookie."),
    ("--query", "NAME=VALUE", "A parameter of the query."),
    ("--path", "PREFIX", "What the path begins with."),
    ("--path-regex", "RE", "A path that matches all of a regular expression."),
    ("--host", "NAME", "The Host that is asked for."),
    ("--baggage", "NAME=VALUE", "A member of the W3C baggage header."),
)


def _match_options(command: Any) -> Any:
    for name, form, text in reversed(_MATCH):
        command = click.option(name, multiple=True, metavar=form, help=text)(command)
    return command


@click.command(
    "mesh",
    cls=Command,
    pods=True,
    epilog="""\b
Examples:
  ktpy mesh shop --expose 8080                        requests with the header "version: YOUR-LOGIN" come here
  ktpy mesh shop --expose 8080 --version-mark x-dev:ana
  ktpy mesh shop --expose 8080 --path /api --cookie team=blue -- ./serve
  ktpy mesh shop --expose 8080 --link                 and a Service shop-link-YOUR-LOGIN that needs no header
  ktpy mesh shop --expose 8080 --mode manual          one more pod, and rules for an Istio of yours to paste

A mark reaches the services behind this one only if each passes it on: copy the header from the request that came in
to those that go out, or put the mark into the W3C baggage header, which tracing libraries pass on by themselves.

All HTTP requests to a share link get the headers and the baggage of your match before they are sent on, here or to
the cluster. Cookies, queries, paths, hosts and regular expressions cannot be added; what is neither HTTP/1 nor h2c
comes here with nothing added.
""",
)
@click.argument("target", type=MESHED)
@expose
@click.option(
    "-m", "--version-mark", metavar="[KEY:]VALUE",
    help="The header and its value that mark your requests; KEY is version, VALUE your login name if not given.",
)  # fmt: skip
@_match_options
@click.option(
    "--mode", type=click.Choice(["router", "auto", "manual"]), default="router",
    help="Through a router (auto is KT-Connect's name for it), or as one more pod with the mark as its label, for a "
    "service mesh with rules of your own.",
)  # fmt: skip
@click.option("--strict", is_flag=True, help="Marked requests fail while this laptop does not answer.")
@click.option(
    "--hold", type=SECONDS, default="0s", metavar="TIME", help="How long they wait for a program that restarts."
)
@click.option("--mirror", is_flag=True, help="Send copies here; the cluster still answers.")
@click.option(
    "--link", is_flag=True,
    help="Also a Service whose requests are yours without a mark, for a browser or a colleague. With it, --host NAME "
    "is no condition, but adds an Ingress for that host; that needs the rights to create and delete Ingresses.",
)  # fmt: skip
@click.option("--ingress-class", metavar="CLASS", help="With --link and --host: the Ingress's class.")
@click.option("--inspect", is_flag=True, help="Let the router keep your requests, to look at and to send again.")
@holding_options
@click.pass_context
def command(ctx: click.Context, /, target: Target, exposed: tuple[str, ...], **how: Any) -> int:
    """Send a Service's MARKED requests to this laptop, all others where they belong, until you press Ctrl-C.

    TARGET is shop, service/shop, deployment/shop or statefulset/shop. Many people can share one Service, each with
    marks of their own. When this laptop does not answer, the cluster does.
    """
    from ktpy.modes import mesh as mode

    held = Held.of(ctx.obj, "mesh", how)
    wanted = ports.exposes(exposed)
    if how["mode"] == "manual":
        return _manual(ctx, held, target, wanted, how)
    hosts, how["host"] = (how["host"], ()) if how["link"] else ((), how["host"])
    flags = [(name, text) for name in marks.FLAGS for text in how[name]]
    match = marks.match(how["version_mark"], flags, default_value)
    link = _link(match, hosts, how)
    manners = mode.Manners(how["strict"], how["hold"], how["mirror"], how["inspect"])
    if how["background"] and not how["dry_run"]:
        return held.in_background()
    with holding(held) as kt:
        seen = {"take_over": how["take_over"], "dry_run": how["dry_run"]}
        plan = mode.looked(kt, target, wanted, match, manners, link=link, **seen)
        if how["dry_run"]:
            held.print_plan(mode.steps(kt, plan))
            return 0
        text = ready_text(kt.cluster.namespace, plan)
        held.through(kt, plan.routes, lambda gate: mode.mesh(kt, plan, gate=gate), text)
    return held.exit_code(kt)


def _link(match: Match, hosts: tuple[str, ...], how: dict[str, Any]) -> ShareLink | None:
    """Raises Usage."""
    if how["ingress_class"] and not hosts:
        raise Usage("--ingress-class is for the Ingress of a share link.", "--link --host web.example.com")
    if not how["link"]:
        return None
    if len(hosts) > 1:
        raise Usage("A share link has one host.", f"--link --host {hosts[0]}")
    host = preview.host(hosts[0]) if hosts else ""
    return ShareLink(add=marks.added(match), host=host, ingress_class=how["ingress_class"] or "")


def _manual(ctx: click.Context, held: Held, target: Target, wanted: tuple[Expose, ...], how: dict[str, Any]) -> int:
    """One more pod of the Service. What a router does for a row, the mesh's own rules must do here. Raises Usage."""
    from ktpy.modes import manual as mode

    needs_router = [
        name
        for name in (*marks.FLAGS, "strict", "hold", "mirror", "link", "inspect", "take_over", "dry_run")
        if how[name]
    ]
    if needs_router:
        option = f"--{needs_router[0].replace('_', '-')}"
        raise Usage(f"{option} is a router's, and --mode manual has none.", "say it in your mesh's own rules")
    mark = istio.mark(marks.mark(how["version_mark"] or "", default_value))
    if how["background"]:
        return held.in_background()
    with holding(held) as kt:
        plan = mode.looked(kt, target, wanted, mark)
        if mark.worn != mark.value:
            kt.tell(Note(f"'{mark.value}' cannot be the value of a label: the pod wears {mark.label}."))
        kt.tell(Rules(tuple(plan.rules.splitlines())))
        text = manual_text(kt.cluster.namespace, plan)
        held.through(kt, plan.routes, lambda gate: mode.manual(kt, plan, gate=gate), text)
    return held.exit_code(kt)


def manual_text(namespace: str, plan: Any) -> Ready:
    """The four facts."""
    mark, pods = plan.mark, len(plan.pods)
    return Ready(
        mode="mesh",
        session="",
        namespace=namespace,
        target=str(plan.ref),
        taken=(*(f"port {route}" for route in plan.routes), *plan.due.ready),
        what=f"one of {pods + 1} pods of {plan.ref}, the one with {mark.label}, is",
        affected="everybody: this pod gets its share of ALL requests until your mesh's rules say otherwise.",
        try_=f"the rules above: kubectl apply -f -      and then a request with {mark.name}: {mark.value}",
        stop=f"Ctrl-C, or from anywhere: ktpy leave {plan.ref.name}      take your rules away first",
        others=tuple(f"{other.owner} ({other.mode} of {other.target})" for other in plan.others),
    )


def default_value() -> str:
    """The login name, which stays the same; letters by chance where it tells nobody apart."""
    from ktpy.cli.app import user_name

    name = user_name(os.environ)
    if name != "root" and not os.environ.get("CI"):
        return name
    return "".join(random.SystemRandom().choices(string.ascii_lowercase, k=5))


def ready_text(namespace: str, plan: Any) -> Ready:
    """The four facts."""
    name, first = plan.ref.name, plan.routes[0].service.port
    match: Match = plan.match
    where = "127.0.0.1:8000"
    return Ready(
        mode="mesh",
        session="",
        namespace=namespace,
        target=str(plan.ref),
        taken=(*(f"port {route}" for route in plan.routes), *plan.due.ready),
        what=f"requests to {plan.ref} with {match} are",
        affected="nobody else: all other requests are answered by the cluster; connections older than the router stay "
        "with the old pods until their clients reconnect.",
        try_=f"kubectl -n {namespace} port-forward service/{name} 8000:{first}, then: {marks.curl(match, where)}",
        stop=f"Ctrl-C, or from anywhere: ktpy leave {name}",
        others=tuple(f"{holder.owner} ({row.mark})" for row, holder in plan.here),
        link=_link_text(namespace, plan.link, first) if plan.link else "",
    )


def _link_text(namespace: str, link: ShareLink, port: int) -> str:
    """What a colleague types or opens."""
    forward = f"kubectl -n {namespace} port-forward service/{link.name} 8000:{port}"
    outside = f"http://{link.host}/ (once its controller has seen it), or " if link.host else ""
    return f"{outside}{forward}, then http://127.0.0.1:8000/: needs no mark"
