"""One login at a mail server because somebody asks whether a stored password works."""

import asyncio
import time
from typing import Final

from mailpush.admin.credentials import Trial
from mailpush.admin.errors import AdminError
from mailpush.imap.client import connect
from mailpush.imap.errors import ImapAuthError, ImapError, ImapRefused, ImapUnavailable
from mailpush.imap.server import ImapLogin, ImapServer
from mailpush.listener.mechanisms.budget import AuthFailuresHighError, ConnectBudget
from mailpush.listener.mechanisms.failures import AUTH_FAILURES_HIGH, failure_of
from mailpush.listener.mechanisms.lanes import Standing
from mailpush.listener.users.user import UserKey
from mailpush.work.clock import Clock

EVERY_SECONDS: Final = 60.0
"""At most one login of a user in this time, so that asking locks nobody's account."""
ANSWER_SECONDS: Final = 10.0
"""For each answer of the mail server."""
LONGEST_SECONDS: Final = 45.0
"""For all of it, with waiting for the server's turn."""


class Trials:
    """Logins by this process, within the budget that all of its listeners share."""

    def __init__(self, budget: ConnectBudget, clock: Clock = time.monotonic) -> None:
        self._budget = budget
        self._clock = clock
        self._tried: dict[UserKey, float] = {}

    async def login(self, key: UserKey, server: ImapServer, login: ImapLogin, *, proven: bool) -> Trial:
        """What the server says to it. A refused one counts as a listener's does, and a listener's refused one here.

        Raises:
            AdminError: 429, it is not tried now.
        """
        if (wait := self._budget.auth_wait(server, key, login)) > 0:
            raise not_tried(f"{server} refused this very password lately", wait)
        self._take_turn(key)
        standing = Standing.PROVEN if proven else Standing.UNPROVEN  # somebody waits for it, also for a refused one
        try:
            async with asyncio.timeout(LONGEST_SECONDS), self._budget.conversation(server, standing):
                return await self._login(key, server, login)
        except AuthFailuresHighError as error:
            return Trial("unknown", AUTH_FAILURES_HIGH, str(error))
        except TimeoutError:
            return Trial("unknown", "Busy", f"{server} had no turn for it within {LONGEST_SECONDS:.0f} s")

    def _take_turn(self, key: UserKey) -> None:
        now = self._clock()
        self._tried = {one: at for one, at in self._tried.items() if now - at < EVERY_SECONDS}
        if key in self._tried:
            raise not_tried("It was tried less than a minute ago", EVERY_SECONDS - (now - self._tried[key]))
        self._tried[key] = now

    async def _login(self, key: UserKey, server: ImapServer, login: ImapLogin) -> Trial:
        budget = self._budget
        try:
            async with connect(server, ANSWER_SECONDS) as client:
                try:
                    way = await client.login(login, budget.way(server), budget.refused_before(server, key, login))
                except ImapRefused as refused:
                    if not isinstance(refused, (ImapAuthError, ImapUnavailable)):
                        budget.way_refused(server)
                    raise
                budget.auth_succeeded(server, key, way)
        except ImapAuthError as error:
            budget.auth_failed(server, key, login)
            return _said("refused", error)
        except ImapError as error:
            return _said("unknown", error)
        return Trial("worked", "LoggedIn", f"{server} took the password")


def _said(outcome: str, error: ImapError) -> Trial:
    failure = failure_of(error)
    return Trial("refused" if outcome == "refused" else "unknown", failure.reason, failure.message)


def not_tried(why: str, seconds: float) -> AdminError:
    """The answer to who asks too early, `seconds` before the time."""
    wait = int(seconds) + 1
    return AdminError(429, f"Not tried: {why}; try again in {wait} s", wait)
