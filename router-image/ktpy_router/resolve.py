"""Names to addresses: asked again when the answer's time to live is over, and the last good answer kept meanwhile."""

from __future__ import annotations

import asyncio
import ipaddress
import math
import socket
from typing import NamedTuple

import dns.asyncresolver
import dns.exception
import dns.rdatatype
import dns.resolver

LEAST_SECONDS, MOST_SECONDS = 1.0, 60.0
HOSTS_SECONDS = 5.0
"""For what getaddrinfo says (hosts file, nsswitch), which tells no time to live, and between tries after a failure."""
LOOKUP_SECONDS = 4.0
PATIENCE = 0.25
"""How long a caller waits for a fresh answer where an old one is at hand: a slow name server must not look like an
upstream that is down."""
MOST_NAMES = 4096


class Unresolved(OSError):
    """No address for the name; the text says why."""


class Found(NamedTuple):
    addresses: list[str]
    until: float
    """Of the loop's clock."""


class Names:
    """The answers that one worker has."""

    def __init__(self, resolver: dns.asyncresolver.Resolver | None = None) -> None:
        self._resolver = resolver
        self._found: dict[str, Found] = {}
        self._asking: dict[str, asyncio.Task[Found]] = {}

    async def resolve(self, host: str) -> tuple[list[str], float]:
        """Addresses, IPv4 before IPv6, never none; and for how many seconds they hold.

        Errors: Unresolved, when nothing was ever found.
        """
        now = asyncio.get_running_loop().time()
        found = self._found.get(host)
        if found is None and is_literal(host):
            found = self._keep(host, Found([host], math.inf))
        if found is None or found.until <= now:
            found = await self._fresh(host, found)
            now = asyncio.get_running_loop().time()
        return found.addresses, min(MOST_SECONDS, max(0.0, found.until - now))

    async def _fresh(self, host: str, old: Found | None) -> Found:
        """Callers share one question, which outlives those that give up."""
        task = self._asking.get(host)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._ask(host, old))
            if not task.done():  # an eager task may be
                self._asking[host] = task
                task.add_done_callback(lambda _: self._asking.pop(host, None))
        if old is None:
            return await asyncio.shield(task)
        await asyncio.wait((task,), timeout=PATIENCE)
        return task.result() if task.done() else old

    async def _ask(self, host: str, old: Found | None) -> Found:
        loop = asyncio.get_running_loop()
        try:
            addresses, seconds = await self._look_up(host)
        except Unresolved:
            if old is None:
                raise
            addresses, seconds = old.addresses, HOSTS_SECONDS
        return self._keep(host, Found(addresses, loop.time() + min(MOST_SECONDS, max(LEAST_SECONDS, seconds))))

    def _keep(self, host: str, found: Found) -> Found:
        if len(self._found) >= MOST_NAMES:
            self._found.clear()
        self._found[host] = found
        return found

    async def _look_up(self, host: str) -> tuple[list[str], float]:
        """Name servers first, as the pod's resolv.conf names them with its search list; then what the system knows."""
        if self._resolver is None:
            self._resolver = resolver_of_the_system()
        for kind in (dns.rdatatype.A, dns.rdatatype.AAAA):
            if self._resolver is None or host == "localhost" or host.endswith(".localhost"):  # RFC 6761, section 6.3
                break
            try:
                answer = await self._resolver.resolve(host, kind, search=True)
            except dns.resolver.NoAnswer:
                continue
            except (dns.exception.DNSException, OSError):
                break
            return [record.address for record in answer], float(answer.chaining_result.minimum_ttl)
        return await _by_system(host), HOSTS_SECONDS


def is_literal(host: str) -> bool:
    """Whether it is an address itself. Most upstreams are."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def resolver_of_the_system() -> dns.asyncresolver.Resolver | None:
    """With the name servers, search list and ndots of /etc/resolv.conf; None when there is no such file."""
    try:
        resolver = dns.asyncresolver.Resolver()
    except dns.exception.DNSException:
        return None
    resolver.timeout = 1.0
    resolver.lifetime = LOOKUP_SECONDS
    return resolver


async def _by_system(host: str) -> list[str]:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(LOOKUP_SECONDS):
            infos = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, TimeoutError) as error:
        raise Unresolved(f"its name {host!r} is not known ({error or 'no answer'})") from error
    infos.sort(key=lambda info: info[0] != socket.AF_INET)
    return list(dict.fromkeys(str(info[4][0]) for info in infos))


_names = Names()


async def resolve(host: str, port: int) -> tuple[list[str], float]:
    """By the answers that all upstreams of this process share; PORT does not matter, no name has one of its own."""
    return await _names.resolve(host)
