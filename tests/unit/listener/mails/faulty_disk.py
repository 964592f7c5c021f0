"""A disk that fails when a test says so, and what of a journal stands on it."""

import os
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from mailpush.listener.mails import journal_files
from mailpush.listener.mails.journal_lines import read_lines

CALLS = ("listdir", "open", "read", "write", "unlink", "close")


class Killed(BaseException):
    """The process has ended in the middle of a call."""


class FaultyOs:
    """The module `os` for the journal's files. `fault` gives the error for a call's number and name, or a number of
    bytes that a write takes.
    """

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.bytes = 0
        self.fault: Callable[[int, str], BaseException | int | None] = lambda _number, _name: None

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if name not in CALLS:
            return real

        def call(*arguments: Any, **options: Any) -> Any:
            fault = self.fault(len(self.calls), name)
            self.calls.append(name)
            if name == "write":
                self.bytes += len(arguments[1])
            if isinstance(fault, int):
                return real(arguments[0], arguments[1][:fault]) if name == "write" else real(*arguments, **options)
            if isinstance(fault, Killed) and name == "write":
                real(arguments[0], arguments[1][: len(arguments[1]) // 2])
            if name == "close" and fault is not None:
                real(*arguments)  # Linux has closed the file all the same
            if fault is not None:
                raise fault
            return real(*arguments, **options)

        return call

    @contextmanager
    def mounted(self) -> Any:
        """The journal's files are on this disk."""
        with mock.patch.object(journal_files, "os", self):
            yield self


def on_disk(folder: Path) -> list[int]:
    """UIDs of the mails that a process would find there, oldest first: read by other code than the journal's own."""
    found: dict[int, int] = {}
    for path in sorted(folder.glob("*.journal")):
        for _, line in read_lines(path.read_bytes()):
            if line is None:
                continue
            if line.done is not None:
                found.pop(line.done, None)
            elif line.id is not None and line.mail is not None:
                found[line.id] = line.mail.uid
    return [found[number] for number in sorted(found)]
