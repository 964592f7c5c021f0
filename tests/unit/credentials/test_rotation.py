"""Entries move to the current passcrypt, whatever happens meanwhile, and nothing is lost."""

import asyncio
from dataclasses import replace

import pytest

from mailpush.credentials import rotation
from mailpush.credentials.cipher import Cipher, Passcrypt
from mailpush.credentials.rotation import Progress, Rotation
from mailpush.credentials.storage import Entry, StorageUnavailableError
from mailpush.credentials.stored import KEY_CHECK
from tests.sites.waiting import until
from tests.unit.credentials.memory import FaultyStorage

OLD, NEW = Passcrypt("old"), Passcrypt("new")
COUNT = 25


@pytest.fixture(autouse=True)
def _small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rotation, "PAGE", 10)


class Scene:
    """A store that was written under the old passcrypt, and a pod that has both."""

    def __init__(self) -> None:
        self.storage = FaultyStorage()
        self.before = Cipher(OLD)
        self.cipher = Cipher(NEW, OLD)
        self.alone = Cipher(NEW)
        self.waits: list[float] = []
        self.next_round = asyncio.Event()
        self.next_round.set()
        self.reports: list[Progress] = []
        self.shut: str | None = None
        self.rotation = self.again()

    def again(self) -> Rotation:
        return Rotation(
            self.storage,
            self.cipher,
            gate=self.gate,
            report=lambda each: self.reports.append(replace(each)),
            sleep=self.sleep,
        )

    async def gate(self) -> None:
        if self.shut is not None:
            raise StorageUnavailableError(self.shut)

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        await self.next_round.wait()

    async def filled(self) -> "Scene":
        note = await self.before.key_check()
        self.storage.notes[KEY_CHECK] = note
        self.cipher.use_salt_of(note)
        for number in range(COUNT):
            self.put(number, await self.before.encrypt(f"password {number}"))
        return self

    def put(self, number: int, stored: str) -> None:
        entry = Entry(1, number, stored, changed=5, worked=6, refused=7)
        self.storage.entries[entry.key] = entry

    async def clear(self) -> list[str | None]:
        """What a pod reads that knows the current passcrypt alone."""
        return [(await self.alone.decrypt(entry.password)).clear for entry in self.storage.entries.values()]


@pytest.fixture
async def scene() -> Scene:
    return await Scene().filled()


PASSWORDS = [f"password {number}" for number in range(COUNT)]


async def test_all_entries_and_the_note_move_and_keep_their_marks(scene: Scene) -> None:
    progress = await scene.rotation.run()
    assert progress == Progress(entries=COUNT, seen=COUNT, renewed=COUNT, finished=True)
    assert await scene.clear() == PASSWORDS
    assert await scene.alone.agrees(scene.storage.notes[KEY_CHECK])
    assert {(each.changed, each.worked, each.refused) for each in scene.storage.entries.values()} == {(5, 6, 7)}
    assert scene.cipher.derivations == 2
    assert scene.alone.derivations == 1
    assert [each.seen for each in scene.reports[:3]] == [10, 20, 25]
    assert not any(each.finished for each in scene.reports[:-1])


async def test_what_is_current_is_not_written_again(scene: Scene) -> None:
    await scene.rotation.run()
    rows = dict(scene.storage.entries)
    scene.storage.asked.clear()
    progress = await scene.again().run()
    assert (progress.renewed, progress.finished) == (0, True)
    assert scene.storage.entries == rows
    assert scene.storage.asked_for("replace", "set_note", "put", "delete") == 0


@pytest.mark.parametrize("answers", range(0, 38, 3))
async def test_a_rotation_whose_store_goes_away_goes_on_where_it_stood(scene: Scene, answers: int) -> None:
    scene.put(50, await Cipher(Passcrypt("third")).encrypt("secret"))
    scene.storage.down_after = answers
    with pytest.raises(StorageUnavailableError):
        await scene.rotation.run()
    scene.storage.down_after = None
    progress = await scene.rotation.run()
    assert progress == Progress(entries=COUNT + 1, seen=COUNT + 1, renewed=COUNT, unreadable=1, finished=True)
    del scene.storage.entries[1, 50]
    assert await scene.clear() == PASSWORDS


async def test_nothing_is_written_while_the_gate_is_shut_and_what_it_says_is_told(scene: Scene) -> None:
    rows = dict(scene.storage.entries)
    scene.shut = "a pod has the former one"
    for _ in range(2):
        with pytest.raises(StorageUnavailableError, match="a pod has the former one"):
            await scene.rotation.run()
    assert scene.storage.entries == rows
    assert await scene.before.agrees(scene.storage.notes[KEY_CHECK])
    scene.shut = None
    assert (await scene.rotation.run()).renewed == COUNT


async def test_a_gate_that_shuts_in_the_middle_stops_it_after_the_page(scene: Scene) -> None:
    first = scene.rotation
    first._report = lambda _: setattr(scene, "shut", "one came with the former one")
    with pytest.raises(StorageUnavailableError):
        await first.run()
    assert first.progress.renewed == 10
    scene.shut = None
    first._report = lambda _: None
    assert await first.run() == Progress(entries=COUNT, seen=COUNT, renewed=COUNT, finished=True)


async def test_another_process_may_begin_again(scene: Scene) -> None:
    begun = asyncio.create_task(scene.rotation.run())
    while scene.rotation.progress.renewed < 12:  # noqa: ASYNC110 - the next page is renewed in the next turn
        await asyncio.sleep(0)
    begun.cancel()
    progress = await scene.again().run()
    assert progress.finished
    assert 0 < progress.renewed < COUNT
    assert await scene.clear() == PASSWORDS


async def test_two_at_once_lose_nothing(scene: Scene) -> None:
    results = await asyncio.gather(scene.rotation.run(), scene.again().run())
    assert [each.finished for each in results] == [True, True]
    assert sum(each.renewed for each in results) >= COUNT
    assert await scene.clear() == PASSWORDS


async def test_a_password_that_is_put_meanwhile_is_not_overwritten(scene: Scene) -> None:
    storage, put = scene.storage, await scene.alone.encrypt("a new one")
    replaced = storage.replace

    async def others_first(old: Entry, new: Entry) -> bool:
        if old.user_id == 3 and "$" in put and storage.entries[old.key].password == old.password:
            scene.put(3, put)
        return await replaced(old, new)

    storage.replace = others_first  # type: ignore[method-assign]
    assert (await scene.rotation.run()).finished
    assert (await scene.clear())[3] == "a new one"


async def test_an_entry_that_always_changes_is_tried_in_the_next_round(scene: Scene) -> None:
    storage, replaced, changes = scene.storage, scene.storage.replace, 10

    async def changed_first(old: Entry, new: Entry) -> bool:
        nonlocal changes
        if old.user_id == 3 and changes:
            changes -= 1
            scene.put(3, await scene.before.encrypt(f"change {changes}"))
        return await replaced(old, new)

    storage.replace = changed_first  # type: ignore[method-assign]
    assert (await scene.rotation.run()).finished
    assert (await scene.clear())[3] == "change 0"
    assert len(scene.waits) == 3  # of three tries each


async def test_an_entry_that_is_deleted_meanwhile_stays_deleted(scene: Scene) -> None:
    storage, replaced = scene.storage, scene.storage.replace

    async def deleted_first(old: Entry, new: Entry) -> bool:
        if old.user_id == 3:
            storage.entries.pop(old.key, None)
        return await replaced(old, new)

    storage.replace = deleted_first  # type: ignore[method-assign]
    assert (await scene.rotation.run()).finished
    assert (1, 3) not in storage.entries


async def test_what_neither_passcrypt_reads_stays_as_it_is_and_ends_no_rotation(scene: Scene) -> None:
    odd = {50: await Cipher(Passcrypt("third")).encrypt("secret"), 51: "in clear", 52: " ", 53: ""}
    for number, stored in odd.items():
        scene.put(number, stored)
    progress = await scene.rotation.run()
    assert (progress.finished, progress.unreadable, progress.renewed) == (True, 1, COUNT)
    assert {number: scene.storage.entries[1, number].password for number in odd} == odd


async def test_the_previous_passcrypt_does_not_go_while_an_entry_that_cannot_be_written_needs_it(scene: Scene) -> None:
    scene.put(60, scene.alone.encrypt_legacy("p" * 383, width=512))
    scene.put(61, scene.before.encrypt_legacy("p" * 383, width=512))
    scene.next_round.clear()
    running = asyncio.create_task(scene.rotation.run())
    await until(lambda: scene.waits)
    assert (scene.rotation.progress.left, scene.rotation.progress.finished) == (1, False)
    assert await scene.before.agrees(scene.storage.notes[KEY_CHECK])
    del scene.storage.entries[1, 61]
    scene.next_round.set()
    assert (await running).finished
    assert (await scene.clear())[-1] == "p" * 383


async def test_rows_of_ox_under_the_current_passcrypt_get_the_installation_s_salt(scene: Scene) -> None:
    scene.put(60, scene.alone.encrypt_legacy("of an older OX"))
    scene.put(61, await Cipher(NEW).encrypt("with another salt"))
    assert (await scene.rotation.run()).renewed == COUNT + 2
    assert all(map(scene.cipher.has_own_salt, (entry.password for entry in scene.storage.entries.values())))
