"""Which laptop port answers which Service port: what users type, held against the Service."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ktpy.errors import KtError, NotFound, Usage
from ktpy.model import names
from ktpy.model.ref import Object

LAPTOP = "127.0.0.1"


@dataclass(frozen=True)
class Expose:
    """One `--expose`: HOST:LAPTOP answers SERVICE (a port, a port name, a targetPort; None: the only one)."""

    laptop: int
    service: str | None = None
    host: str = LAPTOP

    def __str__(self) -> str:
        host = "" if self.host == LAPTOP else f"{self.host}:"
        return f"{host}{self.laptop}" + (f":{self.service}" if self.service else "")


class PodPort(NamedTuple):
    """A port that the shadow opens; NAME where the Service's targetPort is a name."""

    number: int
    name: str | None = None


@dataclass(frozen=True)
class ServicePort:
    """A port of the Service. TARGET: targetPort as it stands; NUMBER: the same as a number, None if no pod tells."""

    port: int
    name: str
    target: str
    number: int | None
    protocol: str = "TCP"

    def __str__(self) -> str:
        name = f" ({self.name})" if self.name else ""
        return f"{self.port}{name}"


@dataclass(frozen=True)
class Route:
    """What arrives for SERVICE at the shadow's POD port is answered by HOST:LAPTOP."""

    service: ServicePort
    pod: PodPort
    host: str
    laptop: int

    def __str__(self) -> str:
        return f"{self.service} → {self.host}:{self.laptop}"


def _port(text: str, whole: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 65536:
        raise Usage(f"'{text}' in '{whole}' is not a port from 1 to 65535.", "--expose 8080:80")
    return int(text)


def expose(text: str) -> Expose:
    """`8080`, `8080:80`, `8080:http`, `HOST:8080:80`, `[::1]:8080:80`. Raises Usage."""
    host, rest = LAPTOP, text
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]:")
        if not bracket:
            raise Usage(f"'{text}' is not an address and a port.", "--expose [::1]:8080:80")
    parts = rest.split(":")
    if len(parts) == 3:
        host, *parts = parts
    if not host or not all(parts) or len(parts) > 2:
        raise Usage(f"'{text}' is not LAPTOP_PORT, LAPTOP_PORT:SERVICE_PORT or HOST:LAPTOP_PORT:SERVICE_PORT.")
    return Expose(_port(parts[0], text), parts[1] if len(parts) == 2 else None, host)


def exposes(texts: Sequence[str]) -> tuple[Expose, ...]:
    """Each `--expose` may itself be a comma list."""
    return tuple(expose(part.strip()) for text in texts for part in text.split(",") if part.strip())


def named_numbers(pods: Sequence[Object]) -> dict[str, int]:
    """The container port behind each port name, as the pods declare it; the first pod that has it decides."""
    numbers: dict[str, int] = {}
    for pod in pods:
        for container in pod.get("spec", {}).get("containers", []):
            for port in container.get("ports") or []:
                if port.get("name"):
                    numbers.setdefault(port["name"], port["containerPort"])
    return numbers


def ports_of(service: Object, pods: Sequence[Object]) -> tuple[ServicePort, ...]:
    """The Service's ports, named targetPorts looked up in PODS."""
    numbers = named_numbers(pods)
    found = []
    for port in service["spec"].get("ports") or []:
        target = str(port.get("targetPort", port["port"]))
        number = int(target) if target.isdigit() else numbers.get(target)
        found.append(ServicePort(port["port"], port.get("name", ""), target, number, port.get("protocol", "TCP")))
    return tuple(found)


def must_agree(pods: Sequence[Object], ports: Sequence[ServicePort]) -> None:
    """Errors: KtError where a named targetPort is one number in some pods and another in others: a router has one."""
    for port in ports:
        if port.target.isdigit():
            continue
        numbers = sorted({numbers[port.target] for pod in pods if port.target in (numbers := named_numbers([pod]))})
        if len(numbers) > 1:
            raise KtError(f"Port name '{port.target}' stands for {numbers[0]} in some pods and {numbers[1]} in others.")


def table(ports: Sequence[ServicePort]) -> str:
    """The Service's ports in words."""
    return ", ".join(f"{p}/{p.protocol}" if p.protocol != "TCP" else str(p) for p in ports) or "none"


def paste_line(name: str, ports: Sequence[ServicePort], command: str) -> str:
    """A whole `ktpy COMMAND … --expose` to paste, laptop ports as the containers have them."""
    pairs = ",".join(f"{p.number or p.port}:{p.port}" for p in ports)
    return f"ktpy {command} {name} --expose {pairs}"


def _matched(wanted: Expose, name: str, ports: Sequence[ServicePort], command: str) -> ServicePort:
    """A Service port, else a port name, else a targetPort."""
    if wanted.service is None:
        if len(ports) == 1:
            return ports[0]
        raise Usage(
            f"service/{name} has several ports ({table(ports)}): say which {wanted} is for.",
            paste_line(name, ports, command),
        )
    spellings: tuple[Callable[[ServicePort], set[str]], ...] = (
        lambda p: {str(p.port)},
        lambda p: {p.name},
        lambda p: {p.target, str(p.number)},
    )
    for spelled in spellings:
        found = [port for port in ports if wanted.service in spelled(port)]
        if found:
            return found[0]
    raise NotFound(
        f"service/{name} has no port '{wanted.service}'; it has {table(ports)}.", paste_line(name, ports, command)
    )


def pod_port(port: ServicePort) -> PodPort:
    """Where no pod tells a name's number any number will do: the shadow declares the name itself."""
    name = None if port.target.isdigit() else port.target
    return PodPort(port.number or port.port, name)


def resolve(
    wanted: Sequence[Expose], name: str, ports: Sequence[ServicePort], command: str = "exchange"
) -> tuple[Route, ...]:
    """A route for each of WANTED. Raises Usage, NotFound, or KtError where two contradict each other."""
    routes: list[Route] = []
    for one in wanted:
        port = _matched(one, name, ports, command)
        if port.protocol != "TCP":
            raise KtError(
                f"Port {port} of service/{name} is {port.protocol}; ktpy carries TCP.", paste_line(name, ports, command)
            )
        routes.append(Route(port, pod_port(port), one.host, one.laptop))
    seen: dict[int, Route] = {}
    for route in routes:
        other = seen.setdefault(route.pod.number, route)
        if (other.host, other.laptop) != (route.host, route.laptop):
            raise Usage(f"Port {route.pod.number} of the pods is given twice: {other} and {route}.")
    return tuple(routes)


def must_be_complete(
    routes: Sequence[Route], name: str, ports: Sequence[ServicePort], command: str = "exchange"
) -> None:
    """In direct mode a Service port that is not exposed would die: refuse unless all are given."""
    given = {route.service.port for route in routes}
    missing = [port for port in ports if port.port not in given]
    if any(port.protocol != "TCP" for port in missing):
        raise KtError(f"service/{name} has a port that is not TCP ({table(missing)}); an exchange would cut it off.")
    if missing:
        raise KtError(
            f"An exchange takes all of service/{name}, and nothing would answer port {table(missing)}.",
            paste_line(name, ports, command),
        )


def plain_expose(name: str, ports: Sequence[ServicePort], command: str = "exchange") -> Expose:
    """What is meant when no `--expose` is given: the only port, at its targetPort's number. Raises Usage."""
    if len(ports) != 1:
        raise Usage(
            f"service/{name} has several ports ({table(ports)}): say which laptop ports answer.",
            paste_line(name, ports, command),
        )
    return Expose(ports[0].number or ports[0].port, str(ports[0].port))


def chosen(wanted: Sequence[Expose], name: str, ports: Sequence[ServicePort], command: str) -> tuple[Route, ...]:
    """A route for each of WANTED, else the plain one. Raises as `resolve` and `plain_expose` do."""
    return resolve(wanted or [plain_expose(name, ports, command)], name, ports, command)


def pod_ports(routes: Sequence[Route]) -> tuple[PodPort, ...]:
    """The ports of the shadow, each once; a number may stand under several names."""
    return tuple(dict.fromkeys(route.pod for route in routes))


def pulse_port(routes: Sequence[Route]) -> int:
    """The port of the shadow at which ktpy itself answers: one that no program of the laptop needs."""
    taken = {route.pod.number for route in routes}
    return next(port for port in range(names.PULSE_PORT, names.PULSE_PORT + len(taken) + 1) if port not in taken)


def arrivals(routes: Sequence[Route]) -> Mapping[int, tuple[str, int]]:
    """Pod port number → laptop address."""
    return {route.pod.number: (route.host, route.laptop) for route in routes}
