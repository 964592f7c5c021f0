"""Mechanism `imapidle`: one connection per user that waits in IDLE (RFC 2177), for servers that cannot call us.

What OX tells in `pushMode` `always` of a folder that only shrank has no mail and so no notification id: it is not told
here. `always` means each new mail; `newmail` leaves out those that were read before we saw them.
"""

import random
from contextlib import AsyncExitStack
from typing import Final

import structlog

from mailpush.api.mechanisms import ImapIdleSettings
from mailpush.imap.client import Changes, Fetch, ImapClient
from mailpush.imap.errors import ImapProtocolError, ImapRefused
from mailpush.listener.mechanisms.base import HealthChanged, MailArrived, Mailbox
from mailpush.listener.mechanisms.failures import MechanismError
from mailpush.listener.mechanisms.repeating import RepeatingListener, Surroundings
from mailpush.notifications.notification import new_mail_from_header

log = structlog.get_logger(__name__)

IDLE_SECONDS: Final = 28 * 60.0
"""RFC 2177: a server may log us out after 30 minutes of IDLE."""
MOST_AT_ONCE: Final = 200
"""UIDs of which one look at the folder notifies. More at once is a restore or a migration, not mail that arrives."""


class ImapIdleMechanism:
    """Makes listeners that hold a connection. New settings want a new mechanism and new listeners."""

    name = "imapidle"

    def __init__(self, around: Surroundings, settings: ImapIdleSettings, idle_seconds: float = IDLE_SECONDS) -> None:
        self._around = around
        self._settings = settings
        self._idle_seconds = idle_seconds

    def listener(self, mailbox: Mailbox, on_health: HealthChanged, on_mail: MailArrived) -> "ImapIdleListener":
        return ImapIdleListener(
            mailbox, on_health, on_mail, self._around, settings=self._settings, idle_seconds=self._idle_seconds
        )


class ImapIdleListener(RepeatingListener):
    """One user's folder. It remembers, as long as it lives, up to which UID it has notified."""

    def __init__(
        self,
        mailbox: Mailbox,
        on_health: HealthChanged,
        on_mail: MailArrived,
        around: Surroundings,
        *,
        settings: ImapIdleSettings,
        idle_seconds: float,
    ) -> None:
        super().__init__(mailbox, on_health, around, shortest_wait=settings.delay / 1000)
        self._on_mail = on_mail
        self._settings = settings
        self._idle_seconds = idle_seconds
        self._next: tuple[int, int] | None = None
        """UIDVALIDITY and the first UID of which it has not notified yet."""

    async def unregister(self) -> None:
        """There is nothing at the server to take away."""
        await self.stop()
        self._around.budget.forget(self._mailbox.server, self._mailbox.key)

    async def _attempt(self) -> float:
        server = self._mailbox.server
        async with AsyncExitStack() as connection:
            async with self._around.budget.conversation(server, proven=self._proven):
                imap = await connection.enter_async_context(self._logged_in())
                if "IDLE" not in await imap.capabilities():
                    raise MechanismError("NoIdle", f"{server} has no IDLE, so it cannot announce new mail")
                await self._look(imap, after_a_gap=True)
            self._listening("Idling", f"waiting at {server} for new mail in {self._settings.folder}")
            while True:
                changes = await self._idle(imap)
                # Flags and expunged mails are no news; without any change it is time to look all the same.
                if changes.grown or not changes:
                    await self._look(imap, after_a_gap=False)

    async def _idle(self, imap: ImapClient) -> Changes:
        try:
            return await imap.idle(self._idle_seconds * random.uniform(0.85, 1.0))  # noqa: S311
        except ImapRefused as error:
            raise MechanismError("NoIdle", str(error)) from None

    async def _look(self, imap: ImapClient, *, after_a_gap: bool) -> None:
        """Tells what has come since the last look. EXAMINE and not STATUS, which RFC 3501 does not want of an open
        folder; not SELECT, since nothing is to be changed.
        """
        folder = self._settings.folder
        state = await imap.select(folder, readonly=True)
        if state.uidvalidity is None or state.uidnext is None:
            raise ImapProtocolError(f"{imap.server} does not say UIDVALIDITY and UIDNEXT of {folder}")
        before, self._next = self._next, (state.uidvalidity, state.uidnext)
        if before is None or before[0] != state.uidvalidity:
            return  # a new baseline: whatever is in there is old, or nobody knows what is new
        first = max(before[1], state.uidnext - MOST_AT_ONCE)
        if first > before[1]:
            log.warning("imapidle_burst", context=self._mailbox.context_id, not_told_uids=first - before[1])
        if first >= state.uidnext:
            return
        try:
            messages = await imap.fetch_headers(first, state.uidnext - 1)
        except BaseException:
            self._next = before  # the next connection notifies of them
            raise
        for message in messages:
            if self._is_news(message, after_a_gap=after_a_gap):
                self._tell(message, state.uidvalidity)

    def _is_news(self, message: Fetch, *, after_a_gap: bool) -> bool:
        flags = {flag.lower() for flag in message.flags or ()}
        if "\\deleted" in flags:
            return False
        return "\\seen" not in flags or not (after_a_gap or self._settings.push_mode == "newmail")

    def _tell(self, message: Fetch, uidvalidity: int) -> None:
        if message.uid is None:
            return
        self._on_mail(
            new_mail_from_header(
                message.header or b"",
                context_id=self._mailbox.context_id,
                user_id=self._mailbox.user_id,
                folder=self._settings.folder,
                uid=message.uid,
                uidvalidity=uidvalidity,
            )
        )
