"""The sweep: mailboxes are looked into where callbacks may have been lost (protocol P18).

Who gets a user looks into the mailbox anyway, when he sees that it is registered. The sweep is for all others: a pod
that is lost may have taken along the callbacks of anybody's mails.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Final, Protocol

import structlog

from mailpush.api.catchup import Sweep
from mailpush.listener.catchup.checkpoints import Checkpoints
from mailpush.listener.catchup.metrics import SWEEPING, SWEEPS
from mailpush.listener.catchup.store import CheckpointsUnavailable
from mailpush.work.clock import Clock, boottime
from mailpush.work.pace import Pace, Sleep, set_within

TURN_SECONDS: Final = 1.0
GAP_SECONDS: Final = 3.0
"""How long a mail may come after the next one: they are reported to different pods."""
GAP_AGAIN_SECONDS: Final = 60.0
"""Mails that never notify, such as copies, make a gap each time: so often a mailbox is looked into for that."""
AGAIN_SECONDS: Final = 120.0
"""When a mailbox has its turn again that could not be looked into."""
REST_SECONDS: Final = 5.0
"""How long it waits while all have had their turn, and some were not looked into."""
ASK_SECONDS: Final = 10.0
"""How often other pods' requests are looked for."""
ASKED_AGAIN_SECONDS: Final = 60.0
"""The shortest time between two requests of this pod to all."""
PAUSED_SECONDS: Final = 3.0
"""Dovecot waits 2 s for an answer: who was away for longer has perhaps not answered a callback."""

Key = tuple[int, int]

log = structlog.get_logger(__name__)


class Sweepable(Protocol):
    """A listener whose mailbox can be looked into."""

    @property
    def looked_at(self) -> float: ...

    @property
    def server(self) -> str: ...

    def hurry(self) -> bool:
        """Looks now, if it does nothing else."""


class Listening(Protocol):
    """The supervisor: this pod's users and their listeners."""

    def sweepable(self, key: Key) -> Sweepable | None:
        """The user's listener, if its mailbox can be looked into."""

    def all_sweepable(self) -> Iterable[tuple[Key, Sweepable]]:
        """All of them."""


class Sweeper:
    """One per process.

    Args:
        listeners: of this pod's users.
        settings: those that count now.
        pods: how many pods share the rate.
        may_look: whether this pod has its right (P5).
        missed: whether this pod has refused callbacks, and does so no more; says it once.
    """

    def __init__(
        self,
        checkpoints: Checkpoints,
        listeners: Listening,
        *,
        settings: Callable[[], Sweep],
        pods: Callable[[], int],
        may_look: Callable[[], bool],
        missed: Callable[[], bool] = lambda: False,
        clock: Clock = boottime,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._checkpoints = checkpoints
        self._listeners = listeners
        self._settings = settings
        self._pods = pods
        self._may_look = may_look
        self._missed = missed
        self._clock = clock
        self._sleep = sleep
        self._wanted_at = 0.0
        """All are to be looked into that were not since then."""
        self._gaps: dict[Key, float] = {}
        """When those are due of whom a mail may be missing."""
        self._asked: dict[Key, float] = {}
        """When each was last woken."""
        self._paces: dict[str, tuple[float, Pace]] = {}
        self._requests: int | None = None
        self._requested_at = float("-inf")
        self._tell_others = False
        self._next_at = 0.0
        self._wake = asyncio.Event()
        self.left = 0
        """Users whose mailbox the sweep has still to look into."""

    # -- what asks for it

    def request(self, why: str, *, everywhere: bool = False) -> None:
        """Callbacks of any user may have been lost until now. `everywhere`: other pods do not know it by themselves."""
        if not self._settings().enabled:
            return
        SWEEPS.labels(why).inc()
        log.info("sweep", why=why, everywhere=everywhere)
        self._wanted_at, self._next_at = self._clock(), 0.0
        self._asked.clear()
        self._tell_others = self._tell_others or everywhere
        self._wake.set()

    def gap(self, key: Key) -> None:
        """A mail of this user may be missing."""
        if self._settings().enabled and key not in self._gaps:
            again = self._asked.get(key, float("-inf")) + GAP_AGAIN_SECONDS
            self._gaps[key] = max(self._clock() + GAP_SECONDS, again)

    # -- its life

    async def run(self) -> None:
        """Until cancelled."""
        asked_at, turned_at = float("-inf"), self._clock()
        while True:
            await set_within(self._wake, TURN_SECONDS)
            self._wake.clear()
            now = self._clock()
            if now - turned_at > TURN_SECONDS + PAUSED_SECONDS:
                self.request("paused", everywhere=True)
            if self._missed():
                self.request("callbacks_refused", everywhere=True)
            if now - asked_at >= ASK_SECONDS or self._tell_others:
                asked_at = now
                await self._talk(now)
            if self._settings().enabled:
                await self.turn()
            turned_at = self._clock()

    async def turn(self) -> None:
        """Has the mailboxes looked into whose time it is, as many as the rate allows in a moment."""
        now = self._clock()
        if self._checkpoints.away or not self._may_look():
            return
        gaps = self._gaps_due(now)
        due = [*gaps, *self._to_sweep(now)]
        if not due:
            return
        by_server: defaultdict[str, list[Key]] = defaultdict(list)
        for key in due:
            if (one := self._listeners.sweepable(key)) is not None:
                by_server[one.server].append(key)
        await asyncio.gather(*(self._wake_some(server, keys) for server, keys in by_server.items()))
        for key in gaps:
            if self._asked.get(key, float("-inf")) < now:
                self.gap(key)  # it was busy, or the rate did not allow it

    def _gaps_due(self, now: float) -> list[Key]:
        due = [key for key, at in self._gaps.items() if at <= now]
        for key in due:
            del self._gaps[key]
        return [key for key in due if self._checkpoints.incomplete(key)]

    def _to_sweep(self, now: float) -> list[Key]:
        """Those first to whom a mail came last."""
        if not self._wanted_at or now < self._next_at:
            return []
        left = [key for key, one in self._listeners.all_sweepable() if one.looked_at < self._wanted_at]
        self.left = len(left)
        SWEEPING.set(self.left)
        if not left:
            log.info("sweep_done")
            self._wanted_at = 0.0
            self._asked.clear()
            return []
        due = [key for key in left if now - self._asked.get(key, float("-inf")) >= AGAIN_SECONDS]
        self._next_at = now if due else now + REST_SECONDS
        return sorted(due, key=self._checkpoints.active, reverse=True)

    async def _wake_some(self, server: str, keys: Iterable[Key]) -> None:
        rate = max(self._settings().rate / max(1, self._pods()), 0.1)
        known = self._paces.get(server)
        if known is None or known[0] != rate:
            known = self._paces[server] = (rate, Pace(rate, 1, clock=self._clock, sleep=self._sleep))
        end = self._clock() + TURN_SECONDS
        for key in keys:
            one = self._listeners.sweepable(key)
            if self._clock() >= end:
                return
            if one is not None and one.hurry():
                self._asked[key] = self._clock()
                await known[1].turn()

    async def _talk(self, now: float) -> None:
        """Tells the other pods, and hears what they tell."""
        try:
            if self._tell_others and now - self._requested_at >= ASKED_AGAIN_SECONDS:
                await self._checkpoints.ask_all_to_sweep()
                self._tell_others, self._requested_at = False, now
                self._requests = None
            found = await self._checkpoints.sweeps_asked()
        except CheckpointsUnavailable:
            return
        if self._requests is not None and found > self._requests:
            self.request("asked")
        self._requests = found
