"""Requests and answers of the API: an array with an element for each command, matched by tags. Pure.

As measured on Dovecot 2.3.19 and 2.4.1: a failed command is an element of a 200 as well.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

Rows = list[Mapping[str, Any]]
"""What a command gives, a row for each result."""


class Command(NamedTuple):
    """A command of doveadm in the API's spelling, such as `mailboxMetadataGet`, for one user."""

    name: str
    user: str
    parameters: Mapping[str, Any]


class Failed(NamedTuple):
    """`kind`: `exitCode`, `unknownMethod` or `invalidRequest`."""

    kind: str
    exit_code: int


NOT_TOLD: Final = Failed("notTold", 0)
"""For a command that the answer leaves out."""


def request(commands: Iterable[Command]) -> bytes:
    """The body; the tag of each command is its place."""
    return json.dumps(
        [[one.name, {"user": one.user, **one.parameters}, str(tag)] for tag, one in enumerate(commands)],
        ensure_ascii=False,
        separators=(",", ":"),
    ).encode()


def parse(body: bytes, commands: int) -> list[Rows | Failed]:
    """What became of each of so many commands, in their order.

    Dovecot 2.3 leaves out the comma around the element of a command that it does not know: so elements are read one by
    one, with or without commas between them.

    Raises:
        ValueError: no array of elements.
    """
    text = body.decode("utf-8").strip()
    if not (text.startswith("[") and text.endswith("]")):
        raise ValueError("no array")
    outcomes: list[Rows | Failed] = [NOT_TOLD] * commands
    decoder = json.JSONDecoder()
    at, end = 1, len(text) - 1
    while at < end:
        if text[at] in ", \t\r\n":
            at += 1
            continue
        try:
            element, at = decoder.raw_decode(text, at)
        except RecursionError:
            raise ValueError("nested too deep") from None
        tag, outcome = _outcome(element)
        if tag < commands:
            outcomes[tag] = outcome
    return outcomes


def _outcome(element: Any) -> tuple[int, Rows | Failed]:
    match element:
        case ["doveadmResponse", [*rows], str(tag)] if tag.isascii() and tag.isdecimal():
            return int(tag), [row for row in rows if isinstance(row, dict)]
        case ["error", {"type": str(kind), **rest}, str(tag)] if tag.isascii() and tag.isdecimal():
            code = rest.get("exitCode")
            return int(tag), Failed(kind, code if isinstance(code, int) else 0)
    raise ValueError("an element of another form")
