"""Entries come from the memory to the database, whatever happens meanwhile, and nothing is lost."""

import asyncio
from dataclasses import replace

import pytest

from mailpush.credentials import migration
from mailpush.credentials.cipher import Cipher, Passcrypt
from mailpush.credentials.migration import COPIED, Copied, Migration
from mailpush.credentials.moving import MovingCredentials
from mailpush.credentials.storage import Entry, StorageUnavailableError, UserKey
from tests.unit.credentials.memory import FaultyStorage

COUNT = 25


@pytest.fixture(autouse=True)
def _small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migration, "PAGE", 10)


class Scene:
    """A memory with entries of all sorts, a database with its own salt, and a pod of both."""

    def __init__(self) -> None:
        self.memory, self.database = FaultyStorage(), FaultyStorage()
        self.writer = Cipher(Passcrypt("right"))
        self.cipher = Cipher(Passcrypt("right"))
        self.now = 1000.0
        self.shut: str | None = None
        self.waits = 0
        self.migration = self.again()

    def again(self) -> Migration:
        return Migration(
            self.memory,
            self.database,
            self.cipher,
            gate=self.gate,
            sleep=self.sleep,
            clock=lambda: self.now,
        )

    async def gate(self) -> None:
        if self.shut is not None:
            raise StorageUnavailableError(self.shut)

    async def sleep(self, _seconds: float) -> None:
        self.waits += 1
        await asyncio.sleep(0)

    async def filled(self) -> "Scene":
        self.cipher.use_salt_of(await Cipher(Passcrypt("right")).key_check())
        for number in range(COUNT):
            await self.put(self.memory, number, f"password {number}", changed=100)
        return self

    async def put(self, storage: FaultyStorage, number: int, password: str, changed: int) -> Entry:
        entry = Entry(1, number, await self.writer.encrypt(password), changed, worked=6, refused=7)
        storage.entries[entry.key] = entry
        return entry

    async def clear(self) -> dict[UserKey, str | None]:
        reader = Cipher(Passcrypt("right"))
        return {key: (await reader.decrypt(entry.password)).clear for key, entry in self.database.entries.items()}


@pytest.fixture
async def scene() -> Scene:
    return await Scene().filled()


PASSWORDS = {(1, number): f"password {number}" for number in range(COUNT)}


async def test_all_entries_come_over_under_the_database_s_salt_and_the_memory_keeps_them(scene: Scene) -> None:
    before = dict(scene.memory.entries)
    assert await scene.migration.run() == Copied(entries=COUNT, seen=COUNT, copied=COUNT, finished=True)
    assert await scene.clear() == PASSWORDS
    assert all(scene.cipher.has_own_salt(entry.password) for entry in scene.database.entries.values())
    assert {(each.changed, each.worked, each.refused) for each in scene.database.entries.values()} == {(100, 6, 7)}
    assert scene.memory.entries == before
    assert scene.memory.notes == {COPIED: "1000"}
    assert scene.waits == 0


async def test_the_memory_s_note_comes_only_after_a_round_that_has_found_all_in_the_database(scene: Scene) -> None:
    """A write that was lost, as by a failover, is found in the round that verifies."""
    database, put = scene.database, scene.database.put_newer
    lost = 1

    async def put_newer(entries: list[Entry]) -> None:
        nonlocal lost
        if lost:
            lost -= 1
            assert COPIED not in scene.memory.notes
            return
        await put(entries)

    database.put_newer = put_newer  # type: ignore[method-assign]
    assert (await scene.migration.run()).finished
    assert await scene.clear() == PASSWORDS
    assert scene.waits == 1


@pytest.mark.parametrize("changed", [99, 100, 101])
async def test_an_entry_that_is_newer_in_the_database_stays(scene: Scene, changed: int) -> None:
    stands = await scene.put(scene.database, 3, "of the database", changed)
    await scene.migration.run()
    assert (await scene.clear())[1, 3] == ("password 3" if changed < 100 else "of the database")
    assert (scene.database.entries[1, 3] == stands) is (changed >= 100)


async def test_what_no_passcrypt_reads_comes_over_as_it_is_and_is_counted(scene: Scene) -> None:
    foreign = Entry(1, 50, await Cipher(Passcrypt("third")).encrypt("x"), 100)
    clear = Entry(1, 51, "hunter2", 100)
    scene.memory.entries |= {foreign.key: foreign, clear.key: clear}
    assert (await scene.migration.run()).unreadable == 1
    assert (scene.database.entries[foreign.key], scene.database.entries[clear.key]) == (foreign, clear)


@pytest.mark.parametrize("memory", [True, False])
@pytest.mark.parametrize("answers", range(0, 16))
async def test_one_whose_store_goes_away_goes_on_where_it_stood(scene: Scene, memory: bool, answers: int) -> None:
    store = scene.memory if memory else scene.database
    store.down_after = answers
    try:
        await scene.migration.run()
    except StorageUnavailableError:
        assert COPIED not in scene.memory.notes
    else:
        assert len(store.asked) <= answers
    store.down_after = None
    assert (await scene.migration.run()).finished
    assert await scene.clear() == PASSWORDS


async def test_another_process_may_begin_again_and_writes_only_what_is_left(scene: Scene) -> None:
    scene.database.down_after = 3
    with pytest.raises(StorageUnavailableError):
        await scene.migration.run()
    scene.database.down_after = None
    there = len(scene.database.entries)
    assert 0 < there < COUNT
    assert (await scene.again().run()).copied == COUNT - there
    assert await scene.clear() == PASSWORDS


async def test_nothing_is_copied_while_the_gate_is_shut(scene: Scene) -> None:
    scene.shut = "a pod still puts passwords there"
    with pytest.raises(StorageUnavailableError, match="still puts"):
        await scene.migration.run()
    assert (scene.database.entries, scene.memory.asked) == ({}, [])
    scene.shut = None
    assert (await scene.migration.run()).finished


async def test_a_later_one_takes_what_was_put_since_and_brings_no_deleted_user_back(scene: Scene) -> None:
    await scene.migration.run()
    del scene.database.entries[1, 3]
    scene.now = 2000.0
    assert (await scene.again().run()).copied == 0
    assert (1, 3) not in scene.database.entries
    await scene.put(scene.memory, 4, "put on the way back", 2500)  # after `rdb` was false for a while
    scene.now = 3000.0
    assert (await scene.again().run()).copied == 1
    assert (await scene.clear())[1, 4] == "put on the way back"
    assert (1, 3) not in scene.database.entries
    assert scene.memory.notes == {COPIED: "3000"}


# -- the storage meanwhile


async def test_who_is_not_in_the_database_yet_is_found_in_the_memory_until_all_is_copied(scene: Scene) -> None:
    moving = MovingCredentials(scene.memory, scene.database)
    put = await scene.put(scene.database, 3, "newer", 200)
    found = await moving.get_many([(1, 3), (1, 4), (9, 9)])
    assert found == {(1, 3): put, (1, 4): scene.memory.entries[1, 4]}
    await scene.migration.run()
    del scene.database.entries[1, 4]
    assert await moving.get((1, 4)) is None
    asked = len(scene.memory.asked)
    assert await moving.get((1, 4)) is None
    assert len(scene.memory.asked) == asked, "the memory is asked no more"


async def test_the_database_goes_on_while_the_memory_is_away(scene: Scene) -> None:
    now = 0.0
    moving = MovingCredentials(scene.memory, scene.database, clock=lambda: now)
    put = await scene.put(scene.database, 3, "newer", 200)
    scene.memory.down = True
    assert await moving.get_many([(1, 3), (1, 4)]) == {(1, 3): put}
    scene.memory.down = False
    assert await moving.get((1, 4)) is None, "it is asked again after a while"
    now = 11.0
    assert await moving.get((1, 4)) == scene.memory.entries[1, 4]


async def test_a_user_who_is_deleted_meanwhile_stays_deleted(scene: Scene) -> None:
    moving = MovingCredentials(scene.memory, scene.database)
    assert await moving.delete((1, 3))
    assert not await moving.delete((1, 3))
    scene.memory.down = True
    with pytest.raises(StorageUnavailableError):
        await moving.delete((1, 4))
    scene.memory.down = False
    await scene.migration.run()
    assert {(1, 3), (1, 4)} & set(scene.database.entries) == {(1, 4)}
    assert await moving.delete((1, 4))
    assert (1, 4) in scene.memory.entries, "it is left alone once it has been copied"


async def test_all_else_is_the_database_s(scene: Scene) -> None:
    moving = MovingCredentials(scene.memory, scene.database)
    before = dict(scene.memory.entries)
    entry = Entry(1, 3, "a")
    await moving.put(entry)
    await moving.put_many([Entry(1, 4, "b")])
    assert await moving.replace(entry, replace(entry, worked=1))
    assert await moving.set_note("n", None, "x")
    assert (await moving.note("n"), await moving.count()) == ("x", 2)
    assert [each.key for each in await moving.page(None, 9)] == [(1, 3), (1, 4)]
    assert (scene.memory.entries, scene.memory.notes) == (before, {})
    await moving.close()
