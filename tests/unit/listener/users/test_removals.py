"""Stored passwords of users who are gone: what is deleted, and what never is."""

from typing import Any, cast

import pytest

from mailpush.credentials.cipher import Cipher, Passcrypt
from mailpush.credentials.storage import Entry
from mailpush.credentials.stored import StoredCredentials
from mailpush.kube.client import Kube
from mailpush.kube.errors import UnreachableError
from mailpush.kube.resources import PUSH_USER
from mailpush.listener.users.removals import OLD_SECONDS, SEEN_SECONDS, Janitor, Removals, wanted_users
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
        self.asked = 0
        self.blind = False
        self.janitor = Janitor(
            self.entries,
            self.removals,
            wanted=self.wanted,
            may_look=lambda: self.looks,
            clock=lambda: self.now,
        )

    async def wanted(self) -> set[UserKey]:
        self.asked += 1
        if self.blind:
            raise UnreachableError("down")
        return {key for key, user in self.users.items() if user.spec.clients}

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
    scene.kube.put(PUSH_USER, push_user(5))  # the list lacks it, the API has it
    await scene.janitor.look()
    await scene.work()
    assert len(scene.storage.entries) == 4, "seen for the first time"
    scene.now += SEEN_SECONDS
    await scene.janitor.look()
    await scene.work()
    assert sorted(scene.storage.entries) == [(1, 4), (1, 5), (1, 6)]


async def test_users_are_read_only_where_an_entry_is_old_and_unread_ones_are_not_gone() -> None:
    scene = Scene()
    await scene.stored.put(KEY, "secret")
    await scene.janitor.look()
    assert scene.asked == 0
    scene.now += OLD_SECONDS
    scene.blind = True
    with pytest.raises(UnreachableError):
        await scene.janitor.look()
    scene.now += SEEN_SECONDS
    scene.blind = False
    await scene.janitor.look()
    await scene.work()
    assert KEY in scene.storage.entries


async def test_the_users_with_a_client_are_those_of_this_mail_push_config() -> None:
    class Api:
        async def pages(self, *_: Any, label_selector: str) -> Any:
            assert label_selector == "mailpush.dev/config=main"
            yield [push_user(3), push_user(4, clients=[])], "1"
            yield [push_user(5), push_user(6, config="other")], "1"

    assert await wanted_users(cast("Kube", Api()), "mail", "main") == {(1, 3), (1, 5)}


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
