"""The journal of new mails that this pod has answered for and not yet dealt with.

Dovecot never sends a callback again once it is answered, so what was answered must outlive the container. Written to
the pod's emptyDir without fsync: it outlives a kill -9 of the process, not the loss of the node.

Segments are deleted in order, each once it holds no open mail: where old ones stay for a few mails, those are copied to
the newest first. A disk that is full or broken deletes nothing: what could not be written is in memory, and is written
as soon as the disk takes it.
"""

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Final

import structlog

from mailpush.listener.mails import metrics
from mailpush.listener.mails.journal_files import JournalFiles
from mailpush.listener.mails.journal_lines import Entry, Line, done_line, mail_line, read_lines
from mailpush.notifications.notification import NewMail
from mailpush.work.clock import Clock

log = structlog.get_logger(__name__)

SEGMENT_BYTES: Final = 4 * 1024 * 1024
MOST_SEGMENTS: Final = 12
MOST_PENDING_BYTES: Final = 24 * 1024 * 1024
"""Of lines that are open. No more than half of the segments: then copying one byte a byte written keeps up."""
SLICE_BYTES: Final = 16 * 1024
"""Written beside a mail in one go, of what is to be copied or written again. Others wait for the loop meanwhile."""
TEND_BYTES: Final = 512 * 1024
"""As SLICE_BYTES, where nothing has to be answered."""
SILENT_SECONDS: Final = 60.0
"""So long no second log line says that the disk fails."""


@dataclass(slots=True)
class _Segment:
    path: Path
    size: int = 0
    open: dict[int, bytes] = field(default_factory=dict)
    """Lines of the mails that are not done."""
    unsaid: set[int] = field(default_factory=set)
    """Mails of this segment that are done, and no line says so yet."""


class Journal:
    """Used by one task at a time, in the event loop: each call is a few small writes into the page cache."""

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
            OSError: the folder cannot be read.
        """
        self._files = JournalFiles(folder)
        self._segment_bytes = segment_bytes
        self._most_segments = most_segments
        self._most_pending_bytes = most_pending_bytes
        self._now = now
        self._segments: deque[_Segment] = deque()
        self._where: dict[int, _Segment] = {}
        self._unwritten: dict[int, bytes] = {}
        """Lines of open mails that stand in no segment."""
        self._pending_bytes = 0
        self._failing = False
        """The last write failed."""
        self._silent_until = float("-inf")
        self._entries: list[Entry] = []
        self._read_back()
        self._begin_segment()
        # Not counted on from what was read: a segment that could not be read may hold any number up to this one.
        self._last_id = self._files.serial << 32
        self._delete()

    @property
    def pending(self) -> int:
        """Mails that are not done."""
        return len(self._where) + len(self._unwritten)

    def replay(self) -> list[Entry]:
        """What an earlier process has not dealt with, oldest first. Given once."""
        entries, self._entries = self._entries, []
        return entries

    def append(self, mail: NewMail, age: float = 0.0) -> Entry | None:
        """Takes a new mail that arrived `age` seconds ago; None when the journal holds all it may.

        Never raises. Whether it is on the disk, says `holds`.
        """
        entry = Entry(self._last_id + 1, self._now() - age, mail)
        line = mail_line(entry)
        if self._pending_bytes + len(line) > self._most_pending_bytes:
            return None
        self._last_id = entry.id
        self._pending_bytes += len(line)
        self._unwritten[entry.id] = line
        self._write_mails({entry.id: line})
        if not self._failing:
            self._tidy(max(SLICE_BYTES, 2 * len(line)))
        self._gauge()
        return entry

    def holds(self, entry: Entry) -> bool:
        """Whether the next process would find the mail."""
        return entry.id in self._where

    def done(self, *entries: Entry) -> None:
        """The mails are dealt with. A second time is no error."""
        ended: list[tuple[_Segment, int]] = []
        for entry in entries:
            if (line := self._unwritten.pop(entry.id, None)) is not None:
                self._pending_bytes -= len(line)
            elif segment := self._where.pop(entry.id, None):
                self._pending_bytes -= len(segment.open.pop(entry.id))
                segment.unsaid.add(entry.id)
                ended.append((segment, entry.id))
        self._write_ends(ended)
        if not self._failing:
            self._tidy(SLICE_BYTES)
        self._gauge()

    def tend(self) -> None:
        """Does a piece of what is left to do; to be called now and then, also where nothing arrives."""
        if self._failing and self._segments and self._segments[-1].size:
            self._begin_segment()  # it may be the file that is broken
        self._tidy(TEND_BYTES)
        self._gauge()

    def close(self) -> None:
        self._files.close()

    # -- writing

    def _write(self, lines: list[bytes]) -> int:
        """Appends to the newest segment. How many of the lines stand there whole, from the first on."""
        if not self._segments or self._segments[-1].size >= self._segment_bytes:
            self._begin_segment()
        if not self._segments or not lines:
            return 0
        try:
            left = size = self._files.write(b"".join(lines))
        except OSError as error:
            self._failing = True
            self._failed("write", error.strerror)
            return 0
        self._segments[-1].size += size
        whole = 0
        for line in lines:
            left -= len(line)
            if left < 0:
                break
            whole += 1
        self._failing = whole < len(lines)
        if self._failing:
            self._failed("write", "the disk took a part")
        return whole

    def _write_mails(self, lines: dict[int, bytes]) -> None:
        """Writes open mails to the newest segment, wherever they are now."""
        whole = self._write(list(lines.values()))
        for number, line in islice(lines.items(), whole):
            newest = self._segments[-1]
            self._unwritten.pop(number, None)
            if (before := self._where.get(number)) is not None:
                del before.open[number]
            newest.open[number] = line
            self._where[number] = newest

    def _write_ends(self, ended: list[tuple[_Segment, int]]) -> None:
        whole = self._write([done_line(number) for _, number in ended])
        for segment, number in ended[:whole]:
            segment.unsaid.discard(number)

    def _begin_segment(self) -> None:
        try:
            self._segments.append(_Segment(self._files.begin()))
        except OSError as error:  # the old one goes on
            self._failed("begin", error.strerror)

    def _failed(self, step: str, why: str | None, **of: str) -> None:
        metrics.JOURNAL_ERRORS.inc()
        if (now := self._now()) >= self._silent_until:
            self._silent_until = now + SILENT_SECONDS
            log.error("journal_failed", step=step, error=why, unwritten=len(self._unwritten), **of)

    # -- tidying

    def _tidy(self, most_bytes: int) -> None:
        """Writes what failed before, copies what keeps the oldest segments, at most so many bytes of each; and deletes
        the oldest that hold nothing open.
        """
        if self._unwritten:
            self._write_mails(dict(_first(self._unwritten, most_bytes)))
        if unsaid := [(segment, number) for segment in self._segments for number in segment.unsaid]:
            self._write_ends(unsaid[: most_bytes // len(done_line(self._last_id))])
        if len(self._segments) > self._most_segments:
            self._write_mails(dict(_first(self._segments[0].open, most_bytes)))
        self._delete()

    def _delete(self) -> None:
        """Deletes the oldest segments with nothing open. In order, since each also says what is done in older ones."""
        while len(self._segments) > 1 and not self._segments[0].open:
            try:
                self._files.delete(self._segments[0].path)
            except FileNotFoundError:
                pass
            except OSError as error:
                self._failed("delete", error.strerror)
                return
            self._segments.popleft()

    def _gauge(self) -> None:
        metrics.JOURNAL_BYTES.set(sum(segment.size for segment in self._segments))
        metrics.JOURNAL_UNWRITTEN.set(len(self._unwritten))

    # -- reading

    def _read_back(self) -> None:
        for path in self._files.segments():
            try:
                data = self._files.read(path)
            except OSError as error:  # it stays for a process that can read it
                self._failed("read", error.strerror, file=path.name)
                continue
            segment = _Segment(path, len(data))
            self._segments.append(segment)
            damaged = 0
            for text, line in read_lines(data):
                if line is not None:
                    self._take_back(segment, text, line)
                else:
                    damaged += 1
            if damaged:
                log.warning("journal_lines_damaged", file=path.name, lines=damaged)
        self._entries = sorted(
            (entry for entry in self._entries if entry.id in self._where), key=lambda entry: entry.id
        )

    def _take_back(self, segment: _Segment, text: bytes, line: Line) -> None:
        if line.done is not None:
            if where := self._where.pop(line.done, None):
                self._pending_bytes -= len(where.open.pop(line.done))
        elif line.id is not None and line.mail is not None:
            if before := self._where.get(line.id):  # copied from an older segment
                self._pending_bytes -= len(before.open.pop(line.id))
            else:
                self._entries.append(Entry(line.id, line.at, line.mail))
            segment.open[line.id] = text
            self._where[line.id] = segment
            self._pending_bytes += len(text)


def _first(lines: dict[int, bytes], most_bytes: int) -> Iterator[tuple[int, bytes]]:
    """The first of the lines: one, and more up to `most_bytes`."""
    for number, line in lines.items():
        yield number, line
        most_bytes -= len(line)
        if most_bytes <= 0:
            return
