"""All entries, page by page, as they come: nothing of them stays in memory."""

import json
import sys
from collections.abc import Iterator
from typing import Any, Final

from mailpush.admin.routes import CREDENTIALS
from mailpush.cli.kubectl.credentials.endpoint import Endpoint
from mailpush.cli.kubectl.credentials.reach import Options, endpoint
from mailpush.cli.kubectl.manifests import Trouble
from mailpush.cli.streams import printable

ROWS: Final = 1000
FIELDS: Final = ("context", "user", "state", "changed", "worked", "refused")
WIDTHS: Final = (9, 9, 16, 20, 20, 20)


def run(output: str, options: Options) -> int:
    """The exit code."""
    shown = {"table": _table, "json": _json, "name": _names}[output]
    try:
        with endpoint(options) as asked:
            for line in shown(_entries(asked)):
                sys.stdout.write(f"{line}\n")
    except Trouble as trouble:
        sys.stdout.flush()
        sys.stderr.write(f"{trouble}\n")
        return 2
    return 0


def _entries(asked: Endpoint) -> Iterator[dict[str, Any]]:
    after: str | None = None
    while True:
        answer = asked.get(CREDENTIALS, after=after, limit=ROWS)
        if answer.status != 200:
            raise Trouble(answer.sentence)
        found, following = answer.object.get("credentials"), answer.object.get("next")
        if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
            raise Trouble("what answers there is no admin endpoint of Mail Push")
        yield from found
        if not isinstance(following, str) or following == after:
            return
        after = following


def _table(entries: Iterator[dict[str, Any]]) -> Iterator[str]:
    """Of fixed widths, as a line is printed before the next page is there."""
    yield _row([field.upper() for field in FIELDS])
    for entry in entries:
        yield _row([printable("" if entry.get(field) is None else str(entry[field])) for field in FIELDS])


def _row(cells: list[str]) -> str:
    return "   ".join(cell.ljust(width) for cell, width in zip(cells, WIDTHS, strict=True)).rstrip()


def _json(entries: Iterator[dict[str, Any]]) -> Iterator[str]:
    yield '{"credentials": ['
    line = ""
    for entry in entries:
        if line:
            yield f"{line},"
        line = f"  {json.dumps({field: entry.get(field) for field in FIELDS})}"
    if line:
        yield line
    yield "]}"


def _names(entries: Iterator[dict[str, Any]]) -> Iterator[str]:
    """`CONTEXT USER`, as the other commands take them: `| xargs -n 2 kubectl mailpush credentials test`."""
    for entry in entries:
        yield printable(f"{entry.get('context')} {entry.get('user')}")
