"""Stored passwords on their way from the cluster memory to a database, while listeners go on.

Nothing is taken out of the memory: it is there for a way back. An entry that is newer in the database stays. A copy
that was interrupted begins again and finds what is left; one that is done leaves a note in the memory, so that a later
one looks only at what was put there since.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final, Protocol

from mailpush.credentials.cipher import Cipher, EncryptionError, Kind
from mailpush.credentials.storage import CredentialStorage, Entry, UserKey
from mailpush.work.pace import Backoff, Sleep

COPIED: Final = "copied"
"""The memory's note: when the last copy that was verified began, in seconds since 1970."""
PAGE: Final = 500
RETRY: Final = Backoff(1.0, 30.0)


class Target(CredentialStorage, Protocol):
    """Where entries are copied to."""

    async def put_newer(self, entries: list[Entry]) -> None:
        """Writes each where there is none of its user, or an older one."""
        ...


@dataclass(slots=True)
class Copied:
    """How far a copy is. A restart begins to count again."""

    entries: int = 0
    """In the memory, when this round began."""
    seen: int = 0
    """In this round."""
    copied: int = 0
    """In all rounds."""
    unreadable: int = 0
    """In this round: no passcrypt reads them. They are copied as they are."""
    finished: bool = False
    """A whole round found each entry in the database, or a newer one."""


class Migration:
    """Of one memory, by one process; a second one does no harm.

    Args:
        source: the memory, in which nobody puts entries any more once `gate` lets pass.
        cipher: of the database: what it reads is copied as `encrypt` writes it, so that one key serves all.
        gate: awaited before each page: it raises StorageUnavailableError while a pod may still put entries there.
        report: called after each page.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        source: CredentialStorage,
        target: Target,
        cipher: Cipher,
        *,
        gate: Callable[[], Awaitable[None]],
        report: Callable[[Copied], None] = lambda _: None,
        sleep: Sleep = asyncio.sleep,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.progress = Copied()
        self._source = source
        self._target = target
        self._cipher = cipher
        self._gate = gate
        self._report = report
        self._sleep = sleep
        self._clock = clock
        self._after: UserKey | None = None
        self._rounds = 0
        self._began: int | None = None

    async def run(self) -> Copied:
        """Rounds until one finds nothing to copy. Called again after an error, it goes on where it stood.

        Raises:
            StorageUnavailableError: also what `gate` raises.
        """
        progress = self.progress
        await self._gate()
        if self._began is None:
            self._began = int(self._clock())
        note = await self._source.note(COPIED)
        since = int(note) if note is not None and note.isdecimal() else -1
        while not progress.finished:
            if self._rounds > 1:  # the second one only verifies, as a rule
                await self._sleep(RETRY.after(self._rounds - 1))
            before = progress.copied
            await self._round(since)
            self._rounds += 1
            if progress.copied == before:
                # Where another process has set it meanwhile, that is as good.
                await self._source.set_note(COPIED, note, str(self._began))
                progress.finished = True
        self._report(progress)
        return progress

    async def _round(self, since: int) -> None:
        progress = self.progress
        if self._after is None:
            progress.entries, progress.seen, progress.unreadable = await self._source.count(), 0, 0
        while page := await self._source.page(self._after, PAGE):
            await self._gate()
            await self._copy([entry for entry in page if entry.changed > since])
            self._after = page[-1].key
            progress.seen += len(page)
            self._report(progress)
        self._after = None

    async def _copy(self, entries: list[Entry]) -> None:
        there = await self._target.get_many([entry.key for entry in entries])
        due: list[Entry] = []
        for entry in entries:
            found = await self._cipher.decrypt(entry.password)
            self.progress.unreadable += found.kind is Kind.UNDECRYPTABLE
            stands = there.get(entry.key)
            if stands is None or not await self._is_copied(entry, found.clear, stands):
                due.append(await self._renewed(entry, found.clear))
        if due:
            await self._target.put_newer(due)
            self.progress.copied += len(due)

    async def _is_copied(self, entry: Entry, clear: str | None, stands: Entry) -> bool:
        """Of two that were put in the same second the database's counts, where it can be read."""
        if stands.changed != entry.changed:
            return stands.changed > entry.changed
        if clear is None or stands.password == entry.password:
            return True
        return (await self._cipher.decrypt(stands.password)).clear is not None

    async def _renewed(self, entry: Entry, clear: str | None) -> Entry:
        if clear is None:
            return entry
        try:
            return replace(entry, password=await self._cipher.encrypt(clear))
        except EncryptionError:  # 383 bytes fit OX's older form, 329 the newer one
            return entry
