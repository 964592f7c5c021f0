"""What is read of the store, how often, and what is noticed of its changes."""

import asyncio
from dataclasses import replace

from mailpush.credentials.cipher import Cipher, Passcrypt
from mailpush.credentials.storage import Entry
from mailpush.credentials.stored import StoredCredentials, StoredState
from mailpush.listener.users.marks import Marks
from mailpush.listener.users.stored_entries import BATCH, PARTS, StoredEntries
from mailpush.listener.users.user import UserKey
from tests.sites.waiting import until
from tests.unit.credentials.memory import FaultyStorage


class Scene:
    def __init__(self, users: int = 0) -> None:
        self.storage = FaultyStorage()
        self.cipher = Cipher(Passcrypt("right"))
        self.stored = StoredCredentials(self.storage, self.cipher)
        self.entries = StoredEntries()
        self.entries.use(self.stored)
        self.changed: list[UserKey] = []
        self.entries.notify(self.changed.append)
        self.keys = [(1, number + 1) for number in range(users)]

    async def fill(self) -> None:
        row = await self.cipher.encrypt("secret")
        await self.stored.open()
        row = await self.cipher.encrypt("secret")
        for key in self.keys:
            self.storage.entries[key] = Entry(*key, row)
        self.storage.asked.clear()

    async def look_everywhere(self) -> None:
        for _ in range(PARTS):
            await self.entries.look()


async def test_a_pod_that_gets_ten_thousand_users_asks_twenty_times() -> None:
    scene = Scene(10_000)
    await scene.fill()
    scene.entries.expect(scene.keys)

    async def work(keys: list[UserKey]) -> None:
        for key in keys:
            assert (await scene.entries.get(key)).password == "secret"

    await asyncio.gather(*(work(scene.keys[start::32]) for start in range(32)))
    assert len(scene.storage.asked) <= 2 * 10_000 / BATCH, scene.storage.asked
    assert all(int(one.split()[1]) <= BATCH for one in scene.storage.asked)
    assert scene.cipher.derivations == 1


async def test_those_who_are_about_to_come_are_read_before_anybody_asks() -> None:
    scene = Scene(2 * BATCH)
    await scene.fill()
    scene.entries.fetch(scene.keys)
    await until(lambda: all(scene.entries.held(key) for key in scene.keys))
    assert scene.storage.asked == [f"get_many {BATCH}"] * 2
    assert (await scene.entries.get((1, 1))).password == "secret"
    assert len(scene.storage.asked) == 2


async def test_a_store_that_fails_is_not_asked_again_for_those_who_may_come() -> None:
    scene = Scene(3)
    await scene.fill()
    scene.storage.down = True
    scene.entries.fetch(scene.keys)
    flight = scene.entries._flight
    assert flight is not None
    await until(flight.done)
    scene.entries.fetch(scene.keys)
    assert scene.entries._flight is flight
    scene.storage.down = False
    await scene.stored.open()
    assert (await scene.entries.get((1, 1))).password == "secret"


async def test_what_is_held_is_not_asked_for_again_and_not_in_clear() -> None:
    scene = Scene(1)
    await scene.fill()
    for _ in range(5):
        assert (await scene.entries.get((1, 1))).password == "secret"
    assert scene.storage.asked == ["get_many 1"]
    assert "secret" not in repr(vars(scene.entries))


async def test_a_password_that_is_put_is_noticed_at_the_next_look_by_who_waits_for_one() -> None:
    scene = Scene()
    assert (await scene.entries.get((1, 1))).state is StoredState.MISSING
    await scene.entries.look()
    assert scene.changed == []
    await scene.stored.put((1, 1), "secret")
    await scene.entries.look()
    assert scene.changed == [(1, 1)]
    assert (await scene.entries.get((1, 1))).password == "secret"


async def test_a_refused_password_waits_for_another_one() -> None:
    scene = Scene(1)
    await scene.fill()
    found = await scene.entries.get((1, 1))
    assert found.entry is not None
    scene.entries.marked(found.entry, await scene.stored.mark_refused(found.entry))
    assert (await scene.entries.get((1, 1))).password == "secret"
    await scene.stored.put((1, 1), "another")
    await scene.entries.look()
    assert scene.changed == [(1, 1)]
    assert (await scene.entries.get((1, 1))).password == "another"


async def test_each_users_turn_comes_and_marks_of_others_change_nothing() -> None:
    scene = Scene(3)
    await scene.fill()
    for key in scene.keys:
        await scene.entries.get(key)
    scene.storage.entries[1, 1] = replace(scene.storage.entries[1, 1], worked=5)
    await scene.stored.put((1, 2), "another")
    del scene.storage.entries[1, 3]
    await scene.look_everywhere()
    assert sorted(scene.changed) == [(1, 2), (1, 3)]
    assert (await scene.entries.get((1, 3))).state is StoredState.MISSING


async def test_a_store_that_is_down_gives_what_is_held_and_says_so_of_the_others() -> None:
    scene = Scene(2)
    await scene.fill()
    await scene.entries.get((1, 1))
    scene.storage.down = True
    assert (await scene.entries.get((1, 2))).state is StoredState.UNAVAILABLE
    assert (await scene.entries.get((1, 1))).password == "secret"
    scene.storage.down = False
    await scene.stored.open()
    assert (await scene.entries.get((1, 2))).password == "secret"


async def test_another_storage_is_read_anew() -> None:
    scene = Scene(1)
    await scene.fill()
    await scene.entries.get((1, 1))
    other = Scene()
    scene.entries.use(other.stored)
    assert (await scene.entries.get((1, 1))).state is StoredState.MISSING


async def test_who_has_left_is_forgotten_even_while_being_read() -> None:
    scene = Scene(2)
    await scene.fill()
    scene.entries.expect(scene.keys)
    reading = asyncio.create_task(scene.entries.get((1, 1)))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    scene.entries.forget((1, 2))
    await reading
    assert scene.entries.held((1, 2)) is None
    assert (1, 2) not in scene.entries._held


async def test_a_mark_waits_for_a_store_that_is_down() -> None:
    scene = Scene(1)
    await scene.fill()
    found = await scene.entries.get((1, 1))
    assert found.entry is not None
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 3:
            scene.storage.down = False
            await scene.stored.open()
        await asyncio.sleep(0)

    marks = Marks(scene.entries, sleep)
    scene.storage.down = True
    marks.refused(found.entry)
    writing = asyncio.create_task(marks.run())
    await until(lambda: scene.storage.entries[1, 1].refused)
    await until(lambda: (held := scene.entries.held((1, 1))) is not None and held.refused)
    writing.cancel()
    assert len(waited) >= 3
    assert (await scene.entries.get((1, 1))).password == "secret"


async def test_the_last_mark_counts_and_who_has_left_gets_none() -> None:
    scene = Scene(2)
    await scene.fill()
    one, two = [(await scene.entries.get(key)).entry for key in scene.keys]
    assert one is not None
    assert two is not None
    marks = Marks(scene.entries)
    marks.refused(one)
    marks.worked(one)
    marks.refused(two)
    marks.forget((1, 2))
    writing = asyncio.create_task(marks.run())
    await until(lambda: scene.storage.entries[1, 1].worked)
    writing.cancel()
    assert scene.storage.entries[1, 1].refused == 0
    assert scene.storage.entries[1, 2] == two
