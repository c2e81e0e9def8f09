"""Names become addresses, by a name server's answers that are kept for as long as they say."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import dns.asyncresolver
import dns.message
import dns.name
import dns.rdataclass
import dns.rdatatype
import dns.resolver
import dns.rrset
import pytest

from ktpy_router.resolve import LEAST_SECONDS, MOST_SECONDS, Names, Unresolved, resolver_of_the_system


class Server(dns.asyncresolver.Resolver):
    """A resolver with a server of its own inside: search list and all, but no socket."""

    def __init__(self, records: dict[str, tuple[str, int]]) -> None:
        super().__init__(configure=False)
        self.nameservers = ["192.0.2.53"]
        self.search = [dns.name.from_text("shop.svc.cluster.local"), dns.name.from_text("svc.cluster.local")]
        self.ndots = 5
        self.records = records
        self.asked: list[str] = []
        self.down = False
        self.slow: asyncio.Event | None = None

    async def resolve(self, qname: Any, rdtype: Any = "A", *more: Any, search: Any = None, **others: Any) -> Any:
        if self.slow:
            await self.slow.wait()
        if self.down:
            raise dns.resolver.LifetimeTimeout(timeout=1.0, errors=[])
        kind = dns.rdatatype.RdataType.make(rdtype)
        for name in self._get_qnames_to_try(dns.name.from_text(qname, None), search):
            self.asked.append(f"{name} {dns.rdatatype.to_text(kind)}")
            text = str(name).removesuffix(".")
            if text not in self.records:
                continue
            address, seconds = self.records[text]
            query = dns.message.make_query(name, kind)
            answer = dns.message.make_response(query)
            if (":" in address) != (kind is dns.rdatatype.AAAA):
                raise dns.resolver.NoAnswer(response=answer)
            rrset = answer.find_rrset(answer.answer, name, dns.rdataclass.IN, kind, create=True)
            rrset.update(dns.rrset.from_text(name, seconds, "IN", kind, address))
            return dns.resolver.Answer(name, kind, dns.rdataclass.IN, answer)
        raise dns.resolver.NXDOMAIN


def run(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(scenario(), 10))


@pytest.mark.parametrize("address", ["10.96.0.7", "fd00::7", "::1"])
def test_an_address_is_its_own_answer(address: str) -> None:
    async def scenario() -> None:
        server = Server({})
        assert await Names(server).resolve(address) == ([address], MOST_SECONDS)
        assert server.asked == []

    run(scenario)


def test_the_search_list_is_gone_through() -> None:
    async def scenario() -> None:
        server = Server({"cart.svc.cluster.local": ("10.96.0.7", 30)})
        addresses, seconds = await Names(server).resolve("cart")
        assert addresses == ["10.96.0.7"]
        assert 29 < seconds <= 30
        assert server.asked == ["cart.shop.svc.cluster.local. A", "cart.svc.cluster.local. A"]

    run(scenario)


def test_a_name_with_ipv6_only_is_found() -> None:
    async def scenario() -> None:
        names = Names(Server({"cart.shop.svc.cluster.local": ("fd00::7", 30)}))
        assert (await names.resolve("cart"))[0] == ["fd00::7"]

    run(scenario)


@pytest.mark.parametrize(("told", "kept"), [(0, LEAST_SECONDS), (30, 30.0), (86400, MOST_SECONDS)])
def test_an_answer_is_kept_as_long_as_it_says_within_bounds(told: int, kept: float) -> None:
    async def scenario() -> None:
        server = Server({"cart.": ("10.96.0.7", told), "cart.shop.svc.cluster.local": ("10.96.0.7", told)})
        names = Names(server)
        _, seconds = await names.resolve("cart")
        assert kept - 1 < seconds <= kept
        await names.resolve("cart")
        assert len(server.asked) == 1

    run(scenario)


def expire(names: Names) -> None:
    for host, found in names._found.items():
        names._found[host] = found._replace(until=0.0)


def test_a_name_is_asked_again_when_its_time_is_over() -> None:
    async def scenario() -> None:
        server = Server({"cart.shop.svc.cluster.local": ("10.96.0.7", 30)})
        names = Names(server)
        await names.resolve("cart")
        server.records["cart.shop.svc.cluster.local"] = ("10.96.0.8", 30)
        expire(names)
        assert (await names.resolve("cart"))[0] == ["10.96.0.8"]

    run(scenario)


def test_a_failed_lookup_keeps_the_last_good_answer() -> None:
    async def scenario() -> None:
        server = Server({"cart.shop.svc.cluster.local": ("10.96.0.7", 30)})
        names = Names(server)
        await names.resolve("cart")
        server.down = True
        expire(names)
        addresses, seconds = await names.resolve("cart")
        assert addresses == ["10.96.0.7"]
        assert seconds <= 6

    run(scenario)


def test_a_name_server_that_is_slow_holds_nobody_up_who_has_an_answer() -> None:
    async def scenario() -> None:
        server = Server({"cart.shop.svc.cluster.local": ("10.96.0.7", 30)})
        names = Names(server)
        await names.resolve("cart")
        expire(names)
        server.slow = asyncio.Event()
        assert (await names.resolve("cart"))[0] == ["10.96.0.7"]
        server.records["cart.shop.svc.cluster.local"] = ("10.96.0.8", 30)
        server.slow.set()
        assert (await names.resolve("cart"))[0] == ["10.96.0.8"]

    run(scenario)


def test_callers_at_the_same_time_share_one_question() -> None:
    async def scenario() -> None:
        server = Server({"cart.shop.svc.cluster.local": ("10.96.0.7", 30)})
        server.slow = asyncio.Event()
        names = Names(server)
        impatient = asyncio.ensure_future(names.resolve("cart"))
        others = [asyncio.ensure_future(names.resolve("cart")) for _ in range(5)]
        await asyncio.sleep(0)
        impatient.cancel()
        server.slow.set()
        assert [addresses for addresses, _ in await asyncio.gather(*others)] == [["10.96.0.7"]] * 5
        assert len(server.asked) == 1

    run(scenario)


def test_the_hosts_file_answers_where_no_name_server_does() -> None:
    async def scenario() -> None:
        addresses, seconds = await Names(Server({})).resolve("localhost")
        assert "127.0.0.1" in addresses
        assert seconds <= 5

    run(scenario)


def test_a_name_that_nobody_knows_is_an_error_with_the_name() -> None:
    async def scenario() -> None:
        with pytest.raises(Unresolved, match=r"'no\.such\.name\.invalid' is not known"):
            await Names(Server({})).resolve("no.such.name.invalid")

    run(scenario)


def test_the_systems_resolver_is_bounded_in_time() -> None:
    resolver = resolver_of_the_system()
    assert resolver is None or resolver.lifetime <= 5
