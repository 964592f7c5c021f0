"""The lines of a file with passwords, as the endpoint takes them. What is wrong with one the endpoint says."""

import csv
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from mailpush.cli.kubectl.manifests import Trouble

LONGEST_LINE: Final = 65536
"""Bytes. What is longer than the endpoint takes is cut, and refused there."""
COLUMNS: Final = ("context", "user", "password")


class Row(NamedTuple):
    """A line of the file, and what is sent for it."""

    line: int
    content: bytes


@contextmanager
def opened(name: str) -> Iterator[BinaryIO]:
    """The file, or standard input (`-`). Warns where everybody may read the file. Raises Trouble."""
    if name == "-":
        yield sys.stdin.buffer
        return
    try:
        file = Path(name).expanduser().open("rb")
    except OSError as error:
        raise Trouble(f"{name} cannot be read: {error.strerror}") from None
    with file:
        if Path(name).expanduser().stat().st_mode & 0o004:
            sys.stderr.write(f"warning: everybody on this machine may read {name}, which holds passwords: chmod 600\n")
        yield file


def rows(file: BinaryIO, form: str | None, name: str) -> Iterator[Row]:
    """`form`: csv or ndjson; None: what the name ends in, or else the first character says.

    Raises:
        Trouble: the heading of the CSV is another than `context,user,password`.
    """
    lines = _lines(file)
    first = next(lines, b"").removeprefix(b"\xef\xbb\xbf")
    if form is None:
        is_csv = name.endswith(".csv") or not (
            name.endswith((".ndjson", ".jsonl")) or first.lstrip()[:1] in {b"{", b""}
        )
        form = "csv" if is_csv else "ndjson"
    yield from _csv(first, lines) if form == "csv" else _ndjson(first, lines)


def _ndjson(first: bytes, lines: Iterator[bytes]) -> Iterator[Row]:
    yield Row(1, first)
    for number, line in enumerate(lines, 2):
        yield Row(number, line)


def _csv(first: bytes, lines: Iterator[bytes]) -> Iterator[Row]:
    """One line a row: a line break within quotes is no password anyway."""
    heading = [cell.strip().lower() for cell in _cells(first) or []]
    if sorted(heading) != sorted(COLUMNS):
        raise Trouble("the first line of the CSV is to be: context,user,password")
    for number, line in enumerate(lines, 2):
        if not line.strip():
            continue
        cells = _cells(line)
        found = dict(zip(heading, cells, strict=True)) if cells is not None and len(cells) == len(heading) else None
        yield Row(number, b'"no row of three"' if found is None else _object(found))


def _cells(line: bytes) -> list[str] | None:
    try:
        parsed = list(csv.reader([line.decode(errors="surrogateescape").rstrip("\r\n")], strict=True))
    except csv.Error:
        return None
    return parsed[0] if len(parsed) == 1 else None


def _object(cells: dict[str, str]) -> bytes:
    content: dict[str, object] = {"password": cells["password"]}
    for key in ("context", "user"):
        text = cells[key].strip()
        content[key] = int(text) if text.isascii() and text.isdigit() and len(text) <= 10 else text
    return json.dumps(content).encode()


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """Without line breaks, each at most LONGEST_LINE bytes."""
    while line := file.readline(LONGEST_LINE):
        rest = line
        while rest and not rest.endswith(b"\n"):
            rest = file.readline(LONGEST_LINE)
        yield line.rstrip(b"\r\n")
