"""The credential storage that the settings name."""

from mailpush.credentials.memory import ProcessCredentials, RedisCredentials
from mailpush.credentials.storage import CredentialStorage, Entry, StorageUnavailableError, UserKey
from mailpush.properties.settings import Settings
from mailpush.store.redis import redis_client


def storage_of(settings: Settings, config_uid: str) -> CredentialStorage | None:
    """The storage of the MailPushConfig with this UID; None where no passwords are stored.

    Cluster memory in Redis, or without Redis this process's own memory: that is for one pod, as the settings see to.
    """
    storage = settings.credential_storage
    if not storage.enabled:
        return None
    if storage.rdb or settings.ox is not None:
        return Absent("credentialStorage.rdb and ox are not supported by this version: use Redis")
    redis = settings.redis
    if redis is None:
        return ProcessCredentials()
    client = redis_client(redis.url, username=redis.username, password=redis.password, ca_pem=redis.ca_pem)
    return RedisCredentials(client, config_uid)


class Absent:
    """In place of a storage that cannot be had, with the sentence that says why: pods wait, and none ends."""

    def __init__(self, why: str) -> None:
        self._why = why

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
        return StorageUnavailableError(self._why, "NotYetSupported")
