"""A user whose password is stored: what is started, what goes on without the store, what a mail server says of it."""

import asyncio
import time
from dataclasses import replace
from typing import cast

import pytest

from mailpush.credentials.cipher import Cipher, Passcrypt
from mailpush.credentials.stored import StoredCredentials
from mailpush.kube.client import Kube
from mailpush.listener.mechanisms.base import Health, State
from mailpush.listener.users.credentials import Credentials
from mailpush.listener.users.marks import Marks
from mailpush.listener.users.secret_reader import UserSecretReader
from mailpush.listener.users.siblings import NoSiblings
from mailpush.listener.users.stored_entries import StoredEntries
from mailpush.listener.users.user import User
from mailpush.listener.users.user_listener import UserListener
from tests.sites.fakekube import FakeKube
from tests.sites.waiting import until
from tests.unit.credentials.memory import FaultyStorage
from tests.unit.listener.people import CLIENT, FILES, LISTENING, FakeOwner, FakeSite, user

STORED = {
    **FILES,
    "mail.properties": "com.openexchange.mail.passwordSource=session\n",
    "mail-push.properties": "com.openexchange.push.credstorage.enabled=true\n",
    "mail-push-secrets.properties": "com.openexchange.push.credstorage.passcrypt=right\n",
}
REFUSED = Health(State.FAILED, "AuthenticationFailed", "the server refused the login")
KEY = (1, 3)


BY_TOKEN = {
    **STORED,
    "more.properties": "mailpush.mail.oauth.enabled=true\nmailpush.mail.oauth.token=t0ken\n",
}


class Scene:
    def __init__(self, files: dict[str, str] = STORED) -> None:
        self.fake = FakeSite(files)
        self.storage = FaultyStorage()
        self.stored = StoredCredentials(self.storage, Cipher(Passcrypt("right")))
        self.entries = StoredEntries()
        self.entries.use(self.stored)
        self.marks = Marks(self.entries)
        self.credentials = Credentials(
            UserSecretReader(cast("Kube", FakeKube()), "ns", lambda: 0.0), self.entries, self.marks
        )
        self.owner = FakeOwner()
        self.restart()

    def restart(self) -> None:
        """Another process gets the user."""
        self.one = UserListener(KEY, 7, self.owner, NoSiblings(), self.credentials)

    async def reconcile(self, who: User | None = None) -> float | None:
        return await self.one.reconcile(who or user(), self.fake.site())

    async def mark(self) -> None:
        writing = asyncio.create_task(self.marks.run())
        await until(lambda: not self.marks._pending)
        writing.cancel()

    @property
    def said(self) -> tuple[str, str]:
        return self.owner.outcomes[-1].listening, self.owner.outcomes[-1].reason

    @property
    def passwords(self) -> list[str]:
        return [one.mailbox.login.password for one in self.fake.dovecot.running]


async def test_the_stored_password_is_used_and_its_source_is_said() -> None:
    scene = Scene()
    await scene.stored.put(KEY, "secret")
    await scene.reconcile()
    assert scene.passwords == ["secret"]
    assert scene.said == ("True", "Registered")
    assert scene.owner.outcomes[-1].credentials == ("storage", 0)


async def test_who_has_none_waits_and_begins_when_it_is_put() -> None:
    scene = Scene()
    await scene.reconcile()
    assert scene.said == ("False", "CredentialsMissing")
    assert scene.one.clients == ()
    await scene.stored.put(KEY, "secret")
    await scene.entries.look()
    await scene.reconcile()
    assert scene.said == ("True", "Registered")


async def test_a_store_that_is_down_delays_a_start_and_takes_nothing_away_at_the_server() -> None:
    scene = Scene()
    await scene.stored.put(KEY, "secret")
    scene.storage.down = True
    again = await scene.reconcile()
    assert scene.said == ("False", "CredentialStorageUnavailable")
    assert "next attempt" in scene.owner.outcomes[-1].message
    assert again is not None
    assert again < 60
    assert scene.fake.dovecot.listeners == []
    assert scene.one.clients == (CLIENT,), "Dovecot may call for who was registered before, and that is told"
    scene.storage.down = False
    await scene.stored.open()
    await scene.reconcile()
    assert scene.said == ("True", "Registered")


@pytest.mark.parametrize("health", [LISTENING, Health(State.FAILED, "ServerUnreachable", "away")])
async def test_what_runs_goes_on_without_the_store(health: Health) -> None:
    scene = Scene()
    scene.fake.dovecot.at_start = health
    await scene.stored.put(KEY, "secret")
    await scene.reconcile()
    scene.storage.down = True
    scene.entries.reread(KEY)
    await scene.reconcile()
    assert scene.passwords == ["secret"]
    assert len(scene.fake.dovecot.listeners) == 1
    assert [one.unregistered for one in scene.fake.dovecot.listeners] == [0]


async def test_a_suspended_user_is_stopped_although_the_store_is_down() -> None:
    scene = Scene()
    await scene.stored.put(KEY, "secret")
    await scene.reconcile()
    scene.storage.down = True
    await scene.reconcile(user(suspend=True))
    assert scene.said == ("False", "Suspended")
    assert scene.fake.dovecot.listeners[0].unregistered == 1


async def wrong(scene: Scene) -> None:
    scene.storage.notes["key-check"] = await Cipher(Passcrypt("another")).key_check()
    await scene.stored.open()
    scene.storage.asked.clear()


async def test_under_another_passcrypt_nothing_is_started_and_nothing_deleted() -> None:
    scene = Scene()
    await scene.stored.put(KEY, "secret")
    await wrong(scene)
    await scene.reconcile()
    assert scene.said == ("False", "PasscryptMismatch")
    assert scene.fake.dovecot.listeners == []
    assert scene.storage.asked_for("delete", "put", "replace", "set_note") == 0
    assert KEY in scene.storage.entries


async def test_under_another_passcrypt_a_proven_password_goes_on_and_another_does_not() -> None:
    scene = Scene()
    await scene.stored.put(KEY, "secret")
    await scene.reconcile()
    await wrong(scene)
    await scene.reconcile()
    assert scene.passwords == ["secret"]
    scene.fake.dovecot.listeners[0].say(REFUSED)
    await scene.reconcile()
    assert scene.passwords == []
    assert scene.said == ("False", "PasscryptMismatch")
    assert [one.unregistered for one in scene.fake.dovecot.listeners] == [0]


async def test_a_refused_password_is_marked_and_not_deleted_and_another_is_tried_at_once() -> None:
    scene = Scene()
    scene.fake.dovecot.at_start = REFUSED
    await scene.stored.put(KEY, "stale")
    await scene.reconcile()
    assert scene.owner.again == [KEY]
    await scene.mark()
    assert scene.storage.entries[KEY].refused
    await scene.reconcile()
    assert len(scene.fake.dovecot.listeners) == 1, "the same password is left to the mechanism's own pauses"
    await scene.stored.put(KEY, "fresh")
    scene.fake.dovecot.at_start = LISTENING
    await scene.reconcile()
    assert scene.passwords == ["fresh"]


async def test_a_login_that_worked_is_marked_and_proven_for_the_next_process() -> None:
    scene = Scene()
    await scene.stored.put(KEY, "secret")
    await scene.reconcile()
    assert not scene.fake.dovecot.listeners[0].mailbox.proven
    scene.fake.dovecot.listeners[0].logged_in_at = 1_900_000_000.0
    scene.fake.dovecot.listeners[0].say(LISTENING)
    await scene.mark()
    assert scene.storage.entries[KEY].worked
    assert scene.owner.outcomes[-1].credentials == ("storage", 1_900_000_000)
    scene.restart()
    scene.entries.forget(KEY)
    await scene.reconcile()
    assert scene.fake.dovecot.listeners[1].mailbox.proven
    assert scene.fake.dovecot.listeners[1].mailbox.refused_for == 0


async def test_a_refusal_of_another_process_is_known_to_the_next() -> None:
    scene = Scene()
    await scene.stored.put(KEY, "stale")
    entry = scene.storage.entries[KEY]
    scene.storage.entries[KEY] = replace(entry, worked=1, refused=int(time.time()) - 600)
    await scene.reconcile()
    mailbox = scene.fake.dovecot.listeners[0].mailbox
    assert not mailbox.proven
    assert 500 < mailbox.refused_for < 10_000
    assert "stale" not in repr(mailbox)


async def test_an_entry_that_is_encrypted_anew_restarts_nothing() -> None:
    scene = Scene()
    await scene.stored.put(KEY, "secret")
    await scene.reconcile()
    scene.storage.entries.pop(KEY)
    await scene.stored.put(KEY, "secret")
    for _ in range(20):
        await scene.entries.look()
    await scene.reconcile()
    assert len(scene.fake.dovecot.listeners) == 1


async def test_who_has_no_stored_password_is_logged_in_by_a_token_where_there_is_one() -> None:
    scene = Scene(BY_TOKEN)
    await scene.reconcile()
    (login,) = [one.mailbox.login for one in scene.fake.dovecot.running]
    assert (login.kind, login.user, login.password) == ("token", "u3", ""), "the token is asked for at each login"
    assert scene.owner.outcomes[-1].credentials == ("oauth", 0)


async def test_a_stored_password_goes_before_a_token_and_one_that_cannot_be_read_is_no_reason_for_a_token() -> None:
    scene = Scene(BY_TOKEN)
    await scene.stored.put(KEY, "secret")
    await scene.reconcile()
    assert scene.passwords == ["secret"]
    assert scene.owner.outcomes[-1].credentials == ("storage", 0)
    other = Scene(BY_TOKEN)
    other.storage.entries[KEY] = replace(scene.storage.entries[KEY], password="hunter2!")
    await other.reconcile()
    assert other.said == ("False", "ClearTextCredential")
    assert not other.fake.dovecot.running


async def test_the_password_of_a_user_without_a_client_is_needed_no_more_once_nothing_is_registered() -> None:
    scene = Scene()
    await scene.stored.put(KEY, "secret")
    await scene.reconcile()
    await scene.reconcile(user(suspend=True))
    assert scene.owner.gone == [], "suspended is not gone"
    await scene.reconcile()
    await scene.reconcile(user(clients=[]))
    assert scene.fake.dovecot.listeners[-1].unregistered == 1
    assert scene.owner.gone == [KEY]
    await scene.reconcile(user(clients=[]))
    assert scene.owner.gone == [KEY]


async def test_the_password_of_a_user_who_never_had_a_client_stays_for_the_first_one() -> None:
    scene = Scene()
    await scene.stored.put(KEY, "secret")
    await scene.reconcile(user(clients=[]))
    assert scene.owner.gone == []
