import os
import random
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailpush.listener.mails.journal import Journal
from mailpush.listener.mails.journal_lines import Entry
from mailpush.notifications.notification import NewMail


def mail(uid: int, subject: str = "hello") -> NewMail:
    return NewMail(1, 3, "INBOX", uid=uid, uidvalidity=7, subject=subject)


def append(journal: Journal, uid: int) -> Entry:
    entry = journal.append(mail(uid))
    assert entry is not None
    return entry


def uids(entries: list[Entry]) -> list[int]:
    return [entry.mail.uid for entry in entries]


def segments(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.journal"))


def test_what_is_not_done_is_replayed_in_order_with_its_age(tmp_path: Path) -> None:
    journal = Journal(tmp_path, now=lambda: 1000.0)
    entries = [append(journal, uid) for uid in (1, 2, 3)]
    journal.done(entries[1])
    # no close: the process was killed
    replayed = Journal(tmp_path).replay()
    assert replayed == [entries[0], entries[2]]
    assert [entry.at for entry in replayed] == [1000.0, 1000.0]


def test_a_replay_is_given_once_and_can_be_done(tmp_path: Path) -> None:
    append(Journal(tmp_path), 1)
    journal = Journal(tmp_path)
    (entry,) = journal.replay()
    assert journal.replay() == []
    journal.done(entry)
    assert journal.pending == 0
    assert Journal(tmp_path).replay() == []


def test_a_new_process_never_gives_an_id_twice(tmp_path: Path) -> None:
    first = Journal(tmp_path)
    entries = [append(first, uid) for uid in (1, 2)]
    first.done(entries[1])
    assert append(Journal(tmp_path), 3).id > entries[1].id


@pytest.mark.parametrize("cut", [1, 5, 40])
def test_a_torn_last_line_is_passed_over(tmp_path: Path, cut: int) -> None:
    journal = Journal(tmp_path)
    append(journal, 1)
    append(journal, 2)
    path = segments(tmp_path)[0]
    os.truncate(path, path.stat().st_size - cut)
    again = Journal(tmp_path)
    assert uids(again.replay()) == [1]
    append(again, 3)
    assert uids(Journal(tmp_path).replay()) == [1, 3]


def test_a_damaged_line_hides_no_other(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    for uid in (1, 2, 3):
        append(journal, uid)
    path = segments(tmp_path)[0]
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[1].replace(b'"uid":2', b'"uid":9') + b"\x00\xff{nonsense\n" + lines[2])
    assert uids(Journal(tmp_path).replay()) == [1, 3]


def test_segments_whose_mails_are_done_are_deleted(tmp_path: Path) -> None:
    journal = Journal(tmp_path, segment_bytes=500)
    for uid in range(200):
        journal.done(append(journal, uid))
    assert len(segments(tmp_path)) <= 2
    assert Journal(tmp_path).replay() == []


def test_one_old_mail_does_not_keep_all_segments(tmp_path: Path) -> None:
    journal = Journal(tmp_path, segment_bytes=500, most_segments=3)
    old = append(journal, 1)
    for uid in range(2, 200):
        journal.done(append(journal, uid))
    assert len(segments(tmp_path)) <= 4
    assert uids(Journal(tmp_path).replay()) == [1]
    journal.done(old)
    assert Journal(tmp_path).replay() == []


def test_it_takes_no_more_than_it_may(tmp_path: Path) -> None:
    journal = Journal(tmp_path, most_pending_bytes=1000)
    entries: list[Entry] = []
    while (entry := journal.append(mail(len(entries) + 1))) is not None:
        entries.append(entry)
    assert 2 <= len(entries) <= 10
    journal.done(entries[0])
    assert journal.append(mail(99)) is not None


def test_it_takes_more_than_its_segments_are_to_hold(tmp_path: Path) -> None:
    journal = Journal(tmp_path, segment_bytes=400, most_segments=3)
    for uid in range(1, 31):
        append(journal, uid)
    assert uids(Journal(tmp_path).replay()) == list(range(1, 31))


def test_done_twice_is_no_error(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    entry = append(journal, 1)
    journal.done(entry)
    journal.done(entry)
    assert journal.pending == 0


def test_only_its_owner_may_read_it(tmp_path: Path) -> None:
    Journal(tmp_path)
    assert segments(tmp_path)[0].stat().st_mode & 0o077 == 0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["append", "done", "oldest", "reopen"]), max_size=120), st.integers(), st.text())
def test_it_always_replays_what_is_not_done(steps: list[str], seed: int, subject: str) -> None:
    chance = random.Random(seed)
    with TemporaryDirectory() as name:
        open_journal: Callable[[], Journal] = lambda: Journal(Path(name), segment_bytes=400, most_segments=3)  # noqa: E731
        journal = open_journal()
        pending: dict[int, Entry] = {}
        for uid, step in enumerate(steps, 1):
            if step == "append" and (entry := journal.append(mail(uid, subject.encode("utf-8", "replace").decode()))):
                pending[uid] = entry
            elif step in {"done", "oldest"} and pending:
                chosen = min(pending) if step == "oldest" else chance.choice(sorted(pending))
                journal.done(pending.pop(chosen))
            elif step == "reopen":
                journal.close()
                journal = open_journal()
                assert {entry.mail.uid: entry for entry in journal.replay()} == pending
        journal.close()
        assert {entry.mail.uid: entry for entry in open_journal().replay()} == pending
