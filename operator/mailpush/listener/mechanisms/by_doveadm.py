"""A registration at Dovecot by doveadm's HTTP API: for users with whose password or token nobody can log in."""

import random
import time
from types import MappingProxyType
from typing import Final

from mailpush.doveadm.client import Doveadm
from mailpush.doveadm.errors import (
    LOGIN_UNUSABLE,
    NO_SUCH_USER,
    REFUSED,
    UNAUTHORIZED,
    UNREACHABLE,
    CommandFailedError,
    DoveadmError,
    NoSuchUserError,
)
from mailpush.doveadm.metadata import get_metadata, set_metadata
from mailpush.listener.mechanisms.base import DoveadmUser, Health, HealthChanged, Mailbox, State
from mailpush.listener.mechanisms.entry import ENTRY, registration
from mailpush.listener.mechanisms.failures import MechanismError
from mailpush.listener.mechanisms.repeating import RepeatingListener, Surroundings
from mailpush.work.pace import Backoff

EX_DATAERR: Final = 65
"""Where no METADATA is stored: `mail_attribute_dict` (2.3) or `mail_attribute` (2.4) is not set."""
EX_TEMPFAIL: Final = 75

_PAUSES: Final = MappingProxyType(
    {
        UNREACHABLE: Backoff(5.0, 60.0),  # OX tries every 5 s
        UNAUTHORIZED: Backoff(30.0, 300.0),
        REFUSED: Backoff(30.0, 600.0),
        NO_SUCH_USER: Backoff(60.0, 3600.0),
        LOGIN_UNUSABLE: Backoff(3600.0, 3600.0),
    }
)
_TEMPORARY: Final = Backoff(10.0, 600.0)


class DoveadmListener(RepeatingListener):
    """One user's registration, looked at now and then: another installation may have written over it."""

    def __init__(
        self,
        mailbox: Mailbox,
        on_health: HealthChanged,
        around: Surroundings,
        user: DoveadmUser,
        recheck_seconds: float,
    ) -> None:
        super().__init__(mailbox, on_health, around, shortest_wait=0.0)
        self._user = user.name
        self._recheck_seconds = recheck_seconds

    async def unregister(self) -> None:
        """Ends it and takes the registration away, if it is this user's.

        Raises:
            MechanismError: it could not; the registration may still be there.
        """
        await self.stop()
        doveadm = self._doveadm()
        try:
            if await get_metadata(doveadm, self._user, ENTRY) == registration(self._mailbox):
                await set_metadata(doveadm, self._user, ENTRY, None)
        except NoSuchUserError:
            pass  # the entry went with the mailbox
        except DoveadmError as error:
            raise _meaning(error) from None
        self._say(Health(State.STOPPED, "Unregistered", f"{self._mailbox.server} does not call for this user any more"))

    async def _attempt(self) -> float:
        doveadm, wanted = self._doveadm(), registration(self._mailbox)
        try:
            if await get_metadata(doveadm, self._user, ENTRY) != wanted:
                await set_metadata(doveadm, self._user, ENTRY, wanted)
        except DoveadmError as error:
            raise _meaning(error) from None
        self.logged_in_at = time.time()
        server = self._mailbox.server
        self._listening(
            "Registered", f"registered at {server} by doveadm, and it is to call for each mail of this user"
        )
        return self._recheck_seconds * random.uniform(0.75, 1.25)  # noqa: S311 - users apart from each other

    def _doveadm(self) -> Doveadm:
        if self._around.doveadm is None:
            raise MechanismError(UNREACHABLE, "mailAccess.doveadm is off")
        return self._around.doveadm


def _meaning(error: DoveadmError) -> MechanismError:
    """What it means to a listener."""
    if not isinstance(error, CommandFailedError):
        return MechanismError(error.reason, str(error), _PAUSES[error.reason])
    if error.exit_code == EX_DATAERR:
        return MechanismError(
            "NoMetadata",
            "Dovecot stores no METADATA: set mail_attribute_dict, in 2.4 mail_attribute (docs/dovecot.md); "
            f"doveadm's exit code was {error.exit_code}",
        )
    if error.exit_code == EX_TEMPFAIL:
        return MechanismError(error.reason, f"{error} (a passing failure): see Dovecot's log", _TEMPORARY)
    return MechanismError("RegistrationRefused", f"{error}; see Dovecot's log")
