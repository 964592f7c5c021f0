"""A look into a mailbox whose server calls for each mail: for those that no callback has told of (protocol P18).

It takes a connection that is logged in for something else. INBOX is looked into, and each folder that a callback has
ever named: the checkpoints know them.
"""

from dataclasses import replace
from typing import Final

import structlog

from mailpush.imap.client import Fetch, ImapClient
from mailpush.imap.errors import ImapConnectionError, ImapError, ImapRefused
from mailpush.listener.catchup.metrics import LOOKS
from mailpush.listener.catchup.store import Checkpoint, CheckpointsUnavailable, Folder
from mailpush.listener.mechanisms.base import MailArrived, Mailbox
from mailpush.listener.mechanisms.catching_up import is_news
from mailpush.listener.mechanisms.place import MOST_AT_ONCE, Place
from mailpush.listener.mechanisms.reading import read_owed
from mailpush.listener.mechanisms.repeating import Surroundings
from mailpush.notifications.notification import NewMail, new_mail_from_header
from mailpush.work.clock import boottime

MOST_FOLDERS: Final = 20

log = structlog.get_logger(__name__)


class Looks:
    """Of one listener. `looked_at`: when it has last looked into all folders, by CLOCK_BOOTTIME; 0 for never."""

    def __init__(self, mailbox: Mailbox, on_mail: MailArrived, around: Surroundings) -> None:
        self._mailbox = mailbox
        self._on_mail = on_mail
        self._around = around
        self._places: dict[str, Place] = {}
        """Of folders with mails that the server has not given yet."""
        self.looked_at = 0.0

    async def take(self, imap: ImapClient) -> None:
        """Looks now. It never raises: the registration, which the connection is for, does not depend on it."""
        if not self._around.catch_up().sweep.enabled:
            return
        begun = boottime()
        try:
            stored = await self._around.progress.stored(*self._mailbox.key)
            known = self._around.progress.folders(*self._mailbox.key) | stored.keys()
            for name in ["INBOX", *sorted(known - {"INBOX"})][:MOST_FOLDERS]:
                await self._folder(imap, Folder(*self._mailbox.key, name), stored.get(name))
        except (CheckpointsUnavailable, ImapError) as error:
            LOOKS.labels("failed").inc()
            log.debug("look_failed", context=self._mailbox.context_id, error=type(error).__name__)
            return
        LOOKS.labels("looked").inc()
        self.looked_at = begun

    async def _folder(self, imap: ImapClient, folder: Folder, stored: Checkpoint | None) -> None:
        try:
            status = await imap.status(folder.name, "UIDNEXT", "UIDVALIDITY")
            uidnext, uidvalidity = status.get("UIDNEXT", 0), status.get("UIDVALIDITY", 0)
            if not uidnext or not uidvalidity:
                return
            missing = self._around.progress.missing(folder, uidvalidity, uidnext, stored)
            owed = await self._read(imap, folder, uidvalidity, uidnext, missing) if missing else []
        except ImapConnectionError:
            raise
        except ImapRefused:  # it is gone, or may not be read: nobody can tell of what is in it
            LOOKS.labels("refused").inc()
            return
        self._around.progress.at(folder, uidvalidity, uidnext, owed)

    async def _read(
        self, imap: ImapClient, folder: Folder, uidvalidity: int, uidnext: int, missing: list[int]
    ) -> list[int]:
        """Tells of those that are news; gives the UIDs that are still to come."""
        state = await imap.select(folder.name, readonly=True)
        if state.uidvalidity not in (None, uidvalidity):
            return missing  # made anew just now; the next look finds it so
        passed_over = max(0, len(missing) - MOST_AT_ONCE)
        if passed_over:
            LOOKS.labels("passed_over").inc(passed_over)
        place = self._places.get(folder.name)
        if place is None or place.uidvalidity != uidvalidity:
            place = self._places[folder.name] = Place(uidvalidity, uidnext, unread=False)
        place.owed = {uid: place.owed.get(uid, 0) for uid in missing[passed_over:]}

        def tell(message: Fetch) -> bool:
            return self._tell(message, folder, uidvalidity)

        while place.owed:
            await read_owed(imap, place, tell)
            if place.postponed:
                break  # this pod has no room for them
        owed = list(place.owed)
        if not owed:
            del self._places[folder.name]
        return owed

    def _tell(self, message: Fetch, folder: Folder, uidvalidity: int) -> bool:
        """Whether the mail is settled: kept to be told, or no news."""
        if not is_news(message, self._around.now(), self._around.catch_up().max_age):
            return True
        mail = new_mail_from_header(
            message.header or b"",
            context_id=folder.context_id,
            user_id=folder.user_id,
            folder=folder.name,
            uid=message.uid,
            uidvalidity=uidvalidity,
        )
        return self._offer(replace(mail, found=self._mailbox.server_name or str(self._mailbox.server), again=True))

    def _offer(self, mail: NewMail) -> bool:
        self._around.progress.under_way(mail)
        kept = self._on_mail(mail)
        if not kept:
            self._around.progress.over(mail)
        return kept
