"""Stored passwords in Redis, with real listener processes and a real Dovecot, whose log says who logged in."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from mailpush import names
from mailpush.credentials.cipher import Cipher, Passcrypt
from mailpush.credentials.named import storage_of
from mailpush.credentials.storage import Entry
from mailpush.credentials.stored import StoredCredentials
from mailpush.properties import secrets
from mailpush.properties.read import read
from tests.sites.listener import CONFIG_UID, ListenerSite
from tests.sites.namespace import Namespace, wait_for

RIGHT, WRONG = "zwiebel-0815", "moehre-4711"
MINE = "mailbox-password-0815"
STALE = "stale-password-0815"
Result = TypeVar("Result")


class StoredSite(ListenerSite):
    """Users' passwords come from Redis."""

    def configure_stored(self, passcrypt: str = RIGHT) -> None:
        self.secrets[secrets.PASSCRYPT] = passcrypt
        access = {"passwordSource": "session", "servers": self.spec()["mailAccess"]["servers"]}
        storage = {"enabled": True, "passcryptSecretRef": {"name": "passcrypt", "key": "passcrypt"}}
        self.configure(mailAccess=access, credentialStorage=storage)

    def store(self, work: Callable[[StoredCredentials], Awaitable[Result]]) -> Result:
        """Does `work` with the storage, as somebody with the right passcrypt."""

        async def run() -> Result:
            storage = storage_of(read(self.rendered.directory), CONFIG_UID, Path())
            assert storage is not None
            try:
                return await work(StoredCredentials(storage, Cipher(Passcrypt(RIGHT))))
            finally:
                await storage.close()

        return asyncio.run(run())

    def put(self, *users: int, password: str | None = None) -> None:
        async def work(stored: StoredCredentials) -> None:
            for user in users:
                await stored.put((1, user), password or MINE)

        self.store(work)

    def entries(self) -> dict[int, Entry]:
        async def work(stored: StoredCredentials) -> dict[int, Entry]:
            return {entry.user_id: entry for entry in await stored.page(None, 100)}

        return self.store(work)

    def logins(self) -> list[str]:
        """Dovecot's lines of logins, good and bad."""
        return [line for line in self.dovecot.log().splitlines() if "Login: user=" in line or "auth failed" in line]


@pytest.fixture
def site(namespace: Namespace) -> Iterator[StoredSite]:
    site = StoredSite(namespace)
    try:
        site.dovecot.change_password("*", MINE)
        yield site
        log = "".join(site.log(process) for process in site.pids)
        statuses = site.namespace.kubectl("get", "pushusers,leases,configmaps", "-o", "yaml")
        for secret in (RIGHT, WRONG, STALE, MINE):
            assert secret not in log
            assert secret not in str(statuses)
    finally:
        site.close()


def test_stored_passwords_are_listened_with_and_a_stale_one_is_marked_and_stays(site: StoredSite) -> None:
    site.configure_stored()
    site.put(3)
    site.put(4, password=STALE)
    site.pod(0)
    site.assign(0)
    site.register(3, 4, 5)
    site.start(0)
    site.wait_status(3, permanent=True, reason="Registered")
    site.wait_status(4, permanent=False, reason="AuthenticationFailed")
    site.wait_status(5, permanent=False, reason="CredentialsMissing")
    assert site.status(3)["credentials"]["source"] == "storage"
    wait_for("the marks", lambda: site.entries()[4].refused and site.entries()[3].worked)
    assert not site.entries()[3].refused
    site.put(4, 5)
    site.wait_status(4, permanent=True, reason="Registered")
    site.wait_status(5, permanent=True, reason="Registered")
    assert site.lease(0).passcrypt
    assert site.lease(0).storage == ""
    site.namespace.kubectl("delete", "pushuser", names.push_user_name("main", 1, 5))
    wait_for("the entry of the deleted user to go", lambda: 5 not in site.entries())
    site.register(4, clients=())
    wait_for("the entry of who has no client any more to go", lambda: set(site.entries()) == {3})


def test_a_memory_that_is_away_restarts_nobody_and_one_that_is_empty_wants_the_passwords_again(
    site: StoredSite,
) -> None:
    site.configure_stored()
    site.put(3)
    site.pod(0)
    site.assign(0)
    site.register(3)
    process = site.start(0)
    site.wait_status(3, permanent=True, reason="Registered")
    logins = len(site.logins())
    site.redis.stop()
    wait_for("the Lease to say it", lambda: site.lease(0).storage)
    site.register(6)
    site.wait_status(6, permanent=False, reason="CredentialStorageUnavailable")
    assert site.status(3)["permanent"] is True
    assert len(site.logins()) == logins, "nobody has logged in again"
    site.redis.start()  # empty
    site.wait_status(6, permanent=False, reason="CredentialsMissing")
    site.wait_status(3, permanent=False, reason="CredentialsMissing", seconds=240)
    site.put(3, 6)
    site.wait_status(3, permanent=True, reason="Registered")
    site.wait_status(6, permanent=True, reason="Registered")
    assert site.log(process).count("lease_taken") == 1, "the process has not restarted"


def test_under_another_passcrypt_no_login_is_tried_and_nothing_is_deleted(site: StoredSite) -> None:
    site.configure_stored()
    site.put(3, 4)
    before = site.entries()
    site.configure_stored(WRONG)
    site.pod(0)
    site.assign(0)
    site.register(3, 4)
    site.start(0)
    for user in (3, 4):
        site.wait_status(user, permanent=False, reason="PasscryptMismatch")
    wait_for("the pod to take no users", lambda: site.lease(0).reason == "PasscryptMismatch")
    assert not site.lease(0).capable
    time.sleep(3)  # nothing comes after it either
    assert site.logins() == []
    assert site.entries() == before
    site.configure_stored(RIGHT)
    for user in (3, 4):
        site.wait_status(user, permanent=True, reason="Registered")
    assert site.lease(0).capable
