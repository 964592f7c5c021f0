"""The part that all listeners share: one task that tries, says how it is, waits and tries again until it is stopped."""

import asyncio
import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

import structlog

from mailpush.api.catchup import CatchUp
from mailpush.credentials.tokens import Tokens, TokenUnavailableError
from mailpush.doveadm.client import Doveadm
from mailpush.imap.client import ImapClient, connect
from mailpush.imap.errors import ImapAuthError, ImapError, ImapRefused, ImapUnavailable
from mailpush.listener.catchup.checkpoints import NoProgress, Progress
from mailpush.listener.mechanisms.base import Health, HealthChanged, Mailbox, State
from mailpush.listener.mechanisms.budget import AuthFailuresHighError, ConnectBudget
from mailpush.listener.mechanisms.failures import (
    AUTH_FAILURES_HIGH,
    AUTHENTICATION_FAILED,
    Failure,
    MechanismError,
    failure_of,
)
from mailpush.listener.mechanisms.token_login import log_in_by_token
from mailpush.work.pace import Backoff

log = structlog.get_logger(__name__)

STEADY_SECONDS: Final = 60.0
"""A conversation that held this long was a success: the next failure counts as the first."""
TOKEN_RETRY: Final = Backoff(2.0, 60.0)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a mechanism needs of its process. `timeout`: seconds for each answer of a mail server.

    `now`: Unix seconds, to be compared with a mail server's.
    """

    budget: ConnectBudget
    progress: Progress = field(default_factory=NoProgress)
    catch_up: Callable[[], CatchUp] = CatchUp
    """The settings of it that count now."""
    now: Callable[[], float] = time.time
    timeout: float = 10.0
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    tokens: Tokens | None = None
    """Of those who log in by an access token."""
    doveadm: Doveadm | None = None
    """For those who are registered by it."""


class RepeatingListener(ABC):
    """One user's listener. A mechanism writes `_attempt`."""

    def __init__(self, mailbox: Mailbox, on_health: HealthChanged, around: Surroundings, shortest_wait: float) -> None:
        self._mailbox = mailbox
        self._on_health = on_health
        self._around = around
        self._shortest_wait = shortest_wait
        self._health = Health(State.STOPPED, "Stopped", "not started")
        self._task: asyncio.Task[None] | None = None
        self._resting: asyncio.Timeout | None = None
        self._proven = mailbox.proven
        self.logged_in_at = 0.0
        self._failures = 0
        self._listening_since = 0.0

    @property
    def health(self) -> Health:
        return self._health

    async def start(self) -> None:
        """Begins, unless it runs already."""
        if self._task is None:
            self._say(Health(State.STARTING, "Starting", f"connecting to {self._mailbox.server}"))
            self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Ends it. After it has returned, nothing notifies and no mail server is contacted."""
        if (task := self._task) is not None:
            if not task.cancelling():  # else it is ending already, and a second one would cut its own clearing up short
                task.cancel()
            await asyncio.wait([task])
            # Only now: whoever was interrupted calls this again, and must not go on while the task runs.
            self._task = None if self._task is task else self._task
        self._say(Health(State.STOPPED, "Stopped", "not listening any more"))

    @abstractmethod
    async def _attempt(self) -> float:
        """Works until there is nothing to do for the seconds that it returns.

        Raises:
            ImapError, MechanismError, AuthFailuresHighError, TokenUnavailableError: it did not work, or does not work
                any more.
        """

    def _conversation(self) -> AbstractAsyncContextManager[None]:
        """A turn with the mail server. Raises AuthFailuresHighError."""
        mailbox, budget = self._mailbox, self._around.budget
        standing = budget.standing(mailbox.server, mailbox.key, mailbox.login, proven=self._proven)
        return budget.conversation(mailbox.server, standing, begins=not self.logged_in_at)

    @asynccontextmanager
    async def _logged_in(self) -> AsyncIterator[ImapClient]:
        """A client that is logged in. The caller holds the server's budget."""
        mailbox, budget = self._mailbox, self._around.budget
        if mailbox.login.kind == "none":
            raise MechanismError("PasswordMissing", "there is nothing to log in with")
        async with connect(mailbox.server, self._around.timeout) as client:
            refused_before = budget.refused_before(mailbox.server, mailbox.key, mailbox.login)
            try:
                if by_token := mailbox.login.kind == "token":
                    way = await log_in_by_token(client, mailbox.login, self._around.tokens)
                else:
                    way = await client.login(mailbox.login, budget.way(mailbox.server), refused_before)
            except ImapRefused as refused:
                if not by_token and not isinstance(refused, (ImapAuthError, ImapUnavailable)):
                    budget.way_refused(mailbox.server)
                raise
            self._proven = True
            self.logged_in_at = time.time()
            budget.auth_succeeded(mailbox.server, mailbox.key, way)
            yield client

    def _listening(self, reason: str, message: str) -> None:
        self._listening_since = self._around.clock()
        self._say(Health(State.LISTENING, reason, message))

    def _say(self, health: Health) -> None:
        changed = health != self._health
        self._health = health
        if changed:
            self._on_health(self._mailbox.key, health)

    async def _run(self) -> None:
        mailbox, around = self._mailbox, self._around
        if mailbox.refused_for:
            around.budget.refused_elsewhere(mailbox.server, mailbox.key, mailbox.login, mailbox.refused_for)
        wait = around.budget.auth_wait(mailbox.server, mailbox.key, mailbox.login)
        if wait > 0:
            self._failed(AUTHENTICATION_FAILED, f"{mailbox.server} refused this login a while ago", wait)
        while True:
            await self._rest(wait)
            try:
                wait = await self._attempt()
                self._failures = 0
            except (ImapError, MechanismError, AuthFailuresHighError, TokenUnavailableError) as error:
                wait = self._after(error)
            except Exception as error:  # a fault of ours must not silence the user for ever
                # Without the exception's own text, which may be something that the server said.
                log.error(  # noqa: TRY400
                    "listener_fault",
                    context=mailbox.context_id,
                    user=mailbox.user_id,
                    error=type(error).__name__,
                    traceback="".join(traceback.format_tb(error.__traceback__)),
                )
                self._failures += 1
                wait = self._wait(
                    Failure("InternalError", f"a fault in mail-push ({type(error).__name__})", 10.0, 600.0)
                )

    async def _rest(self, seconds: float) -> None:
        """Waits until it is time, or until somebody is in a hurry."""
        try:
            async with asyncio.timeout(None) as self._resting:
                await self._around.sleep(seconds)
        except TimeoutError:
            pass
        finally:
            self._resting = None

    def hurry(self) -> bool:
        """Has a listener that is well and rests work now; gives whether it does."""
        if self._resting is None or self._health.state is not State.LISTENING:
            return False
        self._resting.reschedule(asyncio.get_running_loop().time())
        self._resting = None
        return True

    def _after(self, error: ImapError | MechanismError | AuthFailuresHighError | TokenUnavailableError) -> float:
        """Says what has failed; the seconds until the next try."""
        mailbox, budget = self._mailbox, self._around.budget
        if self._health.state is State.LISTENING and self._around.clock() - self._listening_since >= STEADY_SECONDS:
            self._failures = 0
        if isinstance(error, AuthFailuresHighError):  # nothing was tried
            wait = error.retry_in + Backoff(self._shortest_wait + 10.0, 60.0).after(1)
            self._failed(AUTH_FAILURES_HIGH, str(error), wait)
            return wait
        self._failures += 1
        if isinstance(error, TokenUnavailableError):  # nothing was tried; what listens goes on
            wait = max(self._shortest_wait, error.retry_in, TOKEN_RETRY.after(self._failures))
            if self._failures > 1 or self._health.state is not State.LISTENING:
                self._failed(error.reason, str(error), wait)
            return wait
        failure = failure_of(error)
        if isinstance(error, ImapAuthError):
            self._proven = False
            wait = budget.auth_failed(mailbox.server, mailbox.key, mailbox.login)
            self._failed(failure.reason, failure.message, wait)
            return wait
        return self._wait(failure)

    def _wait(self, failure: Failure) -> float:
        wait = max(self._shortest_wait, Backoff(failure.first, failure.longest).after(self._failures))
        if self._failures > 1 or not failure.passing or self._health.state is not State.LISTENING:
            self._failed(failure.reason, failure.message, wait)
        return wait

    def _failed(self, reason: str, message: str, wait: float) -> None:
        self._say(Health(State.FAILED, reason, message, self._around.clock() + wait))
