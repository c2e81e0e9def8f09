"""Data goes to stdout, words to stderr, and a closed terminal is no error."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import pytest

from ktpy.cli.say import Say, table
from ktpy.errors import Taken
from ktpy.model.events import (
    Ended,
    Event,
    Failed,
    FellBack,
    FirstRequest,
    Note,
    Ready,
    Rules,
    Step,
    Tunnel,
    Waiting,
    from_json,
)

READY = Ready(
    "exchange", "ana-1", "team", "service/shop", ("80 → x",), "ALL requests.", "curl x", "Ctrl-C", seconds=1.5
)


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (Step("look", "service/shop", 0.25), "  ✓ look          0.25 s  service/shop\n"),
        (Waiting("prepare", "pod/x: Pending"), "  … waiting for pod/x: Pending\n"),
        (Note("taken back"), "  ! taken back\n"),
        (Rules(("kind: A", "  b: \x1b")), "kind: A\n  b: \\x1b\n"),
        (FirstRequest(3.4), "  ✓ first request after 3 s\n"),
        (
            FirstRequest(12.2, True, "GET", "/cart", 200, 14),
            "  ✓ first marked request after 12 s: GET /cart 200 14 ms\n",
        ),
        (FirstRequest(1.0, False, "PUT", "/x"), "  ✓ first request after 1 s: PUT /x not answered yet\n"),
        (
            FellBack(1, 1, True),
            "  ! a marked request was answered by the cluster, because this laptop did not answer\n",
        ),
        (FellBack(2, 2), "  ! 2 requests were answered by the cluster, because this laptop did not answer\n"),
        (FellBack(1, 2, True), "  ! 1 more marked request was answered by the cluster (2 by now)\n"),
        (FellBack(12, 15), "  ! 12 more requests were answered by the cluster (15 by now)\n"),
        (Ended("Ctrl-C", 0.31, 7), "Given back in 0.3 s after 7 connections (Ctrl-C).\n"),
        (Tunnel("healing", "cut"), "  ! tunnel healing: cut\n"),
        (Tunnel("up"), ""),
        (Failed("no.", ("this", "that"), 4, "/log"), "Error: no.\nTry:   this\n       that\nLog:   /log\n"),
    ],
)
def test_an_event_in_words(capsys, event, text: str) -> None:
    Say().tell(event)

    out, err = capsys.readouterr()
    assert (out, err) == ("", text)


def test_ready_has_the_four_facts(capsys) -> None:
    Say().tell(READY)

    err = capsys.readouterr().err
    assert [line.split()[0] for line in err.splitlines()] == ["Ready", "taken", "affects", "here", "try", "stop"]
    assert "service/shop is answered by this laptop" in err


def test_quiet_keeps_results_and_failures(capsys) -> None:
    say = Say(quiet=True)
    for event in (Step("look"), Note("x"), Ended("x", 0.0), READY, Failed("no", (), 1), Tunnel("gave up", "x")):
        say.tell(event)

    err = capsys.readouterr().err
    assert err.startswith("Ready")
    assert "Error: no" in err
    assert "gave up" in err
    assert "look" not in err


def test_events_as_json_are_lines_on_stdout_or_where_they_are_sent(capsys) -> None:
    elsewhere = io.StringIO()
    say = Say(as_json=True)
    say.tell(READY)
    say.send_events_to(elsewhere)
    say.tell(Note("ä"))

    assert from_json(json.loads(capsys.readouterr().out)) == READY
    assert elsewhere.getvalue() == '{"event": "note", "text": "ä"}\n'


def test_an_error_is_told_with_code_and_log(capsys) -> None:
    Say(as_json=True).error(Taken("no", "that"), 4, "/log")

    assert json.loads(capsys.readouterr().out)["code"] == 4


def test_rows_are_a_table_or_json(capsys) -> None:
    rows = [{"name": "a", "for": None, "ports": ["1", "2"]}, {"name": "long", "for": "", "ports": []}]
    Say().rows(rows, empty="none")
    assert capsys.readouterr().out == "NAME  FOR  PORTS\na     -    1, 2\nlong  -    -\n"

    Say(as_json=True).rows(rows, empty="none")
    assert json.loads(capsys.readouterr().out) == rows


def test_no_rows_are_a_word_on_stderr_or_an_empty_list(capsys) -> None:
    Say().rows([], empty="none")
    Say(as_json=True).rows([], empty="none")

    assert capsys.readouterr() == ("[]\n", "none\n")


def test_names_with_underscores_are_spelled_as_words() -> None:
    assert table([{"would_end": "x"}]) == ["WOULD END", "x"]


CLIPBOARD = "\x1b]52;c;ZXZpbA==\x07"  # OSC 52: the terminal puts it into the clipboard


@pytest.mark.parametrize(
    "event",
    [
        Step("look", CLIPBOARD),
        Note(CLIPBOARD),
        Tunnel("healing", CLIPBOARD),
        Failed(CLIPBOARD, (CLIPBOARD,), 1),
        replace(READY, others=(CLIPBOARD,)),
    ],
)
def test_control_characters_of_the_cluster_do_not_reach_the_terminal(capsys, event: Event) -> None:
    Say().tell(event)

    err = capsys.readouterr().err
    assert "\x1b" not in err
    assert "\\x1b]52;c;ZXZpbA==\\x07" in err


@pytest.mark.parametrize("sign", ["\r", "\b", "\x7f", "\x9b", "\u202e", "\u2028", "\ud800"])
def test_what_fakes_or_breaks_a_line_is_spelled_out(capsys, sign: str) -> None:
    Say().words(f"a{sign}b")
    Say().data(f"a{sign}b")

    out, err = capsys.readouterr()
    assert out == err == f"a{sign.encode('unicode_escape').decode()}b\n"


def test_a_line_of_the_cluster_cannot_pass_for_one_of_ours(capsys) -> None:
    Say().tell(Failed("no.\nTry:   rm -r /", ("that",), 1))
    Say().rows([{"owner": "ana\nbob"}], empty="")

    out, err = capsys.readouterr()
    assert err == "Error: no.\n       Try:   rm -r /\nTry:   that\n"
    assert out == "OWNER\nana bob\n"


def test_newlines_tabs_and_every_language_stay(capsys) -> None:
    Say().words("ä\tß\n日本 ✓")

    assert capsys.readouterr().err == "ä\tß\n日本 ✓\n"


def test_json_is_not_changed(capsys) -> None:
    Say(as_json=True).tell(Note("\x9b"))
    Say(as_json=True).rows([{"owner": "\x9b"}], empty="")

    first, second = capsys.readouterr().out.split("\n", 1)
    assert json.loads(first)["text"] == json.loads(second)[0]["owner"] == "\x9b"


def test_a_closed_terminal_is_no_error(monkeypatch) -> None:
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr("sys.stderr", closed)

    Say().words("nobody hears")


def test_a_terminal_gets_colour(monkeypatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)

    Say().tell(Failed("no", (), 1))

    assert terminal.getvalue() == "\x1b[31mError: \x1b[0mno\n"
