"""OAuth 2.0 access tokens for mail servers: one given by an administrator, or those of a token endpoint.

Who logs in asks `current` for the token, and says by `refused` or `worked` what the mail server made of it, as
`listener/mechanisms/token_login.py` does. Where there is none, the start is delayed and nothing is sent.

A listener that runs needs no token: a session outlives the token that opened it.
"""

import asyncio
import json
import random
from base64 import urlsafe_b64decode
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from math import inf
from time import time
from typing import Final, Protocol

import structlog

from mailpush.work.clock import Clock, boottime
from mailpush.work.pace import Backoff

log = structlog.get_logger(__name__)

UNKNOWN_LIFE: Final = 300.0
"""Seconds after which a token is renewed whose endpoint does not say how long it lives. It is used until refused."""
LONGEST_LIFE: Final = 86400.0
"""A token that lives longer is renewed as if it lived so long: what was revoked is not kept for weeks."""
RENEW_AT: Final = 0.8
"""Of a token's life; up to a tenth of it sooner, so that pods do not ask together."""
MARGIN: Final = 0.05
"""Of a token's life, at most MARGIN_SECONDS: one with less left may end before the mail server looks at it."""
MARGIN_SECONDS: Final = 10.0
SHORTEST_WAIT: Final = 5.0
"""Seconds between two renewals in the background."""
FORCED: Final = Backoff(60.0, 3600.0)
"""The pause between two renewals for a refusal, which grows as long as every token is refused."""
CLOCKS_DIFFER: Final = 60.0


class TokenUnavailableError(Exception):
    """There is no token now. The text names no secret and repeats no word of the endpoint.

    `reason`: a stable word in CamelCase for a condition. `retry_in`: seconds until it is worth another try.
    """

    def __init__(self, reason: str, message: str, retry_in: float) -> None:
        super().__init__(message)
        self.reason = reason
        self.retry_in = retry_in


@dataclass(frozen=True, slots=True)
class Token:
    """`origin` stands for what issued it, and stays when it is renewed (see ImapLogin). `serial` counts renewals."""

    value: str = field(repr=False)
    origin: int = field(default=0, repr=False)
    serial: int = 0


class Tokens(Protocol):
    """A source of tokens."""

    async def current(self, login: str) -> Token:
        """A token for mailbox `login`.

        Raises:
            TokenUnavailableError: none is to be had now.
        """
        ...

    def refused(self, token: Token) -> bool:
        """A mail server does not take it. Whether the login is to be tried once more, with what `current` then gives.

        False where there is none but this, or where it was renewed for a refusal itself: then the refusal counts.
        """
        ...

    def worked(self, token: Token) -> None:
        """A mail server has taken it."""
        ...

    @property
    def trouble(self) -> TokenUnavailableError | None:
        """What keeps the next token away, for a condition; the last one may still hold."""
        ...

    @property
    def lacking(self) -> TokenUnavailableError | None:
        """Why there is no token now. None where there is one, and where nobody has asked for one yet."""
        ...

    async def close(self) -> None: ...


class GivenToken:
    """The token of a Secret. Nobody renews it but who changes the Secret."""

    def __init__(self, value: str, now: Callable[[], float] = time) -> None:
        self._token = Token(value, hash(("given", value)))
        self._ends = jwt_end(value)
        self._now = now

    @property
    def trouble(self) -> TokenUnavailableError | None:
        if self._now() <= self._ends + CLOCKS_DIFFER:
            return None
        return TokenUnavailableError(
            "TokenExpired",
            "the token of mailAccess.oauth.tokenSecretRef has ended; put a new one into the Secret, or use a "
            "tokenEndpoint, whose tokens are renewed",
            300.0,
        )

    @property
    def lacking(self) -> TokenUnavailableError | None:
        return self.trouble

    async def current(self, login: str) -> Token:
        if (trouble := self.trouble) is not None:
            raise trouble
        return self._token

    def refused(self, token: Token) -> bool:
        return False

    def worked(self, token: Token) -> None:
        pass

    async def close(self) -> None:
        pass


@dataclass(frozen=True, slots=True)
class Issued:
    """What a token endpoint gave. `life`: seconds, None where it does not say."""

    value: str = field(repr=False)
    life: float | None


class Issuer(Protocol):
    """A token endpoint."""

    @property
    def origin(self) -> int: ...

    async def issue(self) -> Issued:
        """Raises TokenUnavailableError; its `retry_in` is what the endpoint asks for, or 0."""
        ...

    async def close(self) -> None: ...


class RenewedTokens:
    """The tokens of an endpoint: one at a time for all users, renewed before it ends.

    An endpoint that does not answer is asked again with backoff; the last token is given out until it ends.

    `back` is called when an endpoint that had failed has given a token.
    """

    def __init__(
        self,
        issuer: Issuer,
        clock: Clock = boottime,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        chance: Callable[[], float] = random.random,
        back: Callable[[], None] = lambda: None,
    ) -> None:
        self._issuer = issuer
        self._back = back
        self._clock = clock
        self._sleep = sleep
        self._chance = chance
        self._token: Token | None = None
        self._ends = -inf
        self._stale = False
        """It was refused, so a newer one comes first; where there is none, others may still get in with it."""
        self._serial = 0
        self._failures = 0
        self._not_before = -inf
        self._trouble: TokenUnavailableError | None = None
        self._forced = 0
        """Renewals for a refusal, one after another."""
        self._forced_until = -inf
        self._renewing: asyncio.Task[None] | None = None
        self._waiting: asyncio.Task[None] | None = None

    @property
    def trouble(self) -> TokenUnavailableError | None:
        return self._trouble

    @property
    def lacking(self) -> TokenUnavailableError | None:
        return self._why() if self._trouble is not None and self._valid() is None else None

    async def current(self, login: str) -> Token:
        if (token := self._valid()) is not None and not self._stale:
            return token
        if self._renewing is not None or self._not_before <= self._clock():
            await asyncio.wait([self._renew()])  # who is cancelled does not cancel it for the others
        if (token := self._valid()) is None:
            raise self._why()
        return token

    def _valid(self) -> Token | None:
        return self._token if self._clock() < self._ends else None

    def refused(self, token: Token) -> bool:
        if token.origin != self._issuer.origin:
            return False
        if self._token is None or token.serial != self._token.serial:
            return True  # another user has said so before
        if self._clock() < self._forced_until:
            return False
        self._forced += 1
        self._forced_until = self._clock() + FORCED.after(self._forced, self._chance)
        self._stale = True
        return True

    def worked(self, token: Token) -> None:
        """A mail server has taken it: the next refusal is the first one again."""
        self._forced = 0

    async def close(self) -> None:
        self._trouble = TokenUnavailableError("TokenEndpointUnavailable", "the settings of the token have changed", 1.0)
        tasks = [task for task in (self._renewing, self._waiting) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._issuer.close()

    def _renew(self) -> asyncio.Task[None]:
        """The renewal that runs; there is one for all who wait for it."""
        if self._renewing is None:
            self._renewing = asyncio.create_task(self._ask())
        return self._renewing

    async def _ask(self) -> None:
        try:
            issued = await self._issuer.issue()
        except TokenUnavailableError as error:
            self._failed(error)
        except Exception as error:  # a fault of ours must not leave everybody without a token
            log.error("token_fault", error=type(error).__name__)  # noqa: TRY400 - its text may hold what was sent
            self._failed(TokenUnavailableError("InternalError", f"a fault in mail-push ({type(error).__name__})", 0.0))
        else:
            self._take(issued)
        finally:
            self._renewing = None

    def _take(self, issued: Issued) -> None:
        was_away = self._trouble is not None
        self._serial += 1
        self._token = Token(issued.value, self._issuer.origin, self._serial)
        self._failures, self._trouble, self._not_before, self._stale = 0, None, -inf, False
        life = issued.life
        self._ends = inf if life is None else self._clock() + life - min(MARGIN * life, MARGIN_SECONDS)
        known = UNKNOWN_LIFE if life is None else min(life, LONGEST_LIFE)
        self._later(max(SHORTEST_WAIT, known * (RENEW_AT - 0.1 * self._chance())))
        if was_away:
            log.info("token_endpoint_back")
            self._back()

    def _failed(self, error: TokenUnavailableError) -> None:
        self._failures += 1
        backoff = _BACKOFFS.get(error.reason, _PASSING)
        wait = max(error.retry_in, backoff.after(self._failures, self._chance))
        if self._trouble is None or self._trouble.reason != error.reason:
            log.warning("token_unavailable", reason=error.reason, meaning=str(error))
        self._trouble = error
        self._not_before = self._clock() + wait
        self._later(wait)

    def _later(self, seconds: float) -> None:
        if self._waiting is not None and self._waiting is not asyncio.current_task():
            self._waiting.cancel()
        self._waiting = asyncio.create_task(self._renew_after(seconds))

    async def _renew_after(self, seconds: float) -> None:
        await self._sleep(seconds)
        self._renew()

    def _why(self) -> TokenUnavailableError:
        error = self._trouble
        if error is None:  # it gave one that ends at once, or that has been refused meanwhile
            return TokenUnavailableError("TokenExpired", "the token endpoint gives tokens that end at once", 5.0)
        return TokenUnavailableError(error.reason, str(error), max(0.0, self._not_before - self._clock()))


_PASSING: Final = Backoff(1.0, 60.0)
_BACKOFFS: Final = {"TokenRefused": Backoff(30.0, 600.0), "TokenResponseInvalid": Backoff(30.0, 600.0)}
"""What an administrator has to mend is not asked for so often."""


def jwt_end(token: str) -> float:
    """When a token that is a JWT says that it ends, unchecked, in seconds since 1970; infinite for any other token."""
    try:
        _, payload, _ = token.split(".")
        end = json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["exp"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return inf
    return float(end) if isinstance(end, (int, float)) and not isinstance(end, bool) and end > 0 else inf
