"""A shadow and a tunnel: up before anything is switched, replaced when the pod goes, and gone with the session."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

import pytest

from ktpy.errors import Forbidden, Interrupted, KtError, NotFound, Taken, TunnelLost, Unreachable
from ktpy.model import names
from ktpy.model.events import Note, Step, Tunnel, Waiting
from ktpy.model.ports import PodPort, Route, ServicePort
from ktpy.model.ref import Ref
from ktpy.modes.link import Link, linked
from ktpy.net.tunnel import Arrival, TunnelState
from ktpy.session import Session
from tests.fakes import api as kubelets
from tests.fakes import things
from tests.fakes.api import FakeApi
from tests.fakes.run import FakeTunnel, Person, person, still

SHOP = Ref("Service", "shop", "team")
ROUTES = (
    Route(ServicePort(80, "http", "web", 8080), PodPort(8080, "web"), "127.0.0.1", 5000),
    Route(ServicePort(90, "rpc", "9090", 9090), PodPort(9090), "127.0.0.1", 5001),
)


@pytest.fixture
def ana(api: FakeApi) -> Person:
    api.put(things.service())
    return person(api)


@contextlib.contextmanager
def link_of(user: Person) -> Iterator[Link]:
    """A session and its link."""
    with (
        Session.open(user.kt, "exchange", SHOP) as session,
        linked(user.kt, session, ROUTES, base="shop-kt", wears={"app": "kt-1"}) as link,
    ):
        yield link


def test_every_port_is_brought_here_and_probed_before_the_link_is_there(ana: Person) -> None:
    with link_of(ana):
        (tunnel,) = ana.tunnels
        assert tunnel.arrivals == (Arrival(8080, "127.0.0.1", 5000), Arrival(9090, "127.0.0.1", 5001))
        assert tunnel.probed == [8080, 9090]
        assert tunnel.is_open

    assert not tunnel.is_open


def test_the_pod_wears_the_diverted_selector_and_the_secret_holds_no_private_key_of_ours(
    api: FakeApi, ana: Person
) -> None:
    with link_of(ana) as link:
        pod = api.read("Pod", "shop-kt")
        secret = api.read("Secret", names.lease_name(link.session.id))

    assert pod is not None
    assert pod["metadata"]["labels"]["app"] == "kt-1"
    assert secret is not None
    assert secret["data"].keys() == {"ssh_host_ed25519_key", "authorized_keys"}
    assert ana.tunnels[0].keys.client_private not in str(secret)


def test_leaving_closes_the_tunnel_and_takes_pod_and_secret_away(api: FakeApi, ana: Person) -> None:
    with link_of(ana):
        pass

    assert (api.names("Pod"), api.names("Secret"), api.names("Lease")) == ([], [], [])


def test_steps_are_told_as_they_end(ana: Person) -> None:
    with link_of(ana):
        told = [event.name for event in ana.told if isinstance(event, Step)]

    assert told == ["shadow pod", "tunnel"]


def test_an_image_that_cannot_be_pulled_is_told_at_once_with_the_kubelets_words(api: FakeApi, ana: Person) -> None:
    api.kubelet = kubelets.no_image

    with pytest.raises(KtError, match="cannot get its image .*no such image anywhere") as refused, link_of(ana):
        pytest.fail("no pod, no link")

    assert "ktpy images build" in refused.value.try_[0]
    assert (api.names("Pod"), api.names("Secret"), api.names("Lease")) == ([], [], [])


def test_a_pod_that_never_comes_is_told_after_the_timeout_with_the_schedulers_words(
    api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ktpy.modes.link.SLOW_SECONDS", 0.01)
    api.kubelet = kubelets.never
    user = person(api, timeout=0.05)

    with pytest.raises(KtError, match="does not run after 0 s: not scheduled: 0/1 nodes"), link_of(user):
        pytest.fail("no pod, no link")

    assert any(isinstance(event, Waiting) and "0/1 nodes" in event.detail for event in user.told)


def test_ctrl_c_while_waiting_for_the_pod_ends_it(api: FakeApi, ana: Person) -> None:
    api.kubelet = kubelets.never
    ana.wire.before = lambda deed: deed == "watch Pod" and ana.kt.stop.ask("Ctrl-C")  # type: ignore[assignment, return-value]

    with pytest.raises(Interrupted), link_of(ana):
        pytest.fail("it was ended")

    assert api.names("Pod") == []


def test_a_pod_that_is_deleted_is_replaced_once_and_the_tunnel_moves(api: FakeApi, ana: Person) -> None:
    with link_of(ana) as link:
        api.remove("Pod", "shop-kt")
        assert still(lambda: ana.tunnels[0].kicks == 1, ana.kt.stop)
        assert api.names("Pod") == ["shop-kt-r2"]
        assert link.shadow.name == "shop-kt-r2"

        api.remove("Pod", "shop-kt-r2")
        assert still(lambda: ana.tunnels[0].kicks == 2, ana.kt.stop)
        assert api.names("Pod") == ["shop-kt-r3"]

    notes = [event.text for event in ana.told if isinstance(event, Note)]
    assert notes[0] == "Shadow pod/shop-kt is deleted; pod/shop-kt-r2 takes its place."
    assert len(notes) == 2
    assert api.names("Pod") == []


def test_the_tunnel_moves_only_when_the_new_pod_runs(api: FakeApi, ana: Person) -> None:
    """A pod that is evicted or drained serves its tunnel on, while new connections find its successor."""
    with link_of(ana):
        api.kubelet = kubelets.never
        api.edit("Pod", "shop-kt", lambda now: now["status"].update(phase="Failed", reason="Evicted"))
        assert still(lambda: "shop-kt-r2" in api.names("Pod"), ana.kt.stop)
        assert ana.tunnels[0].kicks == 0

        api.edit("Pod", "shop-kt-r2", lambda now: now.update(status=kubelets.ready({})))
        assert still(lambda: ana.tunnels[0].kicks == 1, ana.kt.stop)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("error", [Unreachable("no answer"), Forbidden("exceeded quota")])
def test_a_replacement_that_is_refused_for_a_moment_is_tried_again(
    api: FakeApi, ana: Person, when: str, error: KtError
) -> None:
    with link_of(ana):
        refused: list[str] = []

        def once(deed: str) -> None:
            if deed.startswith("create Pod") and not refused:
                refused.append(deed)
                if when == "before":
                    raise error
                ana.wire.fail_at(len(ana.wire.calls), error, when="after")

        ana.wire.before = once
        api.remove("Pod", "shop-kt")
        assert still(lambda: ana.tunnels[0].kicks == 1, ana.kt.stop)
        assert refused
        assert api.names("Pod") == ["shop-kt-r2"]
        assert not ana.kt.stop.is_asked


def test_a_pod_deleted_by_whoever_ended_the_session_is_not_replaced(api: FakeApi, ana: Person) -> None:
    with link_of(ana) as link:
        api.edit("Lease", names.lease_name(link.session.id),
                 lambda now: now["metadata"]["annotations"].update({names.ENDED_BY: "bob"}))  # fmt: skip
        api.remove("Pod", "shop-kt")
        assert ana.kt.stop.wait(10)
        assert api.names("Pod") == []

    assert isinstance(ana.kt.stop.error, Taken)


@pytest.mark.parametrize("step", ["__enter__", "probe"])
@pytest.mark.parametrize("error", [NotFound("pod/shop-kt: terminating."), TunnelLost("no answer")])
def test_whoever_ends_the_session_while_the_tunnel_is_made_is_named(
    api: FakeApi, ana: Person, monkeypatch: pytest.MonkeyPatch, step: str, error: KtError
) -> None:
    def ended(*_: object, **__: object) -> None:
        (lease,) = api.names("Lease")
        api.edit("Lease", lease, lambda now: now["metadata"]["annotations"].update({names.ENDED_BY: "bob"}))
        raise error

    monkeypatch.setattr(FakeTunnel, step, ended)
    with pytest.raises(Taken, match="ended by bob"), link_of(ana):
        pytest.fail("it was ended")


@pytest.mark.parametrize("answer", [None, Unreachable("no answer")])
def test_a_tunnel_that_fails_by_itself_says_why(
    ana: Person, monkeypatch: pytest.MonkeyPatch, answer: KtError | None
) -> None:
    def fails(*_: object, **__: object) -> None:
        if answer:
            ana.wire.fail_at(len(ana.wire.calls) + 1, answer)
        raise TunnelLost("the host key is another")

    monkeypatch.setattr(FakeTunnel, "probe", fails)
    with pytest.raises(TunnelLost, match="another"), link_of(ana):
        pytest.fail("there is no tunnel")


def test_the_way_to_a_pod_that_does_not_run_is_not_tried(api: FakeApi, ana: Person) -> None:
    with link_of(ana) as link:
        api.kubelet = kubelets.never
        api.remove("Pod", "shop-kt")
        assert still(lambda: "not scheduled" in str(link.shadow.state()), ana.kt.stop)

        with pytest.raises(NotFound, match="pod/shop-kt-r2: not scheduled"):
            ana.tunnels[0].dial(asyncio.Protocol)


def test_what_becomes_of_the_tunnel_is_told(ana: Person) -> None:
    with link_of(ana):
        ana.tunnels[0].on_state(TunnelState("healing", 0.0, "cut"))

    assert [event for event in ana.told if isinstance(event, Tunnel)] == [Tunnel("up"), Tunnel("healing", "cut")]


def test_a_link_is_left_when_nothing_new_has_come_for_a_while(ana: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ktpy.modes.link.KNOCK_SECONDS", 0.001)
    with link_of(ana) as link:
        (tunnel,) = ana.tunnels

        def knock(host: str, port: int, **how: float) -> bool:
            tunnel.knocks.append((host, port))
            tunnel.carry(connections=min(3, len(tunnel.knocks)))  # the third is the last that comes here
            return True

        monkeypatch.setattr(tunnel, "knock", knock)
        link.unfollow("10.96.0.1", 80, 0.02)

    assert len(tunnel.knocks) > 3
    assert set(tunnel.knocks) == {("10.96.0.1", 80)}


def test_a_retired_shadow_is_not_replaced(api: FakeApi, ana: Person) -> None:
    with link_of(ana) as link:
        link.shadow.retire()
        assert api.names("Pod") == []

    assert not any(isinstance(event, Note) for event in ana.told)


def test_a_probed_shadow_is_entered_before_it_is_ready(api: FakeApi, ana: Person) -> None:
    """It is Ready only once the tunnel is there."""
    api.kubelet = lambda pod: {"phase": "Running", "containerStatuses": [{"state": {"running": {}}}]}

    with (
        Session.open(ana.kt, "scale", SHOP) as session,
        linked(ana.kt, session, ROUTES, base="shop-kt", wears={"app": "shop"}, is_probed=True),
    ):
        (container,) = (api.read("Pod", "shop-kt") or {})["spec"]["containers"]

    script = container["readinessProbe"]["exec"]["command"][-1]
    assert ":1F90 " in script, "8080"
    assert ":2382 " in script, "9090"
