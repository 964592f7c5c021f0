"""Marks on stored passwords, by what mail servers say of them: written in the background, at a bounded rate."""

import asyncio
from typing import Final

import structlog

from mailpush.credentials.storage import Entry, StorageUnavailableError
from mailpush.listener.users.stored_entries import StoredEntries
from mailpush.listener.users.user import UserKey
from mailpush.work.pace import Backoff, Pace, Sleep

PER_SECOND: Final = 50.0
RETRY: Final = Backoff(1.0, 30.0)

log = structlog.get_logger(__name__)


class Marks:
    """The latest mark of each user. A store that is down gets them when it is back, as long as the user is here."""

    def __init__(self, entries: StoredEntries, sleep: Sleep = asyncio.sleep) -> None:
        self._entries = entries
        self._sleep = sleep
        self._pace = Pace(PER_SECOND, PER_SECOND, sleep=sleep)
        self._pending: dict[UserKey, tuple[Entry, bool]] = {}
        self._wake = asyncio.Event()

    def worked(self, entry: Entry) -> None:
        """A mail server has taken the password of this entry."""
        self._mark(entry, worked=True)

    def refused(self, entry: Entry) -> None:
        """A mail server has refused it."""
        self._mark(entry, worked=False)

    def forget(self, key: UserKey) -> None:
        """The user has left this pod."""
        self._pending.pop(key, None)

    def _mark(self, entry: Entry, *, worked: bool) -> None:
        self._pending[entry.key] = (entry, worked)
        self._wake.set()

    async def run(self) -> None:
        """Writes until cancelled."""
        failures = 0
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._pending:
                failures = 0 if await self._write_one() else failures + 1
                await (self._sleep(RETRY.after(failures)) if failures else self._pace.turn())

    async def _write_one(self) -> bool:
        """Whether the store took it."""
        key, (entry, worked) = next(iter(self._pending.items()))
        stored = self._entries.stored
        if stored is None:
            self._pending.clear()
            return True
        try:
            after = await (stored.mark_worked(entry) if worked else stored.mark_refused(entry))
        except StorageUnavailableError:
            return False
        self._entries.marked(entry, after)
        if self._pending.get(key) == (entry, worked):
            del self._pending[key]
        return True
