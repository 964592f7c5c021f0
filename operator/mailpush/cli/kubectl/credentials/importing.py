"""Many passwords from a file: sent some thousand lines at a time, so that it can go on where it stopped."""

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, Final

from mailpush.cli.kubectl.credentials.endpoint import Answer, Endpoint
from mailpush.cli.kubectl.credentials.reach import Options, endpoint
from mailpush.cli.kubectl.credentials.rows import Row, opened, rows
from mailpush.cli.kubectl.manifests import Trouble
from mailpush.cli.streams import printable

LINES: Final = 2000
"""That are sent at once. All of them may be sent again: the same password again changes nothing."""
TELL_SECONDS: Final = 5.0
MOST_SHOWN: Final = 100
"""Refused lines that are named one by one."""
KINDS: Final = ("stored", "unchanged", "refused")


def run(file: str, *, form: str | None, from_line: int, options: Options) -> int:
    """The exit code: 0 where all is stored, 1 where lines were refused, 2 where it stopped."""
    importing = Import(from_line)
    try:
        with opened(file) as source, endpoint(options) as asked:
            importing.run(rows(source, form, file), asked)
    except Trouble as trouble:
        sys.stderr.write(f"{trouble}\n")
        if importing.began:
            sys.stderr.write(f"{importing.said()}; go on with --from-line {importing.next_line}\n")
        return 2
    except (KeyboardInterrupt, SystemExit):
        sys.stderr.write(f"interrupted: {importing.said()}; go on with --from-line {importing.next_line}\n")
        raise
    sys.stdout.write(f"{importing.said()}\n")
    return 1 if importing.counts["refused"] else 0


class Import:
    """How far it is. `next_line`: the first line of the file that is not done with."""

    def __init__(self, from_line: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.next_line = from_line
        self.counts: Counter[str] = Counter()
        self.began = False
        self._clock = clock
        self._told = clock()

    def run(self, source: Iterable[Row], asked: Endpoint) -> None:
        """Raises Trouble where it cannot go on."""
        wanted = (row for row in source if row.line >= self.next_line)
        for part in _parts(wanted):
            self.began = True
            self._send(part, asked)
            if self._clock() - self._told >= TELL_SECONDS:
                self._told = self._clock()
                sys.stderr.write(f"line {self.next_line - 1}: {self.said()}\n")

    def said(self) -> str:
        return ", ".join(f"{self.counts[kind]} {kind}" for kind in KINDS)

    def _send(self, part: list[Row], asked: Endpoint) -> None:
        while part:
            answer = asked.load(b"".join(row.content + b"\n" for row in part))
            if answer.status != 200:
                raise Trouble(answer.sentence)
            last = answer.rows[-1]
            through = last.get("through")
            if not isinstance(through, int) or not 0 <= through <= len(part):
                raise Trouble("what answers there is no admin endpoint of Mail Push that takes credentials")
            self._count(part, answer)
            done, part = part[:through], part[through:]
            if done:
                self.next_line = done[-1].line + 1
            if last.get("done") is not True:
                if not done:
                    raise Trouble(_sentence(last))
                sys.stderr.write(f"line {self.next_line}: {_sentence(last)}; trying again\n")

    def _count(self, part: list[Row], answer: Answer) -> None:
        for row in answer.rows:
            number = row.get("line")
            if not isinstance(number, int) or not 1 <= number <= len(part):
                continue
            shown = self.counts["shown"] = self.counts["shown"] + 1
            if shown <= MOST_SHOWN:
                sys.stderr.write(f"line {part[number - 1].line} is refused: {_sentence(row)}\n")
            elif shown == MOST_SHOWN + 1:
                sys.stderr.write("further refused lines are counted only\n")
        for kind in KINDS:
            count = answer.rows[-1].get(kind)
            self.counts[kind] += count if isinstance(count, int) else 0


def _sentence(row: dict[str, Any]) -> str:
    return printable(str(row.get("error", "it does not say why")))


def _parts(source: Iterator[Row]) -> Iterator[list[Row]]:
    while part := list(islice(source, LINES)):
        yield part
