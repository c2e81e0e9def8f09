"""However a session ends, its namespace is afterwards what it was before."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.e2e.harness import manifests
from tests.e2e.harness.laptop import Server, free_port, shop_command
from tests.e2e.harness.people import Person
from tests.e2e.harness.process import Ktpy
from tests.e2e.harness.space import Space

LANES = ("lane-a", "lane-b", "lane-c")  # walks of their own, at the same time
STEP_SECONDS = 0.1
EXIT_SECONDS = 3.0
DONE, INTERRUPTED = 0, 130
KILLED = -signal.SIGINT  # a shell calls this 130 too: in its first moments it is Python, not yet ktpy


def _leave(session: Ktpy, ana: Person) -> None:
    left = ana.run("leave", "shop")
    assert left.code == 0, left.said
    assert session.process.poll() == 0, "leave returned before the session had ended"


def _remove_pid_file(session: Ktpy, ana: Person) -> None:
    (file,) = (file for file in ana.state("pid") if file.read_text().strip() == str(session.pid))
    file.unlink()


ENDINGS: dict[str, Callable[[Ktpy, Person], object]] = {
    "TERM": lambda session, _: session.signal(signal.SIGTERM),
    "HUP": lambda session, _: session.signal(signal.SIGHUP),
    "QUIT": lambda session, _: session.signal(signal.SIGQUIT),
    "ktpy leave": _leave,
    "the pid file removed": _remove_pid_file,
}


@pytest.mark.parametrize("how", ENDINGS)
def test_every_end_gives_all_back(space: Space, ana: Person, server: Server, how: str) -> None:
    before = space.snapshot()
    with ana.start("exchange", "shop", "--expose", str(server.port)) as session:
        session.wait_ready()
        ENDINGS[how](session, ana)
        assert session.wait() == DONE, session.said()

    space.wait_same(before)
    assert ana.state("pid") == ana.state("json") == []


def test_a_closed_terminal_gives_all_back(space: Space, ana: Person, server: Server) -> None:
    before = space.snapshot()
    with ana.ktpy("exchange", "shop", "--expose", str(server.port), terminal=True) as session:
        session.wait_text("Ready after")
        session.close_terminal()
        assert session.wait() == DONE

    space.wait_same(before)


@pytest.mark.parametrize("code", [0, 7])
def test_the_command_after_dashes_ends_the_session_with_its_code(space: Space, ana: Person, code: int) -> None:
    before = space.snapshot()
    port, end = free_port(ana), ana.home / "end"
    server = " ".join(shop_command(ana, "--port", str(port)))
    script = f"{server} & while [ ! -e {end} ]; do sleep 0.1; done; kill $!; wait; exit {code}"
    with ana.start("exchange", "shop", "--expose", str(port), "--", "sh", "-c", script) as session:
        session.wait_ready()
        space.client().wait_for("http://shop/", "laptop")
        end.touch()
        assert session.wait() == code, session.said()
    end.unlink()
    space.wait_same(before)


def test_a_command_that_ends_before_it_listens_switches_nothing(space: Space, ana: Person) -> None:
    before = space.snapshot()
    version = space.service()["metadata"]["resourceVersion"]
    with ana.start("exchange", "shop", "--expose", str(free_port(ana)), "--", "sh", "-c", "exit 9") as session:
        assert session.wait() == 9, session.said()

    assert not [event for event in session.events() if event["event"] == "ready" or event.get("name") == "switch"]
    assert space.service()["metadata"]["resourceVersion"] == version
    space.wait_same(before)


@pytest.mark.parametrize("by", ["client-side", "server-side"])
def test_the_owners_server_side_apply_of_a_new_selector_passes_without_force(
    space: Space, ana: Person, server: Server, by: str
) -> None:
    name = f"owned-{by}"
    owned = manifests.service(name, [(80, "http")], app="shop")
    space.apply(owned, words=["--server-side"] if by == "server-side" else [])
    with ana.start("exchange", name, "--expose", str(server.port)) as session:
        session.wait_ready()
        session.interrupt()
        assert session.wait() == DONE, session.said()

    space.apply(manifests.service(name, [(80, "http")], app="other"), words=["--server-side"])

    assert space.service(name)["spec"]["selector"] == {"app": "other"}
    space.kubectl("delete", "service", name)


@pytest.fixture
def lanes(space: Space) -> Iterator[tuple[str, ...]]:
    space.apply(*(manifests.service(name, [(80, "http")], app="shop") for name in LANES))
    yield LANES
    space.kubectl("delete", "service", *LANES)


def test_ctrl_c_at_every_tenth_of_a_second_of_the_set_up_leaves_nothing(
    space: Space, ana: Person, server: Server, lanes: tuple[str, ...]
) -> None:
    """Walks on: from its very start until one lane was ready and a little beyond; every lane takes the next step."""
    before = space.snapshot()
    step, ready = 0, 0
    codes = []
    while ready < 4:  # 4 steps that were interrupted after ready
        ends = {lane: (step + number) * STEP_SECONDS for number, lane in enumerate(lanes)}
        step += len(lanes)
        with ThreadPoolExecutor(len(lanes)) as pool:
            walked = list(pool.map(lambda item: _interrupted(ana, server, *item), ends.items()))
        ready += sum(was_ready for was_ready, _ in walked)
        codes += [code for _, code in walked]
        assert step * STEP_SECONDS < 15, "it never got ready"
        space.wait_same(before, seconds=8)  # one after another these sessions end within 3 s; all were left in 5

    assert {DONE, INTERRUPTED} <= set(codes)


def _interrupted(ana: Person, server: Server, name: str, after: float) -> tuple[bool, int]:
    """Whether it was ready, and its exit code; a session on a terminal, Ctrl-C AFTER seconds from its start."""
    with ana.ktpy("exchange", name, "--expose", str(server.port), terminal=True) as session:
        session.lasts(after)
        was_ready = "Ready after" in session.heard.text()
        session.interrupt()
        code = session.wait(EXIT_SECONDS)
        said = session.said()
    assert "Traceback" not in said, f"after {after:.1f} s:\n{said}"
    allowed = {DONE} if "Ready after" in said else {INTERRUPTED, KILLED}
    assert code in allowed, f"code {code} after {after:.1f} s:\n{said}"
    return was_ready, code
