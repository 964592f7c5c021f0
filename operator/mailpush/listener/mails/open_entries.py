"""Mails that this pod's dispatcher has taken stay in the journal until their user has none open any more.

The dispatcher lives in memory only: a container that is killed while a target is slow or down must find them again.
The next process dispatches them again under the same ids, so a target that has taken one does not get it twice
(protocol P13).
"""

import asyncio
from collections import deque
from collections.abc import Callable, Set
from itertools import islice
from typing import Final, Protocol

import structlog

from mailpush.listener.mails import metrics
from mailpush.listener.mails.journal import Journal
from mailpush.listener.mails.journal_lines import Entry
from mailpush.notifications.notification import MailId, NewMail

SWEEP_SECONDS: Final = 1.0
LOOK_SECONDS: Final = 0.05
SWEEP_SLICE: Final = 500
"""Entries that are closed in one go; others wait for the loop meanwhile."""

log = structlog.get_logger(__name__)


class OpenNotifications(Protocol):
    """The part of the dispatcher that is needed here."""

    def open_users(self) -> Set[tuple[int, int]]:
        """Context and user of those who have notifications open at the moment."""

    def is_open(self, mail: NewMail) -> bool:
        """Whether a notification of the mail is open."""


class OpenEntries:
    """Journal entries of mails whose notifications are open. `sweep` closes those of users with nothing open.

    Args:
        ended: hears of each mail that is told, or never will be.
    """

    def __init__(
        self, journal: Journal, notifications: OpenNotifications, ended: Callable[[NewMail], None] | None = None
    ) -> None:
        self._journal = journal
        self._notifications = notifications
        self._ended = ended
        self._entries: dict[tuple[int, int], dict[MailId, Entry]] = {}
        self._over: deque[Entry] = deque()
        """Nothing of these is open; they are to be closed."""
        self._shed: dict[tuple[int, int], list[NewMail]] = {}
        """By user, mails that have no entry any more while their notifications are open."""

    def add(self, entry: Entry) -> None:
        """The dispatcher has taken the mail. Of two entries of one mail the one on the disk stays."""
        mails = self._entries.setdefault((entry.mail.context_id, entry.mail.user_id), {})
        before = mails.setdefault(entry.mail.id, entry)
        if before.id != entry.id:
            stays, goes = (before, entry) if self._journal.holds(before) else (entry, before)
            mails[entry.mail.id] = stays
            self._journal.done(goes)

    def of(self, mail: NewMail) -> Entry | None:
        """The entry of a mail that the dispatcher has taken."""
        return self._entries.get((mail.context_id, mail.user_id), {}).get(mail.id)

    def take_out(self, mail: NewMail) -> Entry | None:
        """The entry of a mail that the dispatcher gives back: it stays open in the journal."""
        user = (mail.context_id, mail.user_id)
        mails = self._entries.get(user, {})
        entry = mails.pop(mail.id, None)
        if entry is not None and not mails:
            del self._entries[user]
        return entry

    def ended(self, mail: NewMail) -> None:
        """Nobody will be told of the mail any more."""
        if self._ended is not None:
            self._ended(mail)

    def sweep(self) -> None:
        """Closes what is over, all at once."""
        self._collect()
        while self._close_some():
            pass

    def shed(self) -> bool:
        """Closes the older half, whose notifications are then in memory only: an arriving mail needs the room more,
        since Dovecot does not repeat it. False when there is none.
        """
        users = list(islice(self._entries, (len(self._entries) + 1) // 2))
        entries = [entry for user in users for entry in self._entries.pop(user).values()]
        self._journal.done(*entries)
        for entry in entries:
            self._shed.setdefault((entry.mail.context_id, entry.mail.user_id), []).append(entry.mail)
        if entries:
            metrics.JOURNAL_SHED.inc(len(entries))
            log.warning("journal_full", meaning="open notifications are kept in memory only", mails=len(entries))
        return bool(entries)

    async def run(self) -> None:
        """Sweeps now and then until cancelled."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            self._collect()
            while self._close_some():  # noqa: ASYNC110 - others have their turn
                await asyncio.sleep(0)
            self._journal.tend()

    async def over(self, mail: NewMail, seconds: float) -> bool:
        """Waits until nothing of the mail is open, at most so long; returns whether nothing is."""
        deadline = asyncio.get_running_loop().time() + seconds
        while self._notifications.is_open(mail):
            if asyncio.get_running_loop().time() >= deadline:
                return False
            await asyncio.sleep(LOOK_SECONDS)
        return True

    def _collect(self) -> None:
        if not self._entries and not self._shed:
            return
        still = self._notifications.open_users()
        for user in [user for user in self._shed if user not in still]:
            for mail in self._shed.pop(user):
                self.ended(mail)
        for user in [user for user in self._entries if user not in still]:
            self._over.extend(self._entries.pop(user).values())

    def _close_some(self) -> bool:
        """Whether there is more."""
        entries = [self._over.popleft() for _ in range(min(SWEEP_SLICE, len(self._over)))]
        self._journal.done(*entries)
        for entry in entries:
            self.ended(entry.mail)
        return bool(self._over)
