"""The journal of new mails that this pod has answered for and not yet dealt with.

Dovecot never sends a callback again once it is answered, so what was answered must outlive the container. Written to
the pod's emptyDir without fsync: it outlives a kill -9 of the process, not the loss of the node.

A line is `<crc32> <json>`: `{"id":..,"at":..,"mail":{..}}` for a new mail, `{"done":..}` when it is dealt with. A line
that is torn or damaged is passed over. Segments are deleted in order once all their mails are done; where old ones stay
for a few mails, those are copied to the newest.
"""

import os
import time
import zlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec
import structlog

from mailpush.listener.mails import metrics
from mailpush.notifications.notification import NewMail
from mailpush.work.clock import Clock

log = structlog.get_logger(__name__)

SEGMENT_BYTES: Final = 4 * 1024 * 1024
MOST_SEGMENTS: Final = 4
MOST_PENDING_BYTES: Final = 8 * 1024 * 1024


class _Line(msgspec.Struct, omit_defaults=True):
    id: int | None = None
    at: float = 0.0
    mail: NewMail | None = None
    done: int | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """A new mail in the journal. `at`: Unix seconds at which this pod took it."""

    id: int
    at: float
    mail: NewMail


@dataclass(slots=True)
class _Segment:
    path: Path
    size: int = 0
    open: dict[int, bytes] = field(default_factory=dict)
    """Lines of the mails that are not done."""


class Journal:
    """Used by one task at a time, in the event loop: each call is one small write into the page cache."""

    def __init__(
        self,
        folder: Path,
        *,
        segment_bytes: int = SEGMENT_BYTES,
        most_segments: int = MOST_SEGMENTS,
        most_pending_bytes: int = MOST_PENDING_BYTES,
        now: Clock = time.time,
    ) -> None:
        """Opens what an earlier process left in `folder`.

        Raises:
            OSError: the folder cannot be read or written.
        """
        self._folder = folder
        self._segment_bytes = segment_bytes
        self._most_segments = most_segments
        self._most_pending_bytes = most_pending_bytes
        self._now = now
        self._segments: deque[_Segment] = deque()
        self._where: dict[int, _Segment] = {}
        self._pending_bytes = 0
        self._last_id = 0
        self._serial = 0
        self._torn = False
        self._file: int | None = None
        self._entries: list[Entry] = []
        self._read_back()
        self._begin_segment()
        self._tidy()

    @property
    def pending(self) -> int:
        """Mails that are not done."""
        return len(self._where)

    def replay(self) -> list[Entry]:
        """What an earlier process has not dealt with, oldest first. Given once."""
        entries, self._entries = self._entries, []
        return entries

    def append(self, mail: NewMail, age: float = 0.0) -> Entry | None:
        """Takes a new mail that arrived `age` seconds ago; None when the journal holds all it may.

        Never raises: a full disk is counted and logged.
        """
        entry = Entry(self._last_id + 1, self._now() - age, mail)
        line = _line(_Line(id=entry.id, at=entry.at, mail=mail))
        if self._pending_bytes + len(line) > self._most_pending_bytes:
            return None
        self._last_id = entry.id
        self._open(entry.id, line)
        self._write(line)
        self._tidy()
        return entry

    def done(self, entry: Entry) -> None:
        """The mail is dealt with. A second time is no error."""
        segment = self._where.pop(entry.id, None)
        if segment is None:
            return
        self._pending_bytes -= len(segment.open.pop(entry.id))
        self._write(_line(_Line(done=entry.id)))
        self._tidy()

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _open(self, number: int, line: bytes) -> None:
        """Notes that a mail stands in the newest segment."""
        newest = self._segments[-1]
        newest.open[number] = line
        self._where[number] = newest
        self._pending_bytes += len(line)

    def _write(self, line: bytes) -> None:
        if self._file is None:
            return
        data = b"\n" + line if self._torn else line
        try:
            written = os.write(self._file, data)
            self._torn = written < len(data)
        except OSError as error:
            self._torn, written = True, 0
            metrics.JOURNAL_ERRORS.inc()
            log.warning("journal_write_failed", error=error.strerror)
        self._segments[-1].size += written
        if self._segments[-1].size >= self._segment_bytes:
            self._rotate()

    def _rotate(self) -> None:
        try:
            self._begin_segment()
        except OSError as error:  # the old one goes on
            metrics.JOURNAL_ERRORS.inc()
            log.warning("journal_rotate_failed", error=error.strerror)

    def _begin_segment(self) -> None:
        path = self._folder / f"{self._serial + 1:012d}.journal"
        opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self.close()
        self._file, self._torn = opened, False
        self._serial += 1
        self._segments.append(_Segment(path))

    def _tidy(self) -> None:
        """Deletes the oldest segments with nothing open. In order, since each also says what is done in older ones.

        Each is looked at once: where more is open than the segments are to hold, copying makes as many as it deletes.
        """
        for _ in range(len(self._segments) - 1):
            oldest = self._segments[0]
            if oldest.open:
                if len(self._segments) <= self._most_segments:
                    break
                self._copy_open(oldest)
            self._segments.popleft()
            oldest.path.unlink(missing_ok=True)
        metrics.JOURNAL_BYTES.set(sum(segment.size for segment in self._segments))

    def _copy_open(self, oldest: _Segment) -> None:
        moving, oldest.open = oldest.open, {}
        for number, line in moving.items():
            self._pending_bytes -= len(line)
            self._open(number, line)
            self._write(line)

    def _read_back(self) -> None:
        for path in sorted(self._folder.glob("*.journal")):
            segment = _Segment(path, path.stat().st_size)
            self._segments.append(segment)
            self._serial = max(self._serial, int(path.stem) if path.stem.isdecimal() else 0)
            for text, line in _lines(path):
                self._take_back(segment, text, line)
        self._entries = sorted(self._entries, key=lambda entry: entry.id)
        self._entries = [entry for entry in self._entries if entry.id in self._where]

    def _take_back(self, segment: _Segment, text: bytes, line: _Line) -> None:
        if line.done is not None:
            self._last_id = max(self._last_id, line.done)
            if where := self._where.pop(line.done, None):
                self._pending_bytes -= len(where.open.pop(line.done))
        elif line.id is not None and line.mail is not None:
            self._last_id = max(self._last_id, line.id)
            if before := self._where.get(line.id):  # copied from an older segment
                self._pending_bytes -= len(before.open.pop(line.id))
            else:
                self._entries.append(Entry(line.id, line.at, line.mail))
            segment.open[line.id] = text
            self._where[line.id] = segment
            self._pending_bytes += len(text)


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Line).decode


def _line(line: _Line) -> bytes:
    text = _encode(line)
    return b"%08x %b\n" % (zlib.crc32(text), text)


def _lines(path: Path) -> Iterator[tuple[bytes, _Line]]:
    """Each line that is whole, as it stands and as it reads."""
    damaged = 0
    for text in path.read_bytes().splitlines(keepends=True):
        if line := _read_line(text):
            yield text, line
        elif text != b"\n":
            damaged += 1
    if damaged:
        log.warning("journal_lines_damaged", file=path.name, lines=damaged)


def _read_line(text: bytes) -> _Line | None:
    checksum, _, body = text.removesuffix(b"\n").partition(b" ")
    try:
        whole = text.endswith(b"\n") and int(checksum, 16) == zlib.crc32(body)
        return _decode(body) if whole else None
    except (ValueError, msgspec.DecodeError):
        return None
