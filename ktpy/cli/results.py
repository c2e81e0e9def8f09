"""What a give-back did, and what it left, told the same way by `recover` and `clean`."""

from __future__ import annotations

from collections.abc import Sequence

from ktpy.cli.say import Say
from ktpy.errors import LeftBehind
from ktpy.upkeep.recover import Result, left_of


def show(say: Say, results: Sequence[Result], *, nothing: str) -> None:
    """One line per session and deed. Raises LeftBehind where something stayed."""
    if say.as_json:
        say.rows([{"what": r.what, "did": list(r.report.did), "left": list(r.report.left)} for r in results], empty="")
    elif not results:
        say.words(nothing)
    for result in results if not say.as_json else ():
        say.words(f"{result.what}: {'; '.join(result.report.did) or 'nothing left to do'}")
    left = left_of(results)
    if left:
        raise LeftBehind(f"Not given back: {'; '.join(left)}.", "ktpy doctor")
