"""The credential storage: one encrypted password a push user, in cluster memory, in a database, or in this process."""

from dataclasses import dataclass, field
from typing import Protocol

UserKey = tuple[int, int]
"""Context and user."""


class StorageUnavailableError(Exception):
    """The store does not answer, or does not do what is asked. Its text names no secret.

    `reason`: a stable word in CamelCase for a condition.
    """

    def __init__(self, message: str, reason: str = "CredentialStorageUnavailable") -> None:
        super().__init__(message)
        self.reason = reason


class WriteRefusedError(Exception):
    """The store takes no write now, or not this one, and nothing was written; it is read as before. Names no secret.

    `reason`: a stable word in CamelCase for a condition. `again`: the same may do in some seconds.
    """

    def __init__(self, message: str, reason: str, *, again: bool = False) -> None:
        super().__init__(message)
        self.reason = reason
        self.again = again


@dataclass(slots=True)
class Entry:
    """What is stored of one user. Times are whole seconds since 1970, 0 for never.

    Nobody changes one. It is not frozen all the same, since that makes 100,000 of them three times as slow.
    """

    context_id: int
    user_id: int
    password: str = field(repr=False)
    """Encrypted, as it stands in the store; what it is `cipher` says."""
    changed: int = 0
    """When it was put."""
    worked: int = 0
    """When a mail server took it last; written at most once a day."""
    refused: int = 0
    """Since when mail servers refuse it. An entry is marked so, and never deleted for it."""

    @property
    def key(self) -> UserKey:
        return self.context_id, self.user_id


class CredentialStorage(Protocol):
    """A store. Each operation raises StorageUnavailableError, and none deletes what it was not told to."""

    async def get(self, key: UserKey) -> Entry | None: ...

    async def get_many(self, keys: list[UserKey]) -> dict[UserKey, Entry]:
        """Those that are there; at most some thousands at a time."""
        ...

    async def page(self, after: UserKey | None, limit: int) -> list[Entry]:
        """The next `limit` entries behind `after`, in the order of their keys; all of them only page by page."""
        ...

    async def count(self) -> int: ...

    async def put(self, entry: Entry) -> None:
        """Writes it, whatever was there."""
        ...

    async def put_many(self, entries: list[Entry]) -> None:
        """As `put`, of each, in few requests: at most some thousands at a time. Where it raises, some may stand."""
        ...

    async def replace(self, old: Entry, new: Entry) -> bool:
        """Writes `new` where `old.password` still stands there byte by byte; whether it did."""
        ...

    async def delete(self, key: UserKey) -> bool:
        """Whether there was one."""
        ...

    async def note(self, name: str) -> str | None:
        """A text of the installation's own, such as the check value of the passcrypt. None where it is not there."""
        ...

    async def set_note(self, name: str, old: str | None, new: str | None) -> bool:
        """Compare and set: whether `old` stood there (None: nothing). `new` None deletes it."""
        ...

    async def close(self) -> None: ...
