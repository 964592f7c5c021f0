"""A database to which the cluster memory is on its way: who is not there yet is found in the memory."""

import time
from collections.abc import Callable
from typing import Final

import structlog

from mailpush.credentials.migration import COPIED, Target
from mailpush.credentials.storage import CredentialStorage, Entry, StorageUnavailableError, UserKey

ASK_AGAIN_SECONDS: Final = 10.0

log = structlog.get_logger(__name__)


class MovingCredentials:
    """The database is what counts; the memory is only read, and asked no more once all of it has been copied.

    A user who is deleted meanwhile is deleted in both, or the copy would bring him back.
    """

    def __init__(
        self, source: CredentialStorage, target: Target, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.source = source
        self.target = target
        self._clock = clock
        self._copied = False
        self._ask_again = float("-inf")

    async def get(self, key: UserKey) -> Entry | None:
        return (await self.get_many([key])).get(key)

    async def get_many(self, keys: list[UserKey]) -> dict[UserKey, Entry]:
        found = await self.target.get_many(keys)
        missing = [key for key in keys if key not in found]
        if missing and not self._copied and self._clock() >= self._ask_again:
            found |= await self._of_memory(missing)
        return found

    async def page(self, after: UserKey | None, limit: int) -> list[Entry]:
        return await self.target.page(after, limit)

    async def count(self) -> int:
        return await self.target.count()

    async def put(self, entry: Entry) -> None:
        await self.target.put(entry)

    async def put_many(self, entries: list[Entry]) -> None:
        await self.target.put_many(entries)

    async def replace(self, old: Entry, new: Entry) -> bool:
        return await self.target.replace(old, new)

    async def delete(self, key: UserKey) -> bool:
        there = False
        if not self._copied and not await self._is_copied():
            there = await self.source.delete(key)
        return await self.target.delete(key) or there

    async def note(self, name: str) -> str | None:
        return await self.target.note(name)

    async def set_note(self, name: str, old: str | None, new: str | None) -> bool:
        return await self.target.set_note(name, old, new)

    async def close(self) -> None:
        await self.source.close()
        await self.target.close()

    async def _of_memory(self, keys: list[UserKey]) -> dict[UserKey, Entry]:
        """Nothing where the memory is away: the database goes on without it, and its own entries wait for nobody."""
        try:
            return {} if await self._is_copied() else await self.source.get_many(keys)
        except StorageUnavailableError as error:
            self._ask_again = self._clock() + ASK_AGAIN_SECONDS
            log.warning("memory_not_read", reason=error.reason, why=str(error))
            return {}

    async def _is_copied(self) -> bool:
        self._copied = await self.source.note(COPIED) is not None
        return self._copied
