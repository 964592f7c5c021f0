"""What mail servers say of passwords in a table that takes no marks: kept in this process, for the row that it was."""

import hashlib
from dataclasses import replace
from typing import Final, NamedTuple

from mailpush.credentials.storage import Entry, UserKey

MOST: Final = 250_000
"""Users of one pod, with room; some 200 bytes each."""


class _Mark(NamedTuple):
    row: bytes
    worked: int
    refused: int


class KeptMarks:
    """Marks by user. A row that OX has changed has none: the mark was another password's."""

    def __init__(self) -> None:
        self._marks: dict[UserKey, _Mark] = {}

    def on(self, entry: Entry) -> Entry:
        """The entry with its marks."""
        mark = self._marks.get(entry.key)
        if mark is None or mark.row != _digest(entry.password):
            return entry
        return replace(entry, worked=mark.worked, refused=mark.refused)

    def keep(self, marked: Entry) -> Entry:
        """Its marks, until the row is another."""
        self._marks.pop(marked.key, None)
        self._marks[marked.key] = _Mark(_digest(marked.password), marked.worked, marked.refused)
        if len(self._marks) > MOST:
            del self._marks[next(iter(self._marks))]
        return marked

    def forget(self, key: UserKey) -> None:
        """Another password was put, or the same once more."""
        self._marks.pop(key, None)


def _digest(row: str) -> bytes:
    return hashlib.blake2b(row.encode("utf-8", "surrogatepass"), digest_size=16).digest()
