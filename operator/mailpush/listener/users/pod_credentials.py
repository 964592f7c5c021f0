"""Stored credentials as a pod's admin endpoint puts and tells of them: of any user, whoever owns the user."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypeVar

from pydantic import ValidationError

from mailpush import names
from mailpush.admin.credentials import Credential, Put, Trial, none_stored, refused_status, write_refused
from mailpush.admin.errors import AdminError
from mailpush.credentials.cipher import Kind
from mailpush.credentials.forms import classify
from mailpush.credentials.shared import OWNED_BY_OX, Became
from mailpush.credentials.storage import Entry, StorageUnavailableError, WriteRefusedError
from mailpush.credentials.stored import PASSCRYPT_MISMATCH, Stored, StoredCredentials, StoredState
from mailpush.decision.places import place_of, server_of
from mailpush.imap.server import ImapLogin
from mailpush.kube.client import Kube
from mailpush.kube.errors import KubeError
from mailpush.kube.resources import PUSH_USER
from mailpush.listener.users.mailbox import imap_server
from mailpush.listener.users.trials import EVERY_SECONDS, Trials, not_tried
from mailpush.listener.users.user import User, UserKey
from mailpush.properties.settings import Settings
from mailpush.work.clock import Clock

OFF: Final = (
    "The credential storage is off: set credentialStorage.enabled and credentialStorage.passcryptSecretRef of the "
    'MailPushConfig, and mailAccess.passwordSource to "session"'
)
PUSH_USER_SECONDS: Final = 10.0
_REASONS: Final = {
    StoredState.MISSING: "CredentialsMissing",
    StoredState.CLEAR_TEXT: "ClearTextCredential",
    StoredState.DAMAGED: "CredentialDamaged",
    StoredState.TOO_LONG: "CredentialTooLong",
    StoredState.UNDECRYPTABLE: "CredentialUndecryptable",
    StoredState.MISMATCH: PASSCRYPT_MISMATCH,
    StoredState.UNAVAILABLE: "CredentialStorageUnavailable",
}
"""As in the conditions of a PushUser."""

Result = TypeVar("Result")


class PodCredentials:
    """
    Args:
        stored: the storage that counts now; None where there is none.
        changed: called for each user whose entry this has changed, so that a listener of this pod learns of it at once.
        now: seconds since 1970, as the marks have them.
    """

    def __init__(
        self,
        kube: Kube,
        namespace: str,
        config: str,
        settings: Settings,
        trials: Trials,
        *,
        stored: Callable[[], StoredCredentials | None],
        changed: Callable[[UserKey], None],
        now: Clock = time.time,
    ) -> None:
        self._kube = kube
        self._namespace = namespace
        self._config = config
        self._settings = settings
        self._trials = trials
        self._stored = stored
        self._changed = changed
        self._now = now

    def use(self, settings: Settings) -> None:
        """The settings that count from now on."""
        self._settings = settings

    async def put(self, passwords: Mapping[UserKey, str]) -> dict[UserKey, Put]:
        became = await self._asked(self._open().put_many(passwords))
        for key, one in became.items():
            if one is True:
                self._changed(key)
        return {key: _put(one) for key, one in became.items()}

    async def get(self, key: UserKey) -> Credential | None:
        found = await self._read(key)
        return None if found.entry is None else _told(found.entry, found.state.value)

    async def delete(self, key: UserKey) -> bool:
        stored = self._open()
        if stored.foreign:
            raise AdminError(409, f"Not deleted: {OWNED_BY_OX}")
        deleted = await self._asked(stored.delete(key))
        if deleted:
            self._changed(key)
        return deleted

    async def page(self, after: UserKey | None, limit: int) -> list[Credential]:
        """Told by their form alone: what OX wrote costs 18 ms of a core each to look into."""
        return [_told(entry, _form(entry)) for entry in await self._asked(self._open().page(after, limit))]

    async def test(self, key: UserKey) -> Trial:
        found = await self._read(key)
        if found.entry is None:
            raise none_stored(key)
        if found.password is None:
            return Trial("unknown", _REASONS[found.state], "What is stored gives no password: put it again")
        if 0 <= (since := self._now() - found.entry.refused) < EVERY_SECONDS:  # else each pod would try it once
            raise not_tried("A mail server refused this very password less than a minute ago", EVERY_SECONDS - since)
        user = await self._push_user(key)
        place = place_of(user.spec, self._settings)
        server = server_of(place, self._settings) if place is not None else None
        if place is None or server is None:
            raise AdminError(409, f"The settings say no mailbox for {user.name}: see kubectl mailpush explain")
        login = ImapLogin(place.login, found.password)
        trial = await self._trials.login(key, imap_server(server), login, proven=found.proven)
        await self._mark(found.entry, trial)
        return trial

    async def _mark(self, entry: Entry, trial: Trial) -> None:
        stored = self._stored()
        if stored is None or trial.outcome == "unknown":
            return
        try:
            await (stored.mark_worked(entry) if trial.outcome == "worked" else stored.mark_refused(entry))
        except StorageUnavailableError:
            return  # what the server said counts all the same
        if trial.outcome == "worked":
            self._changed(entry.key)

    async def _push_user(self, key: UserKey) -> User:
        name = names.push_user_name(self._config, *key)
        try:
            async with asyncio.timeout(PUSH_USER_SECONDS):
                found = await self._kube.find(PUSH_USER, self._namespace, name)
                user = None if found is None else User.of(found)
        except (KubeError, TimeoutError, ValidationError):
            raise AdminError(503, f"PushUser {name} cannot be read from the Kubernetes API", 5) from None
        if user is None:
            raise AdminError(409, f"There is no PushUser {name}, which would say the mail server and the login")
        return user

    async def _read(self, key: UserKey) -> Stored:
        stored = self._open()
        return await stored.read((await self._asked(stored.entries([key]))).get(key))

    def _open(self) -> StoredCredentials:
        stored = self._stored()
        if stored is None:
            raise AdminError(409, OFF)
        return stored

    @staticmethod
    async def _asked(operation: Awaitable[Result]) -> Result:
        """A store that is away is asked again by whoever waits; one under another passcrypt is not."""
        try:
            return await operation
        except WriteRefusedError as error:
            raise write_refused(error) from None
        except StorageUnavailableError as error:
            if error.reason == PASSCRYPT_MISMATCH:
                raise AdminError(409, f"{error} ({error.reason})") from None
            raise


def _put(became: Became) -> Put:
    if isinstance(became, WriteRefusedError):
        return Put(False, f"{became} ({became.reason})", refused_status(became))
    return Put(became) if isinstance(became, bool) else Put(False, str(became))


def _told(entry: Entry, state: str) -> Credential:
    return Credential(*entry.key, state, entry.changed, entry.worked, entry.refused)


def _form(entry: Entry) -> str:
    form = classify(entry.password)
    return form.value if isinstance(form, Kind) else "encrypted"
