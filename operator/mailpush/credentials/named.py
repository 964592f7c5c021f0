"""The credential storage that the settings name."""

from pathlib import Path
from typing import Final

from mailpush.credentials.database import DatabaseCredentials
from mailpush.credentials.memory import ProcessCredentials, RedisCredentials
from mailpush.credentials.moving import MovingCredentials
from mailpush.credentials.ox.table import ox_table
from mailpush.credentials.storage import CredentialStorage, Entry, StorageUnavailableError, UserKey
from mailpush.properties.settings import DatabaseSettings, Settings
from mailpush.store.redis import client_of
from mailpush.store.sql import engine_of

FILE: Final = "credentials.sqlite"
INVALID: Final = "CredentialStorageInvalid"


def storage_of(settings: Settings, config_uid: str, folder: Path, owner: str = "") -> CredentialStorage | None:
    """The storage of the MailPushConfig with this UID; None where no passwords are stored. `owner`: its namespace and
    name, as `DatabaseCredentials` has it.

    OX's own table; a database; or cluster memory in Redis. Without a server it is a file in the
    pod's `folder`, or this process's own memory: they are for one pod, as the settings see to.
    """
    if not settings.credential_storage.enabled:
        return None
    try:
        return _server(settings, config_uid, folder, owner)
    except ValueError as error:  # a URL or a certificate; the text repeats neither
        return Absent(str(error), INVALID)


def _server(settings: Settings, config_uid: str, folder: Path, owner: str) -> CredentialStorage:
    if settings.ox is not None:
        return ox_table(settings.ox)
    if settings.credential_storage.rdb:
        database = settings.database or DatabaseSettings(f"sqlite:///{folder.absolute() / FILE}")
        stored = DatabaseCredentials(engine_of(database), owner)
        if settings.redis is None or database.url.startswith("sqlite:"):
            return stored
        # What was put into the cluster memory before is copied from there.
        try:
            memory: CredentialStorage = RedisCredentials(client_of(settings.redis), config_uid)
        except ValueError as error:
            memory = Absent(str(error), INVALID)
        return MovingCredentials(memory, stored)
    if settings.redis is None:
        return ProcessCredentials()
    return RedisCredentials(client_of(settings.redis), config_uid)


class Absent:
    """In place of a storage that cannot be had, with the sentence that says why: pods wait, and none ends."""

    def __init__(self, why: str, reason: str) -> None:
        self._why = why
        self._reason = reason

    async def get(self, key: UserKey) -> Entry | None:
        raise self._error()

    async def get_many(self, keys: list[UserKey]) -> dict[UserKey, Entry]:
        raise self._error()

    async def page(self, after: UserKey | None, limit: int) -> list[Entry]:
        raise self._error()

    async def count(self) -> int:
        raise self._error()

    async def put(self, entry: Entry) -> None:
        raise self._error()

    async def put_many(self, entries: list[Entry]) -> None:
        raise self._error()

    async def replace(self, old: Entry, new: Entry) -> bool:
        raise self._error()

    async def delete(self, key: UserKey) -> bool:
        raise self._error()

    async def note(self, name: str) -> str | None:
        raise self._error()

    async def set_note(self, name: str, old: str | None, new: str | None) -> bool:
        raise self._error()

    async def close(self) -> None:
        pass

    def _error(self) -> StorageUnavailableError:
        return StorageUnavailableError(self._why, self._reason)
