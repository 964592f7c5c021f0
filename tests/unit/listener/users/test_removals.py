"""Stored passwords of users who are gone: what is deleted, and what never is."""

from typing import cast

from mailpush.credentials.cipher import Cipher, Passcrypt
from mailpush.credentials.storage import Entry
from mailpush.credentials.stored import StoredCredentials
from mailpush.kube.client import Kube
from mailpush.kube.errors import UnreachableError
from mailpush.kube.resources import PUSH_USER
from mailpush.listener.users.removals import OLD_SECONDS, SEEN_SECONDS, Janitor, Removals
from mailpush.listener.users.stored_entries import StoredEntries
from mailpush.listener.users.user import User, UserKey
from tests.sites.fakekube import FakeKube
from tests.unit.credentials.memory import FaultyStorage
from tests.unit.listener.people import push_user, user

KEY = (1, 3)


class Scene:
    def __init__(self, *, foreign: bool = False) -> None:
        self.storage = FaultyStorage()
        self.kube = FakeKube()
        self.entries = StoredEntries()
        self.now = 2_000_000_000.0
        self.stored = StoredCredentials(
            self.storage, Cipher(Passcrypt("right")), foreign=foreign, clock=lambda: self.now
        )
        self.entries.use(self.stored)
        self.removals = Removals(cast("Kube", self.kube), "ns", "main", self.entries)
        self.users: dict[UserKey, User] = {}
        self.looks = True
        self.janitor = Janitor(
            self.entries,
            self.removals,
            user=self.users.get,
            may_look=lambda: self.looks,
            clock=lambda: self.now,
        )

    async def work(self) -> None:
        self.removals.start()
        await self.removals._queue.idle()


async def test_the_password_of_a_deleted_user_goes() -> None:
    scene = Scene()
    await scene.stored.put(KEY, "secret")
    scene.removals.gone(KEY)
    await scene.work()
    assert scene.storage.entries == {}


async def test_one_who_is_there_again_or_still_keeps_it() -> None:
    scene = Scene()
    await scene.stored.put(KEY, "secret")
    scene.kube.put(PUSH_USER, push_user())
    scene.removals.gone(KEY)
    await scene.work()
    assert KEY in scene.storage.entries


async def test_one_without_a_client_does_not() -> None:
    scene = Scene()
    await scene.stored.put(KEY, "secret")
    scene.kube.put(PUSH_USER, push_user(clients=[]))
    scene.removals.gone(KEY)
    await scene.work()
    assert scene.storage.entries == {}


async def test_an_api_that_does_not_answer_is_no_proof() -> None:
    scene = Scene()
    await scene.stored.put(KEY, "secret")
    scene.kube.fail = UnreachableError("down")
    scene.removals.gone(KEY)
    await scene.work()
    assert KEY in scene.storage.entries
    scene.kube.fail = None
    scene.removals.gone(KEY)
    await scene.work()
    assert scene.storage.entries == {}
    await scene.removals.close()


async def test_under_another_passcrypt_nothing_is_deleted() -> None:
    scene = Scene()
    await scene.stored.put(KEY, "secret")
    scene.storage.notes["key-check"] = await Cipher(Passcrypt("another")).key_check()
    await scene.stored.open()
    scene.removals.gone(KEY)
    await scene.work()
    assert KEY in scene.storage.entries
    await scene.removals.close()


async def test_of_the_table_of_others_nothing_is_deleted() -> None:
    scene = Scene(foreign=True)
    await scene.storage.put(Entry(*KEY, "encrypted by OX"))
    scene.removals.gone(KEY)
    await scene.work()
    assert KEY in scene.storage.entries


async def test_the_janitor_takes_what_was_forgotten_long_ago_and_nothing_that_was_put_lately() -> None:
    scene = Scene()
    for number in (3, 4, 5):
        await scene.stored.put((1, number), "secret")
    scene.now += OLD_SECONDS
    await scene.stored.put((1, 6), "put before the PushUser is made")
    scene.users[1, 4] = user(4)
    scene.kube.put(PUSH_USER, push_user(4))
    scene.kube.put(PUSH_USER, push_user(5))  # the watch has lost it, the API has it
    await scene.janitor.look()
    await scene.work()
    assert len(scene.storage.entries) == 4, "seen for the first time"
    scene.now += SEEN_SECONDS
    await scene.janitor.look()
    await scene.work()
    assert sorted(scene.storage.entries) == [(1, 4), (1, 5), (1, 6)]


async def test_a_janitor_that_has_lost_its_slot_or_its_list_forgets_what_it_has_seen() -> None:
    scene = Scene()
    await scene.stored.put(KEY, "secret")
    scene.now += OLD_SECONDS
    await scene.janitor.look()
    scene.looks = False
    scene.now += SEEN_SECONDS
    await scene.janitor.look()
    scene.looks = True
    await scene.janitor.look()
    await scene.work()
    assert KEY in scene.storage.entries
