"""The storage that the settings name: replaced when they change, watched, rotated by one pod."""

import asyncio
from dataclasses import replace

import pytest

from mailpush.credentials.cipher import Cipher, Passcrypt
from mailpush.credentials.moving import MovingCredentials
from mailpush.credentials.storage import Entry
from mailpush.credentials.stored import StoreState
from mailpush.listener.users import chore
from mailpush.listener.users.pod_storage import PodStorage
from mailpush.listener.users.stored_entries import StoredEntries
from mailpush.properties.settings import DatabaseSettings, Settings
from tests.sites.passcrypts import SamePasscrypts
from tests.sites.waiting import until
from tests.unit.credentials.memory import FaultyStorage
from tests.unit.listener.people import FILES, settings
from tests.unit.listener.users.test_stored_passwords import STORED


class Scene:
    def __init__(self, files: dict[str, str] = STORED) -> None:
        self.storage = FaultyStorage()
        self.settings: Settings = settings(files)
        self.owns = False
        self.changes = 0
        self.passcrypts = SamePasscrypts()
        self.entries = StoredEntries()
        self.pod = self.another(self.settings)

    def another(self, wanted: Settings) -> PodStorage:
        pod = PodStorage(
            wanted,
            "uid",
            lambda _settings, _uid: self.storage,
            entries=self.entries,
            owns=lambda _slot: self.owns,
            hash_key=lambda: b"key",
            passcrypts=self.passcrypts,
        )
        pod.notify(self._changed)
        return pod

    def _changed(self) -> None:
        self.changes += 1


async def test_without_stored_passwords_there_is_nothing_to_say() -> None:
    scene = Scene(FILES)
    assert (scene.pod.stored, scene.pod.trouble, scene.pod.incapable, scene.pod.fingerprint) == (None, "", None, "")


async def test_a_pod_with_another_passcrypt_says_so_and_takes_no_users() -> None:
    scene = Scene()
    assert scene.pod.stored is not None
    await scene.pod.stored.open()
    assert (scene.pod.trouble, scene.pod.incapable) == ("", None)
    wrong = scene.another(replace(scene.settings, passcrypt="wrong"))
    assert wrong.stored is not None
    await wrong.stored.open()
    assert [wrong.renewed(), wrong.renewed()] == [True, False]
    assert (wrong.trouble, wrong.incapable) == ("PasscryptMismatch", "PasscryptMismatch")
    assert wrong.fingerprint != scene.pod.fingerprint
    assert "wrong" not in wrong.fingerprint


async def test_another_passcrypt_in_the_settings_counts_at_once_and_what_does_not_concern_it_changes_nothing() -> None:
    scene = Scene()
    running = asyncio.create_task(scene.pod.run())
    before = scene.pod.stored
    await scene.pod.use(replace(scene.settings, allow_permanent_push=False))
    assert scene.pod.stored is before
    await until(lambda: scene.pod.stored is not None and "key-check" in scene.storage.notes)
    await scene.pod.use(replace(scene.settings, passcrypt="wrong"))
    await until(lambda: scene.pod.mismatch)
    await scene.pod.use(scene.settings)
    await until(lambda: scene.pod.stored is not None and scene.pod.stored.state.value == "ready")
    assert scene.pod.trouble == ""
    assert scene.changes >= 4
    running.cancel()


async def test_the_pod_of_the_first_slot_encrypts_anew_and_says_how_far_it_is() -> None:
    scene = Scene()
    assert scene.pod.stored is not None
    for number in range(5):
        await scene.pod.stored.put((1, number + 1), "secret")
    rotating = scene.another(replace(scene.settings, passcrypt="new", passcrypt_previous="right"))
    running = asyncio.create_task(rotating.run())
    await until(lambda: rotating.rotation is not None)
    assert rotating.rotation is not None
    assert not rotating.rotation.finished
    running.cancel()
    scene.owns = True
    rotating = scene.another(replace(scene.settings, passcrypt="new", passcrypt_previous="right"))
    assert rotating.stored is not None
    await rotating.stored.open()
    running = asyncio.create_task(rotating.run())
    await until(lambda: rotating.rotation is not None and rotating.rotation.finished)
    running.cancel()
    report = rotating.rotation
    assert report is not None
    assert (report.total, report.done, report.unreadable) == (5, 5, 0)
    ended = replace(scene.settings, passcrypt="new", passcrypt_previous="right")
    assert rotating.rotation_under(ended) == report
    # The next one has not begun yet: nothing may say that its previous passcrypt can go.
    assert rotating.rotation_under(replace(ended, passcrypt="newer", passcrypt_previous="new")) is None
    new = Cipher(Passcrypt("new"))
    entries: list[Entry] = list(scene.storage.entries.values())
    assert [(await new.decrypt(entry.password)).clear for entry in entries] == ["secret"] * 5


async def test_nothing_is_encrypted_anew_before_every_live_pod_has_the_new_passcrypt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(chore, "LOOK_SECONDS", 0.01)
    scene = Scene()
    assert scene.pod.stored is not None
    await scene.pod.stored.put((1, 1), "secret")
    before = dict(scene.storage.entries)
    scene.owns = True
    scene.passcrypts.others = ["mail-push-main-1", "mail-push-main-2"]
    rotating = scene.another(replace(scene.settings, passcrypt="new", passcrypt_previous="right"))
    running = asyncio.create_task(rotating.run())
    await until(lambda: rotating.rotation is not None and rotating.rotation.waits != "")
    assert rotating.rotation is not None
    assert rotating.rotation.waits == ("mail-push-main-1, mail-push-main-2 have not taken the new passcrypt yet")
    asked = scene.passcrypts.asked
    await until(lambda: scene.passcrypts.asked > asked + 3)
    assert scene.storage.entries == before
    scene.passcrypts.unknown = "the Leases cannot be read"
    await until(lambda: rotating.rotation is not None and "cannot be read" in rotating.rotation.waits)
    assert scene.storage.entries == before
    scene.passcrypts.unknown, scene.passcrypts.others = "", []
    await until(lambda: rotating.rotation is not None and rotating.rotation.finished)
    assert rotating.rotation.waits == ""
    running.cancel()


async def test_a_store_that_is_empty_is_not_begun_by_a_pod_with_another_passcrypt_than_the_operators() -> None:
    """Redis has forgotten all, and the first pod that comes is the one that is wrong."""
    scene = Scene()
    scene.passcrypts.given = scene.pod.fingerprint
    wrong = scene.another(replace(scene.settings, passcrypt="wrong"))
    assert wrong.stored is not None
    assert await wrong.stored.open() is StoreState.MISMATCH
    assert not scene.storage.notes
    scene.passcrypts.unknown = "the ConfigMap cannot be read"
    assert scene.pod.stored is not None
    assert await scene.pod.stored.open() is StoreState.UNAVAILABLE
    assert scene.pod.trouble == "PasscryptsUnknown"
    scene.passcrypts.unknown = ""
    assert await scene.pod.stored.open() is StoreState.READY
    assert await wrong.stored.open() is StoreState.MISMATCH


async def test_a_pod_that_cannot_tell_its_own_fingerprint_begins_nothing() -> None:
    scene = Scene()
    scene.pod._hash_key = lambda: b""
    assert scene.pod.stored is not None
    assert await scene.pod.stored.open() is StoreState.UNAVAILABLE
    assert not scene.storage.notes


async def test_the_pod_of_the_first_slot_copies_the_memory_when_all_pods_have_gone_over_to_the_database(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(chore, "LOOK_SECONDS", 0.01)
    scene = Scene()
    assert scene.pod.stored is not None
    await scene.pod.stored.put((1, 1), "secret")
    memory, database = scene.storage, FaultyStorage()
    scene.storage = MovingCredentials(memory, database)  # type: ignore[assignment]
    storage = scene.settings.credential_storage.model_copy(update={"rdb": True})
    server = DatabaseSettings("mysql://db.example:3306/mailpush")
    moved = replace(scene.settings, credential_storage=storage, database=server)
    scene.owns = True
    scene.passcrypts.others = ["mail-push-main-1"]
    pod = scene.another(moved)
    assert (scene.pod.kept, pod.kept) == ("ProcessMemory", "Database")
    running = asyncio.create_task(pod.run())
    await until(lambda: pod.migration is not None and pod.migration.waits != "")
    assert pod.migration is not None
    assert pod.migration.waits == "mail-push-main-1 has not gone over to the database yet"
    assert not database.entries
    scene.passcrypts.others = []
    await until(lambda: pod.migration is not None and pod.migration.finished)
    assert pod.migration_under(moved) == (1, 1, 0, True, "")
    assert pod.migration_under(scene.settings) is None
    assert list(database.entries) == list(memory.entries) == [(1, 1)]
    assert pod.stored is not None
    assert (await pod.stored.get((1, 1))).password == "secret"
    running.cancel()
