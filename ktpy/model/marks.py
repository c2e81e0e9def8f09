"""Which requests a laptop answers: the mark and the match flags that a user types, as conditions of a row."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ktpy.errors import Usage
from ktpy_router.match import Condition, compiled
from ktpy_router.table import may_be_added

KEY = "version"
MOST = 1024  # characters of one value

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 section 5.6.2
_WAYS = {"exact": "", "prefix": "beginning with ", "regex": "matching "}


@dataclass(frozen=True)
class Match:
    """CONDITIONS are ANDed; none of them is every request. MARK names them to people, in one word where that goes."""

    mark: str
    conditions: tuple[Condition, ...] = ()

    def __str__(self) -> str:
        return " and ".join(map(words, self.conditions)) or "all requests"


EVERYTHING = Match("everything")


class Flag(NamedTuple):
    """One kind of match flag. NAMED: it is given as NAME=VALUE."""

    place: str
    way: str
    named: bool


FLAGS = {
    "header": Flag("header", "exact", True),
    "header_regex": Flag("header", "regex", True),
    "cookie": Flag("cookie", "exact", True),
    "query": Flag("query", "exact", True),
    "path": Flag("path", "prefix", False),
    "path_regex": Flag("path", "regex", False),
    "host": Flag("host", "exact", False),
    "baggage": Flag("baggage", "exact", True),
}


def words(condition: Condition) -> str:
    """`version: ana`, `path beginning with /api`."""
    how = _WAYS[condition.way]
    if condition.place == "header":
        return f"{condition.name}: {how}{condition.value}"
    name = f" {condition.name}" if condition.name else ""
    between = "=" if condition.way == "exact" and name else " "
    return f"{condition.place}{name}{between}{how}{condition.value}"


def mark(text: str, default: Callable[[], str]) -> Condition:
    """`value`, `key:` or `key:value`, as KT-Connect reads them. Raises Usage.

    DEFAULT gives the value when there is none. A colon in a value needs the key before it.
    """
    key, colon, value = text.partition(":")
    if not colon:
        key, value = "", text
    return condition("header", "exact", key.strip() or KEY, value.strip() or default())


def condition(place: str, way: str, name: str, value: str) -> Condition:
    """One condition, held to what the router takes. Raises Usage."""
    if place in ("header", "cookie", "baggage") and not _TOKEN.fullmatch(name):
        raise Usage(f"'{name}' cannot be the name of a {place}.", "letters, digits and dashes, such as x-user")
    if len(value) > MOST or not value.isprintable():
        raise Usage(f"'{value[:40]}' has more than {MOST} characters, or some that cannot be printed.")
    if way == "regex":
        try:
            compiled(value)
        except ValueError as error:
            raise Usage(
                f"'{value}' is not a regular expression: {error}.", "RE2's syntax; it must match all"
            ) from error
    if place == "host" and way != "regex":
        value = value.lower()
    return Condition(place, name.lower() if place == "header" else name, way, value)


def flag(name: str, text: str) -> Condition:
    """What `--NAME TEXT` asks for. Raises Usage."""
    kind = FLAGS[name]
    option = f"--{name.replace('_', '-')}"
    key, equals, value = text.partition("=") if kind.named else ("", "=", text)
    if not equals or (kind.named and not key) or not value:
        form = "NAME=VALUE" if kind.named else "VALUE"
        raise Usage(f"'{text}' is not {form}.", f"{option} {'x-user=ana' if kind.named else '/api'}")
    return condition(kind.place, kind.way, key.strip(), value)


def match(version_mark: str | None, flags: Sequence[tuple[str, str]], default: Callable[[], str]) -> Match:
    """The mark and the FLAGS together; the mark alone when nothing is given, flags alone when no mark is.

    DEFAULT gives a value for a mark that has none.
    """
    found = [flag(name, text) for name, text in flags]
    if version_mark is not None or not found:
        found.insert(0, mark(version_mark or "", default))
    name = found[0].value if len(found) == 1 and found[0].way == "exact" else " and ".join(map(words, found))
    return Match(name[:MOST], tuple(dict.fromkeys(found)))


def added(match: Match) -> tuple[tuple[str, str], ...]:
    """The headers that make a request one of MATCH's, for its parts that a header can make true: headers, baggage."""
    exact = [one for one in match.conditions if one.way == "exact" and one.place in ("header", "baggage")]
    headers = {one.name: one.value for one in exact if one.place == "header" and may_be_added(one.name)}
    baggage = ",".join(f"{one.name}={one.value}" for one in exact if one.place == "baggage")
    return (*headers.items(), *((("baggage", baggage),) if baggage else ()))


def cannot_be_added(match: Match) -> tuple[Condition, ...]:
    """The parts of MATCH that `added` leaves out."""
    names = {name for name, _ in added(match)}
    return tuple(
        one
        for one in match.conditions
        if not (one.way == "exact" and (one.place == "baggage" or (one.place == "header" and one.name in names)))
    )


def curl(match: Match, address: str) -> str:
    """A line that sends such a request to ADDRESS, as far as a line can know: a regular expression it cannot meet."""
    options, path, query = [], "/", []
    for one in match.conditions:
        if one.way == "regex":
            continue
        if one.place == "header":
            options.append(f"-H {quoted(f'{one.name}: {one.value}')}")
        elif one.place == "cookie":
            options.append(f"--cookie {quoted(f'{one.name}={one.value}')}")
        elif one.place == "baggage":
            options.append(f"-H {quoted(f'baggage: {one.name}={one.value}')}")
        elif one.place == "host":
            options.append(f"-H {quoted(f'Host: {one.value}')}")
        elif one.place == "path":
            path = one.value
        else:
            query.append(f"{one.name}={one.value}")
    asked = f"?{'&'.join(query)}" if query else ""
    return " ".join(["curl", *options, quoted(f"http://{address}{path}{asked}")])


def quoted(text: str) -> str:
    """TEXT as one word of a shell."""
    return text if re.fullmatch(r"[\w@%+=:,./-]+", text, re.ASCII) else "'" + text.replace("'", "'\\''") + "'"
