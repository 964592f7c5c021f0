"""The storage with the real cipher: what is given, marked and deleted; a wrong passcrypt, a store that is down."""

from dataclasses import replace

import pytest

from mailpush.credentials.cipher import Cipher, Passcrypt
from mailpush.credentials.passwords import PasswordRefusedError
from mailpush.credentials.storage import Entry, StorageUnavailableError, WriteRefusedError
from mailpush.credentials.stored import (
    KEY_CHECK,
    PASSCRYPT_MISMATCH,
    PasscryptMismatchError,
    StoredCredentials,
    StoredState,
    StoreState,
)
from tests.unit.credentials.memory import FaultyStorage

KEY = (1, 3)
SECRET = "geheim-0815-zebra"


class Scene:
    def __init__(self, storage: FaultyStorage | None = None, passcrypt: str = "right", previous: str | None = None):
        self.storage = storage or FaultyStorage()
        self.now = 1_800_000_000.0
        self.changes: list[StoreState] = []
        self.cipher = Cipher(Passcrypt(passcrypt), Passcrypt(previous) if previous else None)
        self.stored = StoredCredentials(
            self.storage, self.cipher, changed=lambda: self.changes.append(self.stored.state), clock=lambda: self.now
        )


async def test_what_is_put_comes_back_and_stands_encrypted() -> None:
    scene = Scene()
    assert await scene.stored.put(KEY, SECRET)
    found = await scene.stored.get(KEY)
    assert (found.state, found.password) == (StoredState.USABLE, SECRET)
    assert SECRET not in scene.storage.entries[KEY].password
    assert SECRET not in repr(found)
    assert not await scene.stored.put(KEY, SECRET), "it stands there already"


async def test_a_store_that_is_empty_is_begun_only_under_the_passcrypt_that_is_to_be_its_own() -> None:
    scene = Scene()
    allowed = False

    async def may_begin() -> bool:
        return allowed

    scene.stored = StoredCredentials(scene.storage, scene.cipher, may_begin=may_begin)
    assert await scene.stored.open() is StoreState.MISMATCH
    assert not scene.storage.notes
    with pytest.raises(PasscryptMismatchError):
        await scene.stored.put(KEY, SECRET)
    allowed = True
    assert await scene.stored.open() is StoreState.READY
    allowed = False
    assert await scene.stored.open() is StoreState.READY, "it has its note by now"


async def test_nobody_is_missing_and_a_deleted_one_too() -> None:
    scene = Scene()
    assert (await scene.stored.get(KEY)).state is StoredState.MISSING
    await scene.stored.put(KEY, SECRET)
    assert await scene.stored.delete(KEY)
    assert not await scene.stored.delete(KEY)
    assert (await scene.stored.get(KEY)).state is StoredState.MISSING


@pytest.mark.parametrize("password", ["", "  \t", "a\nb", "a\rb", "a\0b", "x" * 330, "\ud800", "ä" * 165])
async def test_what_no_mail_server_takes_is_refused_without_a_word_of_it(password: str) -> None:
    scene = Scene()
    with pytest.raises(PasswordRefusedError) as refused:
        await scene.stored.put(KEY, password)
    assert not password.strip() or password not in str(refused.value)
    assert scene.storage.entries == {}


@pytest.mark.parametrize(
    ("row", "state"),
    [
        ("", StoredState.MISSING),
        ("hunter2", StoredState.CLEAR_TEXT),
        ("AAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA==$0$0$0$AAAA", StoredState.DAMAGED),
        (
            "AAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA==$2147483647$1$1$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            StoredState.DAMAGED,
        ),
    ],
)
async def test_a_row_that_gives_no_password_gives_none(row: str, state: StoredState) -> None:
    scene = Scene()
    await scene.stored.open()
    scene.storage.entries[KEY] = Entry(*KEY, row)
    found = await scene.stored.get(KEY)
    assert (found.state, found.password) == (state, None)


async def test_the_loser_of_two_pods_takes_the_salt_of_the_winner() -> None:
    storage = FaultyStorage()
    first, second = Scene(storage), Scene(storage)
    assert await first.stored.open() is StoreState.READY
    assert await second.stored.open() is StoreState.READY
    await second.stored.put(KEY, SECRET)
    assert (await first.stored.get(KEY)).password == SECRET
    assert first.cipher.has_own_salt(storage.entries[KEY].password)
    assert (await Scene(storage).stored.get(KEY)).password == SECRET


async def test_under_another_passcrypt_nothing_is_given_written_or_deleted() -> None:
    right = Scene()
    await right.stored.put(KEY, SECRET)
    before = dict(right.storage.entries), dict(right.storage.notes)
    right.storage.asked.clear()
    wrong = Scene(right.storage, passcrypt="wrong")
    found = await wrong.stored.get(KEY)
    assert (found.state, found.password) == (StoredState.MISMATCH, None)
    entry = right.storage.entries[KEY]
    for refused in (
        wrong.stored.put(KEY, "another"),
        wrong.stored.delete(KEY),
        wrong.stored.mark_refused(entry),
        wrong.stored.mark_worked(entry),
        wrong.stored.page(None, 10),
    ):
        with pytest.raises(PasscryptMismatchError):
            await refused
    assert (right.storage.entries, right.storage.notes) == before
    assert right.storage.asked_for("put", "delete", "replace", "set_note") == 0
    assert wrong.stored.trouble is not None
    assert wrong.stored.trouble.reason == PASSCRYPT_MISMATCH


async def test_a_mismatch_ends_when_the_note_is_right_again() -> None:
    scene = Scene()
    await scene.stored.put(KEY, SECRET)
    note = scene.storage.notes[KEY_CHECK]
    scene.storage.notes[KEY_CHECK] = await Cipher(Passcrypt("another")).key_check()
    assert await scene.stored.open() is StoreState.MISMATCH
    scene.storage.notes[KEY_CHECK] = note
    assert await scene.stored.open() is StoreState.READY
    assert (await scene.stored.get(KEY)).password == SECRET
    assert scene.changes == [StoreState.READY, StoreState.MISMATCH, StoreState.READY]


async def test_a_wrong_passcrypt_writes_no_note_into_a_store_that_has_lost_its_own() -> None:
    right = Scene()
    for number in range(3):
        await right.stored.put((1, number + 1), SECRET)
    right.storage.notes.clear()
    assert await Scene(right.storage, passcrypt="wrong").stored.open() is StoreState.MISMATCH
    assert right.storage.notes == {}
    assert await right.stored.open() is StoreState.READY
    assert KEY_CHECK in right.storage.notes


async def test_during_a_rotation_both_are_read_and_the_new_one_is_written() -> None:
    old = Scene(passcrypt="old")
    await old.stored.put(KEY, SECRET)
    new = Scene(old.storage, passcrypt="new", previous="old")
    assert (await new.stored.get(KEY)).password == SECRET
    await new.stored.put((1, 4), SECRET)
    assert (await Cipher(Passcrypt("new")).decrypt(new.storage.entries[1, 4].password)).clear == SECRET


async def test_a_store_that_is_down_is_said_and_is_asked_by_nobody_until_it_answers() -> None:
    scene = Scene()
    await scene.stored.put(KEY, SECRET)
    scene.storage.down = True
    assert (await scene.stored.get(KEY)).state is StoredState.UNAVAILABLE
    scene.storage.down = False
    scene.storage.asked.clear()
    assert (await scene.stored.get(KEY)).state is StoredState.UNAVAILABLE
    assert scene.storage.asked == [], "the watch asks first"
    with pytest.raises(StorageUnavailableError):
        await scene.stored.put(KEY, "another")
    assert await scene.stored.open() is StoreState.READY
    assert (await scene.stored.get(KEY)).password == SECRET


async def test_a_refused_password_is_marked_and_stays() -> None:
    scene = Scene()
    await scene.stored.put(KEY, SECRET)
    entry = await scene.stored.mark_refused(scene.storage.entries[KEY])
    assert scene.storage.entries[KEY] == entry
    assert entry.refused == int(scene.now)
    assert (await scene.stored.get(KEY)).password == SECRET
    scene.now += 100
    assert (await scene.stored.mark_refused(entry)).refused == entry.refused, "since when, not when last"
    await scene.stored.put(KEY, "another")
    assert scene.storage.entries[KEY].refused == 0


async def test_the_same_password_put_again_after_a_refusal_is_to_be_tried_again() -> None:
    scene = Scene()
    await scene.stored.put(KEY, SECRET)
    await scene.stored.mark_refused(scene.storage.entries[KEY])
    assert await scene.stored.put(KEY, SECRET)
    assert scene.storage.entries[KEY].refused == 0


async def test_a_password_that_works_is_proven_and_marked_once_a_day() -> None:
    scene = Scene()
    await scene.stored.put(KEY, SECRET)
    assert not (await scene.stored.get(KEY)).proven
    entry = await scene.stored.mark_worked(scene.storage.entries[KEY])
    assert (await scene.stored.get(KEY)).proven
    scene.storage.asked.clear()
    scene.now += 86_000
    assert await scene.stored.mark_worked(entry) == entry
    assert scene.storage.asked == []
    scene.now += 1_000
    entry = await scene.stored.mark_worked(entry)
    assert entry.worked == int(scene.now)
    refused = await scene.stored.mark_refused(entry)
    assert not (await scene.stored.get(KEY)).proven
    assert (await scene.stored.mark_worked(refused)).refused == 0
    await scene.stored.put(KEY, "another")
    assert not (await scene.stored.get(KEY)).proven


async def test_a_mark_follows_an_entry_that_was_encrypted_anew() -> None:
    scene = Scene()
    await scene.stored.put(KEY, SECRET)
    before = scene.storage.entries[KEY]
    scene.storage.entries[KEY] = replace(before, password=await scene.cipher.encrypt(SECRET))
    await scene.stored.mark_refused(before)
    assert scene.storage.entries[KEY].refused
    assert (await scene.stored.get(KEY)).password == SECRET


async def test_a_mark_is_not_put_on_another_password() -> None:
    scene = Scene()
    await scene.stored.put(KEY, SECRET)
    before = scene.storage.entries[KEY]
    await scene.stored.put(KEY, "another")
    await scene.stored.mark_refused(before)
    assert scene.storage.entries[KEY].refused == 0


async def test_a_foreign_table_gets_no_note_and_no_marks_and_three_rows_settle_a_mismatch() -> None:
    scene = Scene(passcrypt="right")
    scene.stored = StoredCredentials(scene.storage, scene.cipher, foreign=True)
    other = Cipher(Passcrypt("other"))
    for number in range(2):
        scene.storage.entries[1, number + 1] = Entry(1, number + 1, await other.encrypt("x"))
    assert await scene.stored.open() is StoreState.READY
    assert (await scene.stored.get((1, 1))).state is StoredState.UNDECRYPTABLE
    scene.storage.entries[1, 9] = Entry(1, 9, await other.encrypt("x"))
    assert await scene.stored.open() is StoreState.MISMATCH
    scene.storage.entries[1, 2] = Entry(1, 2, await scene.cipher.encrypt(SECRET))
    assert await scene.stored.open() is StoreState.READY
    for refused in (scene.stored.put((1, 2), "another"), scene.stored.delete((1, 2))):
        with pytest.raises(WriteRefusedError):
            await refused
    assert scene.stored.state is StoreState.READY
    assert not (await scene.stored.get((1, 2))).proven
    entry = await scene.stored.mark_refused(scene.storage.entries[1, 2])
    assert entry.refused
    assert (await scene.stored.entries([(1, 2)]))[1, 2] == entry, "a mark stays in this process"
    await scene.stored.mark_worked(entry)
    assert (await scene.stored.get((1, 2))).proven
    assert (await scene.stored.page((1, 1), 1))[0].worked
    scene.storage.entries[1, 2] = Entry(1, 2, await scene.cipher.encrypt(SECRET))
    assert not (await scene.stored.get((1, 2))).proven, "OX has written another row"
    assert scene.storage.asked_for("note", "set_note", "replace", "put", "delete") == 0
