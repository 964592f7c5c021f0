"""How much this process asks of a mail server: a rate and a number of conversations, and bounds on refused logins.

A restarted server, or a pod that gets ten thousand users at once, must not be met by ten thousand logins: a small
Dovecot takes one to five hundred a second, and every login holds a process of it.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from mailpush.imap.login import WAYS, Way
from mailpush.imap.server import ImapLogin, ImapServer
from mailpush.listener.mechanisms.lanes import Lanes, Standing, Ticket
from mailpush.work.pace import Backoff, Pace, set_within

UserKey = tuple[int, int]
"""Context and user."""

AUTH_RETRY: Final = Backoff(60.0, 3600.0)
AUTH_WINDOW_SECONDS: Final = 60.0
SWEEP_SECONDS: Final = 600.0


class AuthFailuresHighError(Exception):
    """So many logins were refused by this server that no unproven password is tried now.

    `retry_in`: seconds until it may be.
    """

    def __init__(self, server: ImapServer, retry_in: float) -> None:
        super().__init__(f"{server} refused many logins; passwords that have not worked yet are not tried for a while")
        self.retry_in = retry_in


@dataclass(slots=True)
class _Server:
    lanes: Lanes
    refused: deque[float]
    """When it refused the last few logins: as many as make them too many."""
    way: Way = WAYS[0]
    """The way to log in that was let in last."""
    turns: dict[Ticket, asyncio.Future[None]] = field(default_factory=dict)
    """Of those who wait."""
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    calling: asyncio.Task[None] | None = None
    """Tells those who wait when they begin; ends when nobody does."""


@dataclass(slots=True)
class _Refusals:
    login: int
    count: int
    until: float


class ConnectBudget:
    """One per process, shared by all mechanisms.

    Args:
        rate: conversations a second that may begin with one server, after `burst` at once.
        concurrency: conversations that may be under way with one server. One that has come to rest in IDLE counts no
            more.
        auth_failures: logins that one server may refuse within a minute before only proven passwords are tried.
    """

    def __init__(
        self,
        *,
        rate: float = 50.0,
        burst: int = 20,
        concurrency: int = 20,
        auth_failures: int = 30,
        clock: Callable[[], float] = time.monotonic,
        within: Callable[[asyncio.Event, float | None], Awaitable[bool]] = set_within,
    ) -> None:
        self._rate = rate
        self._burst = burst
        self._concurrency = concurrency
        self._auth_failures = auth_failures
        self._clock = clock
        self._within = within
        self._servers: dict[tuple[str, int], _Server] = {}
        self._refusals: dict[tuple[str, int, UserKey], _Refusals] = {}
        self._swept = clock()

    @asynccontextmanager
    async def conversation(
        self, server: ImapServer, standing: Standing, *, begins: bool = False
    ) -> AsyncIterator[None]:
        """Waits until a conversation with `server` may begin; it counts as long as the block runs.

        `begins`: it is the first of a listener.

        Raises:
            AuthFailuresHighError: `server` has refused too many logins lately, and this one is not proven.
        """
        state = self._server(server)
        self._refuse_unproven(server, state, standing)
        ticket = state.lanes.come(standing, begins=begins)
        try:
            await self._turn(state, ticket)
            self._refuse_unproven(server, state, standing)
            yield
        finally:
            state.turns.pop(ticket, None)
            state.lanes.leave(ticket)
            state.changed.set()

    async def _turn(self, state: _Server, ticket: Ticket) -> None:
        turn = state.turns[ticket] = asyncio.get_running_loop().create_future()
        state.changed.set()
        if state.calling is None or state.calling.done():
            state.calling = asyncio.create_task(self._call(state))
        await turn

    async def _call(self, state: _Server) -> None:
        while state.lanes.waiting:
            state.changed.clear()
            turn = state.lanes.next()
            if not isinstance(turn, Ticket):
                await self._within(state.changed, turn)
            elif not (begins := state.turns[turn]).done():  # else it is being cancelled, and leaves
                begins.set_result(None)

    def standing(self, server: ImapServer, key: UserKey, login: ImapLogin, *, proven: bool) -> Standing:
        """Of a login. `proven`: these very credentials were let in lately, in whatever process."""
        if proven:
            return Standing.PROVEN
        return Standing.REFUSED if self.refused_before(server, key, login) else Standing.UNPROVEN

    def auth_wait(self, server: ImapServer, key: UserKey, login: ImapLogin) -> float:
        """Seconds until this login may be tried. 0 for one that was not refused, so that a new password is tried soon.

        It outlives the listener: one that is stopped and started does not begin again with hammering.
        """
        refusals = self._refusals.get((*_place(server), key))
        if refusals is None or refusals.login != _fingerprint(login):
            return 0.0
        return max(0.0, refusals.until - self._clock())

    def auth_failed(self, server: ImapServer, key: UserKey, login: ImapLogin) -> float:
        """Counts a refused login; gives the seconds until the next try: a minute, doubled each time, up to an hour."""
        now = self._clock()
        self._sweep(now)
        place = (*_place(server), key)
        before = self._refusals.get(place)
        same = before is not None and before.login == _fingerprint(login)
        state = self._server(server)
        state.refused.append(now)
        state.lanes.refused(doubted=same)
        count = before.count + 1 if before is not None and same else 1
        delay = AUTH_RETRY.after(count)
        self._refusals[place] = _Refusals(_fingerprint(login), count, now + delay)
        return delay

    def refused_elsewhere(self, server: ImapServer, key: UserKey, login: ImapLogin, seconds: float) -> None:
        """Another process was refused with this login, since so many seconds: it waits as it would have waited there.

        Else each move and each restart of a pod would be a login more, up to the lock of the account.
        """
        place = (*_place(server), key)
        if (before := self._refusals.get(place)) is not None and before.login == _fingerprint(login):
            return
        count = 1 + int(math.log2(1.0 + seconds / AUTH_RETRY.first))
        self._refusals[place] = _Refusals(_fingerprint(login), count, self._clock() + AUTH_RETRY.after(count))

    def auth_succeeded(self, server: ImapServer, key: UserKey, way: Way) -> None:
        state = self._server(server)
        if way in WAYS:  # a token has ways of its own, of which one is chosen
            state.way = way
        state.lanes.let_in(doubted=(*_place(server), key) in self._refusals)
        self.forget(server, key)

    def way_refused(self, server: ImapServer) -> None:
        """The server refused the way, not the credentials: the other one is tried first the next time."""
        state = self._server(server)
        state.way = next(way for way in WAYS if way is not state.way)

    def way(self, server: ImapServer) -> Way:
        """The way to log in that is tried first."""
        return self._server(server).way

    def refused_before(self, server: ImapServer, key: UserKey, login: ImapLogin) -> int:
        """How often this login was refused, one time after another."""
        refusals = self._refusals.get((*_place(server), key))
        return refusals.count if refusals is not None and refusals.login == _fingerprint(login) else 0

    def forget(self, server: ImapServer, key: UserKey) -> None:
        """Nothing is remembered of the user's refused logins: the user is gone for good, or has been let in."""
        self._refusals.pop((*_place(server), key), None)

    def auth_failures_high(self, server: ImapServer) -> bool:
        return self._blocked_for(self._server(server)) > 0

    def _sweep(self, now: float) -> None:
        """Drops refusals of users who have moved away: whoever is still here tries again when the wait is over."""
        if now - self._swept >= SWEEP_SECONDS:
            self._swept = now
            self._refusals = {
                place: one for place, one in self._refusals.items() if one.until + AUTH_RETRY.longest > now
            }

    def _refuse_unproven(self, server: ImapServer, state: _Server, standing: Standing) -> None:
        if standing is not Standing.PROVEN and (wait := self._blocked_for(state)) > 0:
            raise AuthFailuresHighError(server, wait)

    def _blocked_for(self, state: _Server) -> float:
        now = self._clock()
        if len(state.refused) < self._auth_failures:
            return 0.0
        return max(0.0, state.refused[0] + AUTH_WINDOW_SECONDS - now)

    def _server(self, server: ImapServer) -> _Server:
        place = _place(server)
        if place not in self._servers:
            pace = Pace(self._rate, self._burst, clock=self._clock)
            self._servers[place] = _Server(
                Lanes(pace, self._concurrency, self._clock), deque(maxlen=self._auth_failures)
            )
        return self._servers[place]


def _place(server: ImapServer) -> tuple[str, int]:
    return server.host, server.port


def _fingerprint(login: ImapLogin) -> int:
    """Tells whether the login changed, without keeping it; Python's hash is salted per process.

    A token that was renewed is the same login: else a user whom the server does not let in would be tried as often as
    tokens are renewed.
    """
    secret = login.password if login.kind == "password" else login.origin
    return hash((login.kind, login.user, secret, login.authzid))
