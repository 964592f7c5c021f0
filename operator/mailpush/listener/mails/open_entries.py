"""Mails that this pod's dispatcher has taken stay in the journal until their user has none open any more.

The dispatcher lives in memory only: a container that is killed while a target is slow or down must find them again.
The next process dispatches them again under the same ids, so a target that has taken one does not get it twice
(protocol P13).
"""

import asyncio
from collections.abc import Set
from typing import Final, Protocol

from mailpush.listener.mails.journal import Entry, Journal

SWEEP_SECONDS: Final = 1.0


class OpenNotifications(Protocol):
    """The part of the dispatcher that is needed here."""

    def open_users(self) -> Set[tuple[int, int]]:
        """Context and user of those who have notifications open at the moment."""


class OpenEntries:
    """Journal entries of mails whose notifications are open. `sweep` closes those of users with nothing open."""

    def __init__(self, journal: Journal, notifications: OpenNotifications) -> None:
        self._journal = journal
        self._notifications = notifications
        self._entries: dict[tuple[int, int], list[Entry]] = {}

    def add(self, entry: Entry) -> None:
        self._entries.setdefault((entry.mail.context_id, entry.mail.user_id), []).append(entry)

    def sweep(self) -> None:
        if not self._entries:
            return
        still = self._notifications.open_users()
        for user in [user for user in self._entries if user not in still]:
            for entry in self._entries.pop(user):
                self._journal.done(entry)

    def shed(self) -> bool:
        """Closes the older half: an arriving mail needs the room more. False when there is none."""
        users = list(self._entries)
        for user in users[: (len(users) + 1) // 2]:
            for entry in self._entries.pop(user):
                self._journal.done(entry)
        return bool(users)

    async def run(self) -> None:
        """Sweeps now and then until cancelled."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            self.sweep()
