"""The stored entries of this pod's users, still encrypted: read many at a time, and looked at again while held.

A pod that gets ten thousand users at once asks the store twenty times, not ten thousand. A password that was put
anywhere is noticed in the same way with every store, by asking again: within `WAITING_SECONDS` for a user who waits for
one, within `HELD_SECONDS` for the others.
"""

import asyncio
import random
from collections.abc import Callable, Iterable
from typing import Final

import structlog

from mailpush.credentials.storage import Entry, StorageUnavailableError
from mailpush.credentials.stored import Stored, StoredCredentials, StoredState, not_known
from mailpush.listener.users.user import UserKey

BATCH: Final = 500
WAITING_SECONDS: Final = 10.0
HELD_SECONDS: Final = 120.0
PARTS: Final = int(HELD_SECONDS / WAITING_SECONDS)

Changed = Callable[[UserKey], None]

log = structlog.get_logger(__name__)


class StoredEntries:
    """What the store has of this pod's users. `watch` with the listener for what changes of it.

    No password is kept here in clear: `get` decrypts each time, which costs microseconds, as a key serves all entries.
    """

    def __init__(self) -> None:
        self._stored: StoredCredentials | None = None
        self._changed: Changed = lambda _key: None
        self._held: dict[UserKey, Entry | None] = {}
        self._waiting: set[UserKey] = set()
        """Those whose entry is missing, cannot be used, or is refused: it may be put at any time."""
        self._expected: dict[UserKey, None] = {}
        self._asked: dict[UserKey, asyncio.Future[Entry | None]] = {}
        self._fetching = False
        """Whether those that are expected are read although nobody asks yet."""
        self._flying: set[UserKey] = set()
        self._flight: asyncio.Task[None] | None = None
        self._turn = 0

    def notify(self, changed: Changed) -> None:
        """`changed` learns each user whose entry has come, changed or gone in the store."""
        self._changed = changed

    @property
    def stored(self) -> StoredCredentials | None:
        """The storage that counts now; None where none is configured."""
        return self._stored

    def use(self, stored: StoredCredentials | None) -> None:
        """Another storage, or another passcrypt: what is held is read anew."""
        self._stored = stored
        self._held.clear()
        self._waiting.clear()
        self._flying.clear()

    # -- one user's

    def expect(self, keys: Iterable[UserKey]) -> None:
        """These are about to be asked for: they are read together with the first of them."""
        self._expected.update((key, None) for key in keys if key not in self._held)

    def fetch(self, keys: Iterable[UserKey]) -> None:
        """These may be asked for soon: they are read now, in the background. Within the event loop."""
        self.expect(keys)
        if self._expected and self._stored is not None and self._stored.trouble is None:
            self._fetching = True
            if self._flight is None or self._flight.done():
                self._flight = asyncio.create_task(self._fly())

    async def get(self, key: UserKey) -> Stored:
        """What is stored of the user. Never raises: what is wrong is the `state`."""
        stored = self._stored
        if stored is None:
            return Stored(StoredState.MISSING)
        if stored.trouble is not None and key not in self._held:
            return not_known(stored.trouble)
        if key not in self._held:
            try:
                entry = await self._read(key)
            except StorageUnavailableError as error:
                return not_known(error)
            if stored is self._stored:
                self._held[key] = entry
        found = await stored.read(self._held.get(key))
        waits = found.state is not StoredState.USABLE or (found.entry is not None and bool(found.entry.refused))
        (self._waiting.add if waits else self._waiting.discard)(key)
        return found

    def held(self, key: UserKey) -> Entry | None:
        """The entry as last read."""
        return self._held.get(key)

    def marked(self, before: Entry, after: Entry) -> None:
        """This process has marked the entry."""
        if self._held.get(before.key) == before:
            self._held[before.key] = after

    def reread(self, key: UserKey) -> None:
        """The next `get` asks the store: a mail server refuses what is held, or another was put in this pod."""
        self._held.pop(key, None)
        self._waiting.discard(key)

    def put_here(self, key: UserKey) -> None:
        """Another was put by this very pod: no need to wait for the next look."""
        self.reread(key)
        self._changed(key)

    def forget(self, key: UserKey) -> None:
        """The user has left this pod, or uses the storage no more."""
        self.reread(key)
        self._flying.discard(key)
        self._expected.pop(key, None)

    # -- many at a time

    async def _read(self, key: UserKey) -> Entry | None:
        future: asyncio.Future[Entry | None] = asyncio.get_running_loop().create_future()
        self._asked[key] = future
        if self._flight is None or self._flight.done():
            self._flight = asyncio.create_task(self._fly())
        return await future

    async def _fly(self) -> None:
        await asyncio.sleep(0)  # whoever asks in the same turn comes along
        while self._asked or (self._fetching and self._expected):
            batch = dict(list(self._asked.items())[:BATCH])
            self._asked = {key: future for key, future in self._asked.items() if key not in batch}
            for key in batch:
                self._expected.pop(key, None)
            along = list(self._expected)[: BATCH - len(batch)]
            for key in along:
                del self._expected[key]
            self._flying = set(along)
            try:
                entries = await self._entries([*batch, *along])
            except StorageUnavailableError as error:
                self._expected = {**dict.fromkeys(along), **self._expected}
                self._fetching = False
                for future in batch.values():
                    if not future.done():
                        future.set_exception(StorageUnavailableError(str(error), error.reason))
                continue
            except BaseException:
                for future in batch.values():
                    future.cancel()
                raise
            for key, future in batch.items():
                if not future.done():
                    future.set_result(entries.get(key))
            for key in along:
                if key in self._flying:
                    self._held.setdefault(key, entries.get(key))
            self._flying = set()
        self._fetching = False

    async def _entries(self, keys: list[UserKey]) -> dict[UserKey, Entry]:
        stored = self._stored
        return await stored.entries(keys) if stored is not None else {}

    async def close(self) -> None:
        if self._flight is not None:
            self._flight.cancel()
            await asyncio.wait({self._flight})

    # -- what has changed in the store

    async def run(self) -> None:
        """Looks for changes until cancelled."""
        while True:
            await asyncio.sleep(WAITING_SECONDS * random.uniform(0.7, 1.0))  # noqa: S311 - pods apart from each other
            await self.look()

    async def look(self) -> None:
        """Asks for those who wait, and for a part of the others: each one's turn comes within HELD_SECONDS."""
        stored = self._stored
        if stored is None or stored.trouble is not None:
            return
        self._turn += 1
        part = self._turn % PARTS
        due = [key for key in self._held if key in self._waiting or hash(key) % PARTS == part]
        for begin in range(0, len(due), BATCH):
            keys = due[begin : begin + BATCH]
            before = {key: self._held.get(key) for key in keys}
            try:
                entries = await stored.entries(keys)
            except StorageUnavailableError:
                return  # it has been said, and is asked again by whoever watches the store
            if stored is not self._stored:
                return
            for key in keys:
                self._found(key, before[key], entries.get(key))

    def _found(self, key: UserKey, before: Entry | None, now: Entry | None) -> None:
        if key not in self._held or self._held[key] is not before:
            return  # gone, or read by another meanwhile
        self._held[key] = now
        if _content(before) != _content(now):
            self._changed(key)


def _content(entry: Entry | None) -> tuple[str, int] | None:
    return None if entry is None else (entry.password, entry.changed)
