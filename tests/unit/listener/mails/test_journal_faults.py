"""The journal on a disk that is full or broken: at whichever call it fails, no mail that it holds is lost."""

import errno
import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailpush.listener.mails.journal import SLICE_BYTES, Journal
from mailpush.listener.mails.journal_lines import Entry
from mailpush.notifications.notification import NewMail
from tests.unit.listener.mails.faulty_disk import FaultyOs, Killed, on_disk

ERRORS = (errno.ENOSPC, errno.EIO, errno.EDQUOT)
STEPS = ("append",) * 6 + ("oldest", "append", "any", "append", "tend", "append", "append", "reopen") * 3


def error(number: int) -> OSError:
    return OSError(number, "no")


def open_journal(folder: Path) -> Journal:
    return Journal(folder, segment_bytes=400, most_segments=3)


class Life:
    """A journal through some steps, on a disk that may fail. `held`: open mails that it has said it holds."""

    def __init__(self, folder: Path, seed: int = 1) -> None:
        self.folder = folder
        self.chance = random.Random(seed)
        self.uid = 0
        self.journal = open_journal(folder)
        self.open: dict[int, Entry] = {}
        self.held: set[int] = set()

    def step(self, what: str) -> None:
        match what:
            case "append":
                self.uid += 1
                if (entry := self.journal.append(mail(self.uid))) is not None:
                    self.open[self.uid] = entry
            case "oldest" | "any" if self.open:
                chosen = min(self.open) if what == "oldest" else self.chance.choice(sorted(self.open))
                self.held.discard(chosen)
                self.journal.done(self.open.pop(chosen))
            case "tend":
                self.journal.tend()
            case "reopen":
                self.reopen()
        self.held |= {uid for uid, entry in self.open.items() if self.journal.holds(entry)}

    def reopen(self) -> None:
        """The process is killed, and the next one starts; it is started again where it cannot."""
        while True:
            with suppress(OSError):
                self.journal = open_journal(self.folder)
                break
        self.open = {entry.mail.uid: entry for entry in self.journal.replay()}

    def check(self) -> None:
        assert self.held <= set(on_disk(self.folder))

    def recovered(self) -> None:
        """The disk works again: after a while it has what is open, and nothing else."""
        for _ in range(3):
            self.journal.tend()
        assert all(self.journal.holds(entry) for entry in self.open.values())
        self.check()


def mail(uid: int, subject: str = "hello") -> NewMail:
    return NewMail(1, 3, "INBOX", uid=uid, uidvalidity=7, subject=subject)


@pytest.fixture
def disk() -> Iterator[FaultyOs]:
    with FaultyOs().mounted() as faulty:
        yield faulty


def failing(first: int, length: int, fault: BaseException) -> Callable[[int, str], BaseException | None]:
    """So many calls fail, from the first on."""
    return lambda number, _name: fault if first <= number < first + length else None


def calls_of_a_life(disk: FaultyOs) -> list[str]:
    with TemporaryDirectory() as name:
        life = Life(Path(name))
        for step in STEPS:
            life.step(step)
    calls, disk.calls = disk.calls, []
    assert {"listdir", "open", "read", "write", "unlink", "close"} == set(calls)
    return calls


@pytest.mark.parametrize("length", [1, 40])
def test_no_call_that_fails_loses_a_mail_that_the_journal_holds(disk: FaultyOs, length: int) -> None:
    for first in range(len(calls_of_a_life(disk))):
        disk.calls, disk.fault = [], lambda _number, _name: None
        with TemporaryDirectory() as name:
            life = Life(Path(name))
            disk.calls = []
            disk.fault = failing(first, length, error(ERRORS[first % len(ERRORS)]))
            for step in STEPS:
                life.step(step)
                life.check()
            disk.fault = lambda _number, _name: None
            life.recovered()


@pytest.mark.parametrize("error_number", ERRORS)
@pytest.mark.parametrize("takes", [None, 0, 1, 20, 130])
def test_a_disk_that_stays_full_empties_nothing(disk: FaultyOs, error_number: int, takes: int | None) -> None:
    """The oldest segment was deleted although the copies of its mails had not been written."""
    with TemporaryDirectory() as name:
        life = Life(Path(name))
        for _ in range(20):
            life.step("append")
        disk.fault = lambda _number, call: (
            (error(error_number) if takes is None else takes) if call == "write" else None
        )
        for step in STEPS * 3:
            if step != "reopen":
                life.step(step)
                life.check()
        disk.fault = lambda _number, _name: None
        life.recovered()
        assert set(on_disk(Path(name))) == set(life.open), "also what has ended meanwhile is said"


def test_a_kill_in_the_middle_of_any_call_loses_nothing(disk: FaultyOs) -> None:
    for last in range(len(calls_of_a_life(disk))):
        disk.fault = lambda _number, _name: None
        with TemporaryDirectory() as name:
            life = Life(Path(name))
            disk.calls = []
            disk.fault = failing(last, 1, Killed())
            with suppress(Killed):
                for step in STEPS:
                    life.step(step)
            disk.fault = lambda _number, _name: None
            life.check()
            life.reopen()
            assert life.held <= set(life.open)


FAULTS = st.lists(st.tuples(st.integers(0, 120), st.integers(1, 30), st.sampled_from([*ERRORS, -1, -20])), max_size=3)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(STEPS), max_size=60), FAULTS, st.integers())
def test_whatever_fails_and_whenever(steps: list[str], faults: list[tuple[int, int, int]], seed: int) -> None:
    with FaultyOs().mounted() as disk, TemporaryDirectory() as name:
        life = Life(Path(name), seed)
        disk.calls = []

        def fault(number: int, _name: str) -> BaseException | int | None:
            for first, length, kind in faults:
                if first <= number < first + length:
                    return error(kind) if kind > 0 else -kind
            return None

        disk.fault = fault
        for step in steps:
            life.step(step)
            life.check()
        disk.fault = lambda _number, _name: None
        life.recovered()


def test_a_journal_that_cannot_begin_keeps_mails_in_memory_until_it_can(disk: FaultyOs, tmp_path: Path) -> None:
    disk.fault = lambda _number, name: error(errno.ENOSPC) if name == "open" else None
    journal = open_journal(tmp_path)
    entries = [journal.append(mail(uid)) for uid in (1, 2, 3)]
    assert [entry is not None and journal.holds(entry) for entry in entries] == [False] * 3
    assert journal.pending == 3
    disk.fault = lambda _number, _name: None
    journal.tend()
    assert on_disk(tmp_path) == [1, 2, 3]


def test_a_segment_that_cannot_be_read_stays_for_a_process_that_can(disk: FaultyOs, tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.append(mail(1))
    disk.fault = lambda _number, name: error(errno.EIO) if name == "read" else None
    second = Journal(tmp_path)
    assert second.replay() == []
    disk.fault = lambda _number, _name: None
    second.append(mail(2))
    assert sorted(entry.mail.uid for entry in Journal(tmp_path).replay()) == [1, 2], "and no id is given twice"


def test_a_line_that_broke_off_does_not_become_whole_later(disk: FaultyOs, tmp_path: Path) -> None:
    """Its end was missing, and the newline before the next one completed it, after its mail was done."""
    journal = Journal(tmp_path, now=lambda: 1000.0)
    first = journal.append(mail(1))
    assert first is not None
    line_bytes = disk.bytes
    disk.fault = lambda _number, name: line_bytes - 1 if name == "write" else None
    second = journal.append(mail(2))
    assert second is not None
    assert not journal.holds(second)
    disk.fault = lambda _number, _name: None
    journal.done(second, first)
    assert on_disk(tmp_path) == []


def test_an_end_that_could_not_be_written_is_written_later(disk: FaultyOs, tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    first, _ = journal.append(mail(1)), journal.append(mail(2))
    assert first is not None
    disk.fault = lambda _number, name: error(errno.ENOSPC) if name == "write" else None
    journal.done(first)
    assert on_disk(tmp_path) == [1, 2]
    disk.fault = lambda _number, _name: None
    journal.tend()
    assert on_disk(tmp_path) == [2]


@pytest.mark.parametrize("what", ["append", "done"])
def test_a_mail_waits_for_a_bounded_piece_of_copying(disk: FaultyOs, tmp_path: Path, what: str) -> None:
    """All that was open in the oldest segment was copied in one go, with one call a line: 165 ms for a callback."""
    journal = Journal(tmp_path, segment_bytes=150_000, most_segments=3)
    entries = [entry for uid in range(3_000) if (entry := journal.append(mail(uid, "s" * 100)))]
    assert len(entries) == 3_000
    most_calls = most_bytes = most_files = 0
    for uid in range(3_000):
        disk.calls, disk.bytes = [], 0
        if what == "done":
            journal.done(entries[uid])
        else:
            journal.done(entries[uid])
            disk.calls, disk.bytes = [], 0
            journal.append(mail(uid, "s" * 100))
        most_calls, most_bytes = max(most_calls, len(disk.calls)), max(most_bytes, disk.bytes)
        most_files = max(most_files, len(list(tmp_path.glob("*.journal"))))
    assert most_calls <= 8
    assert most_bytes <= 2 * SLICE_BYTES
    assert most_files <= 8, "copying keeps up"


def test_many_ends_are_one_write(disk: FaultyOs, tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    entries = [entry for uid in range(1_000) if (entry := journal.append(mail(uid)))]
    disk.calls = []
    journal.done(*entries)
    assert disk.calls.count("write") == 1
    assert on_disk(tmp_path) == []
