"""However a session ends, its namespace is afterwards what it was before."""

from __future__ import annotations

import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.e2e.harness import manifests
from tests.e2e.harness.laptop import Server, free_port, shop_command
from tests.e2e.harness.people import Person
from tests.e2e.harness.process import Ktpy
from tests.e2e.harness.space import Space

STEP_SECONDS = 0.1
EXIT_SECONDS = 3.0
STEPS_AFTER_READY = 4
DONE, INTERRUPTED = 0, 130
KILLED = -signal.SIGINT  # a shell calls this 130 too: in its first moments it is Python, not yet ktpy


def _leave(session: Ktpy, ana: Person, service: str) -> None:
    left = ana.run("leave", service)
    assert left.code == 0, left.said
    assert session.process.poll() == 0, "leave returned before the session had ended"


def _remove_pid_file(session: Ktpy, ana: Person, _: str) -> None:
    (file,) = (file for file in ana.state("pid") if file.read_text().strip() == str(session.pid))
    file.unlink()


ENDINGS: dict[str, Callable[[Ktpy, Person, str], object]] = {
    "Ctrl-C": lambda session, *_: session.interrupt(),
    "TERM": lambda session, *_: session.signal(signal.SIGTERM),
    "HUP": lambda session, *_: session.signal(signal.SIGHUP),
    "QUIT": lambda session, *_: session.signal(signal.SIGQUIT),
    "the terminal closed": lambda session, *_: session.close_terminal(),
    "ktpy leave": _leave,
    "the pid file removed": _remove_pid_file,
}
LANES = tuple(f"lane-{number}" for number in range(len(ENDINGS)))  # a Service for each session of its own


@pytest.fixture(scope="module")
def lanes(space: Space) -> tuple[str, ...]:
    space.apply(*(manifests.service(name, [(80, "http")], app="shop") for name in LANES))
    return LANES


@pytest.fixture(scope="module")
def ended(space: Space, server: Server, lanes: tuple[str, ...]) -> dict[str, tuple[int, str]]:
    """How → the exit code of a session that ended so, and what it said; all at the same time, and nothing is left."""
    ana = space.person("ana")
    before = space.snapshot()

    def run(how: str, service: str) -> tuple[int, str]:
        with ana.ktpy("exchange", service, "--expose", str(server.port), terminal=True) as session:
            session.wait_text("Ready after", seconds=60)
            ENDINGS[how](session, ana, service)
            return session.wait(), session.said()

    with ThreadPoolExecutor(len(ENDINGS)) as pool:
        results = dict(zip(ENDINGS, pool.map(run, ENDINGS, lanes), strict=True))
    space.wait_same(before)
    assert ana.state("pid") == ana.state("json") == []
    return results


@pytest.mark.parametrize("how", ENDINGS)
def test_every_end_gives_all_back(ended: dict[str, tuple[int, str]], how: str) -> None:
    code, said = ended[how]

    assert code == DONE, said
    assert "Traceback" not in said


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


def test_ctrl_c_at_every_tenth_of_a_second_of_the_set_up_leaves_nothing(
    space: Space, ana: Person, server: Server, lanes: tuple[str, ...]
) -> None:
    """Walks from the very start until a session was ready and some steps beyond, several lanes at a time."""
    before = space.snapshot()
    lanes = lanes[:4]
    step, ready, codes = 0, 0, []
    while ready < STEPS_AFTER_READY:
        ends = [(lane, (step + number) * STEP_SECONDS) for number, lane in enumerate(lanes)]
        step += len(lanes)
        with ThreadPoolExecutor(len(lanes)) as pool:
            walked = list(pool.map(lambda end: _interrupted(ana, server, *end), ends))
        ready += sum(was_ready for was_ready, _ in walked)
        codes += [code for _, code in walked]
        assert step * STEP_SECONDS < 15, "it never got ready"

    # What any of them had left would be here still, or would have held its Service against the next one.
    space.wait_same(before)
    assert {DONE, INTERRUPTED} <= set(codes)


def _interrupted(ana: Person, server: Server, name: str, after: float) -> tuple[bool, int]:
    """Whether it was ready, and its exit code; a session on a terminal, Ctrl-C AFTER seconds from its start."""
    with ana.ktpy("exchange", name, "--expose", str(server.port), terminal=True) as session:
        session.lasts(after)
        was_ready = "Ready after" in session.heard.text()
        session.interrupt()
        code = session.wait(EXIT_SECONDS)
        said = session.said()
    # Before our first line runs, Python and pip's script answer Ctrl-C in their own way.
    assert not ("Traceback" in said and "site-packages/ktpy/" in said), f"after {after:.1f} s:\n{said}"
    allowed = {DONE} if "Ready after" in said else {INTERRUPTED, KILLED}
    assert code in allowed, f"code {code} after {after:.1f} s:\n{said}"
    return was_ready, code
