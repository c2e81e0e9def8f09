"""The links between the machine, the laptop and the node: their addresses, routes and the node's firewall."""

import subprocess
from pathlib import Path
from string import Template

from . import kernel
from .debs import Tools
from .state import Born, Cluster

PODS, SERVICES = "10.244.0.0/16", "10.96.0.0/16"
UPLINK, LAPTOP, API = "uplink", "laptop", "api"  # the node's two ends, and the laptop's one


def connect(cluster: Cluster, life: Born, tools: Tools) -> None:
    """Lay the machine's and the laptop's link to the node, with nothing behind the API server's port."""
    _ip(f"link add {cluster.link} type veth peer name {UPLINK} netns {life.pid}")
    _ip(
        f"addr add {cluster.machine_address}/30 dev {cluster.link}",
        f"link set {cluster.link} up",
        *(f"route replace {route}" for route in _dead_ends(cluster)),
    )
    with kernel.in_network(life.network):
        _ip(f"link add {LAPTOP} type veth peer name {API} netns {life.laptop_network}")
        _ip(
            "link set lo up",
            f"addr add {cluster.address}/30 dev {UPLINK}",
            f"link set {UPLINK} up",
            f"link set {LAPTOP} up",
            f"route add {cluster.laptop_address}/32 dev {LAPTOP} src {cluster.address}",
            # A call outside fails at once, instead of asking a gateway that is not there.
            "route add unreachable default",
            # The node's own calls to Services need some route before kube-proxy's rules can turn them.
            f"route add {SERVICES} dev {UPLINK} src {cluster.address}",
        )
        _load_firewall(cluster, tools)
    with kernel.in_network(life.laptop_network):
        _ip("link set lo up", f"addr add {cluster.laptop_address}/32 dev {API}", "route add unreachable default")
    set_laptop_link(cluster, life, up=True)


def set_laptop_link(cluster: Cluster, life: Born, *, up: bool) -> None:
    """Take the laptop's link down, as when its Wi-Fi is lost, or up again; the kernel drops the route each time."""
    with kernel.in_network(life.laptop_network):
        if up:
            _ip(f"link set {API} up", f"route replace {cluster.address}/32 dev {API} src {cluster.laptop_address}")
        else:
            _ip(f"link set {API} down")


def set_weather(life: Born, *, delay: str, loss: str) -> str:
    """Delay and lose packets on the laptop's link, each way; with neither, stop that. Answers what went wrong."""
    terms = [*(["delay", delay] if delay else []), *(["loss", loss] if loss else [])]
    for namespace, device in ((life.laptop_network, API), (life.network, LAPTOP)):
        with kernel.in_network(namespace):
            subprocess.run(["tc", "qdisc", "del", "dev", device, "root"], capture_output=True)
            if not terms:
                continue
            command = ["tc", "qdisc", "add", "dev", device, "root", "netem", *terms]
            done = subprocess.run(command, capture_output=True, text=True)
            if "kind is unknown" in done.stderr:
                return "This kernel lacks sch_netem, so the laptop's link can neither be slowed nor lose packets."
            if done.returncode:
                return f"The laptop's link stays as it was: {done.stderr.strip()}"
    return ""


def disconnect(cluster: Cluster) -> None:
    """Remove the machine's end, which the kernel would do too, but not at once; and the routes, which it would not."""
    if Path("/sys/class/net", cluster.link).exists():
        subprocess.run(["ip", "link", "del", cluster.link], capture_output=True)
    for route in _dead_ends(cluster):
        subprocess.run(["ip", "route", "del", *route.split()], capture_output=True)


def _dead_ends(cluster: Cluster) -> list[str]:
    """Without these the machine would send what is meant for pods to its gateway, and some gateways answer.

    The high metric lets any route of a program under test win, and tells one cluster's from another's.
    """
    return [f"unreachable {net} metric {1_000_000 + cluster.index}" for net in (PODS, SERVICES)]


def _load_firewall(cluster: Cluster, tools: Tools) -> None:
    rules = Template((Path(__file__).parent / "templates/firewall.nft").read_text())
    values = {
        "uplink": UPLINK,
        "laptop": LAPTOP,
        "address": cluster.address,
        "machine_address": cluster.machine_address,
        "laptop_address": cluster.laptop_address,
    }
    subprocess.run(
        [f"{tools.folder}/usr/sbin/nft", "-f", "-"],
        input=rules.substitute(values),
        env={"LD_LIBRARY_PATH": tools.libraries},
        text=True,
        check=True,
    )


def _ip(*commands: str) -> None:
    subprocess.run(["ip", "-batch", "-"], input="\n".join(commands) + "\n", text=True, check=True)
