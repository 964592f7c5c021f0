"""Mechanism `dovecot`: Dovecot itself calls us for each delivery; a listener keeps the user's registration there.

The registration is a server METADATA entry of the user's mailbox (RFC 5464), read by Dovecot's OX push driver. It
survives our restarts and Dovecot's, so that most of the time there is nothing to do: look, and write only if different.
It is written by IMAP, or by doveadm, for which no password of the user is needed.
"""

import random

from mailpush.imap.client import ImapClient
from mailpush.imap.errors import ImapRefused
from mailpush.listener.mechanisms.base import Health, HealthChanged, Listener, MailArrived, Mailbox, State
from mailpush.listener.mechanisms.by_doveadm import DoveadmListener
from mailpush.listener.mechanisms.entry import ENTRY, RECHECK_SECONDS, registration
from mailpush.listener.mechanisms.failures import MechanismError
from mailpush.listener.mechanisms.lanes import Standing
from mailpush.listener.mechanisms.looking import Looks
from mailpush.listener.mechanisms.repeating import RepeatingListener, Surroundings


class DovecotMechanism:
    """Makes listeners that register users at Dovecot."""

    name = "dovecot"

    def __init__(self, around: Surroundings, recheck_seconds: float = RECHECK_SECONDS) -> None:
        self._around = around
        self._recheck_seconds = recheck_seconds

    def listener(
        self, mailbox: Mailbox, on_health: HealthChanged, on_mail: MailArrived, after: Listener | None = None
    ) -> "DovecotListener | DoveadmListener":
        """`on_mail` gets what no callback has told of. `after` is not used: the checkpoints know how far it was."""
        if mailbox.doveadm is not None:  # nobody logs in, so nobody can look into it: mails come by the callback alone
            return DoveadmListener(mailbox, on_health, self._around, mailbox.doveadm, self._recheck_seconds)
        return DovecotListener(mailbox, on_health, on_mail, self._around, self._recheck_seconds)


class DovecotListener(RepeatingListener):
    """One user's registration, looked at now and then: another installation may have written over it."""

    def __init__(
        self,
        mailbox: Mailbox,
        on_health: HealthChanged,
        on_mail: MailArrived,
        around: Surroundings,
        recheck_seconds: float,
    ) -> None:
        super().__init__(mailbox, on_health, around, shortest_wait=0.0)
        self._recheck_seconds = recheck_seconds
        self._looks = Looks(mailbox, on_mail, around)

    @property
    def looked_at(self) -> float:
        """When the mailbox was last looked into for mails that no callback has told of, by CLOCK_BOOTTIME."""
        return self._looks.looked_at

    @property
    def server(self) -> str:
        """Its mail server, by which logins are counted."""
        return str(self._mailbox.server)

    async def unregister(self) -> None:
        """Ends it and takes the registration away, if it is this user's.

        Raises:
            ImapError: it could not; the registration may still be there.
            AuthFailuresHighError: not tried now.
        """
        await self.stop()
        async with (
            self._around.budget.conversation(
                self._mailbox.server, Standing.PROVEN if self._proven else Standing.UNPROVEN
            ),
            self._logged_in() as imap,
        ):
            if await imap.get_metadata(ENTRY) == registration(self._mailbox).encode("ascii"):
                await imap.set_metadata(ENTRY, None)
        self._around.budget.forget(self._mailbox.server, self._mailbox.key)
        self._say(Health(State.STOPPED, "Unregistered", f"{self._mailbox.server} does not call for this user any more"))

    async def _attempt(self) -> float:
        server = self._mailbox.server
        async with self._conversation(), self._logged_in() as imap:
            await self._register(imap)
            await self._looks.take(imap)
        # Whether it does call shows with the first callback: the MailPushConfig's condition CallbackDegraded.
        self._listening("Registered", f"registered at {server}, which is to call for each mail of this user")
        return self._recheck_seconds * random.uniform(0.75, 1.25)  # noqa: S311 - users apart from each other

    async def _register(self, imap: ImapClient) -> None:
        if "METADATA" not in await imap.capabilities():
            raise MechanismError(
                "NoMetadata",
                f"{self._mailbox.server} has no METADATA after login; set imap_metadata = yes for mail-push's login or "
                "address, and where METADATA is stored (docs/dovecot.md)",
            )
        wanted = registration(self._mailbox).encode("ascii")
        try:
            if await imap.get_metadata(ENTRY) != wanted:
                await imap.set_metadata(ENTRY, wanted)
        except ImapRefused as error:
            raise MechanismError("RegistrationRefused", f"{error}; see Dovecot's log") from None
