"""Rotation of the passcrypt: what only the previous one reads is encrypted anew, while listeners go on.

An entry tells by itself under which passcrypt it was written, so a rotation that was interrupted begins again and finds
what is left; only an entry that still stands as it was read is replaced. OX's table is not rotated: OX reads it too.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from mailpush.credentials.cipher import Cipher, Decrypted, EncryptionError, Kind, Reading
from mailpush.credentials.storage import CredentialStorage, Entry, UserKey
from mailpush.credentials.stored import KEY_CHECK
from mailpush.work.pace import Backoff, Sleep

PAGE: Final = 500
"""Entries that are read at once; decrypting them takes the event loop some milliseconds."""
AT_ONCE: Final = 2
"""Entries that are written at the same time: half of the connections that a pod has by default."""
TRIES: Final = 3
"""For an entry that others change meanwhile; the next round finds it again."""
RETRY: Final = Backoff(1.0, 30.0)


class _Outcome(Enum):
    WELL = "well"
    LEFT = "left"
    UNREADABLE = "unreadable"


@dataclass(slots=True)
class Progress:
    """How far a rotation is. A restart begins to count again."""

    entries: int = 0
    """How many there were when this round began."""
    seen: int = 0
    """In this round."""
    renewed: int = 0
    """In all rounds."""
    left: int = 0
    """In this round: others changed it meanwhile, or its password does not fit the newer form."""
    unreadable: int = 0
    """In this round: neither passcrypt reads it. It stays as it is."""
    finished: bool = False
    """A whole round found nothing to renew, and the store's check value is the current passcrypt's."""


class Rotation:
    """Of one store, by one process; a second one does no harm.

    Args:
        cipher: knows both passcrypts, and the salt of the store's check value.
        gate: awaited before each page: it raises StorageUnavailableError while entries are not to be written under
            the current passcrypt, as a pod that has the previous one alone could read none of them.
        report: called after each page.
    """

    def __init__(
        self,
        storage: CredentialStorage,
        cipher: Cipher,
        *,
        gate: Callable[[], Awaitable[None]],
        report: Callable[[Progress], None] = lambda _: None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self.progress = Progress()
        self._storage = storage
        self._cipher = cipher
        self._gate = gate
        self._report = report
        self._sleep = sleep
        self._after: UserKey | None = None
        self._rounds_with_rest = 0

    async def run(self) -> Progress:
        """Rounds until one finds nothing to do. Called again after an error, it goes on where it stood.

        Raises:
            StorageUnavailableError: also what `gate` raises.
        """
        progress = self.progress
        while not progress.finished:
            settled = await self._is_settled()
            before = progress.renewed
            await self._round()
            if progress.left:
                self._rounds_with_rest += 1
                await self._sleep(RETRY.after(self._rounds_with_rest))
            elif not settled:
                await self._settle()
            else:
                progress.finished = progress.renewed == before
        self._report(progress)
        return progress

    async def _round(self) -> None:
        progress = self.progress
        if self._after is None:
            progress.entries, progress.seen, progress.left, progress.unreadable = await self._storage.count(), 0, 0, 0
        await self._gate()
        while page := await self._storage.page(self._after, PAGE):
            outcomes = await self._renew_all(page)
            self._after = page[-1].key
            progress.seen += len(page)
            progress.left += outcomes[_Outcome.LEFT]
            progress.unreadable += outcomes[_Outcome.UNREADABLE]
            self._report(progress)
            await self._gate()
        self._after = None

    async def _renew_all(self, page: list[Entry]) -> Counter[_Outcome]:
        outcomes: Counter[_Outcome] = Counter()
        waiting = iter(page)

        async def one_after_the_other() -> None:
            for entry in waiting:
                outcomes[await self._renew(entry)] += 1

        # A TaskGroup would raise a group of the storage's errors, and callers wait for one of them.
        ended = await asyncio.gather(*(one_after_the_other() for _ in range(AT_ONCE)), return_exceptions=True)
        for error in filter(None, ended):
            raise error
        return outcomes

    async def _renew(self, entry: Entry) -> _Outcome:
        stands: Entry | None = entry
        for _ in range(TRIES):
            if stands is None:
                return _Outcome.WELL
            found = await self._cipher.decrypt(stands.password)
            if found.kind is Kind.UNDECRYPTABLE:
                return _Outcome.UNREADABLE
            if found.clear is None or self._is_current(stands, found):
                return _Outcome.WELL
            try:
                renewed = replace(stands, password=await self._cipher.encrypt(found.clear))
            except EncryptionError:  # 383 bytes fit OX's older form, 329 the newer one
                return _Outcome.LEFT if found.previous else _Outcome.WELL
            if await self._storage.replace(stands, renewed):
                self.progress.renewed += 1
                return _Outcome.WELL
            stands = await self._storage.get(entry.key)
        return _Outcome.LEFT

    def _is_current(self, entry: Entry, found: Decrypted) -> bool:
        return not found.previous and found.reading is Reading.UTF_8 and self._cipher.has_own_salt(entry.password)

    async def _is_settled(self) -> bool:
        note = await self._storage.note(KEY_CHECK)
        return note is not None and await self._cipher.agrees(note)

    async def _settle(self) -> None:
        """The check value under the current passcrypt; a pod that has the previous one alone is told by it."""
        note = await self._storage.note(KEY_CHECK)
        await self._storage.set_note(KEY_CHECK, note, await self._cipher.key_check())
