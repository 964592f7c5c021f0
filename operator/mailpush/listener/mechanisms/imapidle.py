"""Mechanism `imapidle`: one connection per user that waits in IDLE (RFC 2177), for servers that cannot call us.

What OX tells in `pushMode` `always` of a folder that only shrank has no mail and so no notification id: it is not told
here. `always` means each new mail; `newmail` leaves out those that were read before we saw them.
"""

import random
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Final

import structlog

from mailpush.api.mechanisms import ImapIdleSettings
from mailpush.imap.client import Fetch, Idled, ImapClient
from mailpush.imap.errors import ImapProtocolError, ImapRefused
from mailpush.listener.catchup.store import Folder
from mailpush.listener.mechanisms.base import Health, HealthChanged, Listener, MailArrived, Mailbox, State
from mailpush.listener.mechanisms.catching_up import CatchingUp
from mailpush.listener.mechanisms.failures import MechanismError
from mailpush.listener.mechanisms.metrics import NOT_READ
from mailpush.listener.mechanisms.place import Place
from mailpush.listener.mechanisms.reading import read_owed
from mailpush.listener.mechanisms.repeating import RepeatingListener, Surroundings
from mailpush.listener.mechanisms.rounds import LONGEST_WAIT, Rounds
from mailpush.notifications.notification import folder_name, new_mail_from_header

log = structlog.get_logger(__name__)

IDLE_SECONDS: Final = 28 * 60.0
"""RFC 2177: a server may log us out after 30 minutes of IDLE."""
NO_ROOM_SECONDS: Final = 5.0
"""The longest IDLE while this pod has no room for mails that it has seen."""
OWED_SECONDS: Final = 60.0
"""The longest IDLE while the server owes mails that it has refused."""
UNREAD_SECONDS: Final = 15.0
"""The longest IDLE while the store of checkpoints does not answer."""


class ImapIdleMechanism:
    """Makes listeners that hold a connection. New settings want a new mechanism and new listeners."""

    name = "imapidle"

    def __init__(self, around: Surroundings, settings: ImapIdleSettings, idle_seconds: float = IDLE_SECONDS) -> None:
        self._around = around
        self._settings = settings
        self._idle_seconds = idle_seconds

    def listener(
        self, mailbox: Mailbox, on_health: HealthChanged, on_mail: MailArrived, after: Listener | None = None
    ) -> "ImapIdleListener":
        place = after.place_in(mailbox, self._settings.folder) if isinstance(after, ImapIdleListener) else None
        return ImapIdleListener(
            mailbox,
            on_health,
            on_mail,
            self._around,
            settings=self._settings,
            idle_seconds=self._idle_seconds,
            place=place or Place(),
        )


class ImapIdleListener(RepeatingListener):
    """One user's folder. It remembers up to which UID it has notified; its successor goes on from there."""

    def __init__(
        self,
        mailbox: Mailbox,
        on_health: HealthChanged,
        on_mail: MailArrived,
        around: Surroundings,
        *,
        settings: ImapIdleSettings,
        idle_seconds: float,
        place: Place,
    ) -> None:
        super().__init__(mailbox, on_health, around, shortest_wait=settings.delay / 1000)
        self._on_mail = on_mail
        self._settings = settings
        self._idle_seconds = idle_seconds
        self._place = place
        self._rounds = Rounds(around.clock, around.sleep)
        folder = Folder(mailbox.context_id, mailbox.user_id, folder_name(settings.folder))
        self._catching_up = CatchingUp(around.progress, folder, place, lambda: around.catch_up().max_age, around.now)

    def place_in(self, mailbox: Mailbox, folder: str) -> Place | None:
        """Where the successor of this listener, which has stopped, goes on; None where it watches something else."""
        mine, other = self._mailbox, mailbox
        same = (
            (mine.server.host, mine.server.port) == (other.server.host, other.server.port)
            and (mine.login.user, mine.login.authzid) == (other.login.user, other.login.authzid)
            and folder == self._settings.folder
        )
        return self._place if same else None

    async def unregister(self) -> None:
        """There is nothing at the server to take away."""
        await self.stop()
        self._around.budget.forget(self._mailbox.server, self._mailbox.key)

    async def _attempt(self) -> float:
        server = self._mailbox.server
        async with AsyncExitStack() as connection:
            async with self._conversation():
                imap = await connection.enter_async_context(self._logged_in())
                if "IDLE" not in await imap.capabilities():
                    raise MechanismError("NoIdle", f"{server} has no IDLE, so it cannot announce new mail")
                await self._look(imap, after_a_gap=True)
            rounds = self._rounds
            held = not rounds.vain
            while True:
                if held:
                    self._idling()
                elif rounds.vain:
                    self._not_held()
                await rounds.begin()
                ended = await self._idle(imap)
                news = await self._look(imap, after_a_gap=False)
                held = rounds.ended(quiet=ended is Idled.QUIET, news=news)

    def _idling(self) -> None:
        if self.health.state is not State.LISTENING:
            self._listening("Idling", f"waiting at {self._mailbox.server} for new mail in {self._settings.folder}")

    def _not_held(self) -> None:
        server = self._mailbox.server
        message = (
            f"{server} ends each IDLE at once, or announces mail that is not there; so it is asked for new mail every "
            f"{LONGEST_WAIT:.0f} s or more often"
        )
        self._say(Health(State.UNVERIFIED, "IdleNotHeld", message))

    async def _idle(self, imap: ImapClient) -> Idled:
        longest = self._idle_seconds
        if self._place.owed:
            longest = min(longest, NO_ROOM_SECONDS if self._place.postponed else OWED_SECONDS)
        if self._catching_up.waits:
            longest = min(longest, UNREAD_SECONDS)
        try:
            return await imap.idle(longest * random.uniform(0.85, 1.0))  # noqa: S311
        except ImapRefused as error:
            raise MechanismError("NoIdle", str(error)) from None

    async def _look(self, imap: ImapClient, *, after_a_gap: bool) -> bool:
        """Notifies of what has come since the last look; returns whether something has.

        EXAMINE and not STATUS, which RFC 3501 does not want of an open folder; not SELECT, since nothing is changed.
        """
        folder, place = self._settings.folder, self._place
        state = await imap.select(folder, readonly=True)
        uidvalidity = state.uidvalidity
        if uidvalidity is None:
            raise ImapProtocolError(
                f"{imap.server} does not say UIDVALIDITY of {folder}, so its mails have no identity"
            )
        before = place.uidvalidity, place.next
        uidnext = state.uidnext or await imap.uidnext(folder)
        passed = await self._catching_up.look(uidvalidity, uidnext, after_a_gap=after_a_gap)
        if passed:
            NOT_READ.labels("burst").inc(passed)
            log.warning("imapidle_burst", context=self._mailbox.context_id, not_told_uids=passed)

        def notify(message: Fetch) -> bool:
            return not self._is_news(message) or self._notify(message, uidvalidity)

        for uid in await read_owed(imap, place, notify):
            log.warning("imapidle_mail_skipped", context=self._mailbox.context_id, user=self._mailbox.user_id, uid=uid)
        self._catching_up.note()
        return before != (place.uidvalidity, place.next)

    def _is_news(self, message: Fetch) -> bool:
        flags = {flag.lower() for flag in message.flags or ()}
        if "\\deleted" in flags:
            return False
        missed = self._catching_up.is_news(message)
        if missed is not None:
            return missed
        return "\\seen" not in flags or self._settings.push_mode != "newmail"

    def _notify(self, message: Fetch, uidvalidity: int) -> bool:
        mail = new_mail_from_header(
            message.header or b"",
            context_id=self._mailbox.context_id,
            user_id=self._mailbox.user_id,
            folder=self._settings.folder,
            uid=message.uid,
            uidvalidity=uidvalidity,
        )
        if self._catching_up.is_news(message) is not None:
            mail = replace(mail, again=True)
        self._catching_up.begins(mail)
        kept = self._on_mail(mail)
        if not kept:
            self._catching_up.not_kept(mail)
        return kept
