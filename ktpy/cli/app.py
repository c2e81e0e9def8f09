"""One invocation: its settings, its voice and its log; from these a run's Kt is built."""

from __future__ import annotations

import contextlib
import getpass
import logging
import os
import secrets
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ktpy import __version__
from ktpy.cli.say import Say, harmless
from ktpy.laptop import config
from ktpy.model import image, names
from ktpy.model.router_manifests import RouterShape
from ktpy.model.settings import Settings, from_environment, layered
from ktpy.model.shape import PodShape
from ktpy.stop import Stop

if TYPE_CHECKING:  # heavy: each only where it is used
    from ktpy.cluster.endpoint import Endpoint
    from ktpy.kt import Kt
    from ktpy.laptop.state import Run
    from ktpy.net.tunnel import Dial, Tunnel

DIAL_SECONDS = 10.0
CALL_SECONDS = 10.0  # well below a heartbeat's 30 s, and as long as an admission webhook may take


class _Harmless(logging.Formatter):
    """The log is shown on terminals, and much of it is text that comes from the cluster."""

    def format(self, record: logging.LogRecord) -> str:
        return harmless(super().format(record))


@dataclass
class App:
    """FLAGS as typed, the command's over the group's."""

    say: Say = field(default_factory=Say)
    flags: dict[str, Any] = field(default_factory=dict)
    debug: bool = False
    log: Path | None = None
    stop: Stop = field(default_factory=Stop)
    files: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)  # open until the last word is said
    run: Run | None = None

    def settings(self) -> Settings:
        """Every layer, read now. Raises Usage for a value that cannot be."""
        return layered(
            [
                (str(config.path()), config.read()),
                ("environment", from_environment(os.environ)),
                ("flag", self.flags),
            ]
        )

    def open_log(self, command: str) -> Run:
        """Every run of a command that touches a cluster has a log at debug level, also when nobody asks for it.

        Errors: KtError where the folder of logs cannot be used.
        """
        from ktpy.laptop.state import open_run, unusable

        try:
            run = open_run(command)
            handlers: list[logging.Handler] = [logging.FileHandler(run.log)]
        except OSError as error:
            raise unusable(error) from error
        if self.debug:
            handlers.append(logging.StreamHandler())
        for handler in handlers:
            handler.setFormatter(_Harmless("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
            logging.getLogger().addHandler(handler)
        logging.getLogger("ktpy").setLevel(logging.DEBUG)
        self.log = run.log
        logging.getLogger("ktpy").debug("ktpy %s %s, pid %d", __version__, command, os.getpid())
        return run

    def kt(self, command: str) -> Kt:
        """The run: logged in to the cluster, nothing asked of it yet."""
        run = self.run = self.open_log(command)
        from ktpy.cluster.gateway import Cluster
        from ktpy.cluster.http import HttpApi
        from ktpy.cluster.login import login
        from ktpy.kt import Kt, User
        from ktpy.laptop.machine import Laptop

        settings = self.settings()
        way = login(settings.kubeconfig, settings.context)
        namespace = settings.namespace or way.namespace
        cluster = Cluster(HttpApi(way.endpoint, timeout=min(settings.timeout, CALL_SECONDS)), namespace)
        return Kt(
            cluster=cluster,
            laptop=Laptop(run),
            settings=settings,
            stop=self.stop,
            user=User(user_name(os.environ), socket.gethostname()),
            tell=self.tell,
            dial=_dialer(way.endpoint, namespace),
            tunnel=_tunnel,
            chance=lambda: secrets.token_hex(4),
            shape=shape(settings),
            router=router_shape(settings),
        )

    def tell(self, event: Any) -> None:
        logging.getLogger("ktpy").debug("%s", event)
        self.say.tell(event)


def _dialer(endpoint: Endpoint, namespace: str) -> Callable[[str], Dial]:
    """pod → how its sshd is reached."""

    def to(pod: str) -> Dial:
        from ktpy.cluster.forward import dial

        return lambda protocol: dial(endpoint, namespace, pod, names.SSH_PORT, protocol, timeout=DIAL_SECONDS)

    return to


def _tunnel(*arguments: Any, **named: Any) -> Tunnel:
    from ktpy.net.tunnel import Tunnel

    return Tunnel(*arguments, **named)


def user_name(environment: Mapping[str, str]) -> str:
    """The login name; a uid that has none is called by its number."""
    try:
        return environment.get("SUDO_USER") or getpass.getuser()
    except (OSError, KeyError):
        return f"uid-{os.getuid()}"


def shape(settings: Settings) -> PodShape:
    """How this user's pods are to look."""
    default = PodShape(image="")
    shadow = settings.image or image.reference(settings.prefix or "", image.IMAGES["shadow"].name, __version__)
    return _shaped(settings, shadow, default.requests, default.limits)


def router_shape(settings: Settings) -> RouterShape:
    """The same for the router's pods."""
    router = settings.router_image or image.reference(settings.prefix or "", image.IMAGES["router"].name, __version__)
    default = RouterShape.pod_default()
    return RouterShape(
        _shaped(settings, router, default.requests, default.limits),
        replicas=settings.router_replicas,
        drain=settings.drain,
    )


def _shaped(settings: Settings, name: str, requests: Mapping[str, str], limits: Mapping[str, str]) -> PodShape:
    return PodShape(
        image=name,
        pull_policy=settings.pull_policy,
        pull_secret=settings.pull_secret,
        service_account=settings.service_account,
        node_selector=settings.node_selector,
        labels=settings.label,
        annotations=settings.annotation,
        requests={**requests, **settings.requests},
        limits={**limits, **settings.limits},
    )
