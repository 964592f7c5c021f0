"""The claims of the mails of this pod's own users: in the store, and while that is away in this process (protocol P15).

An owner with its right is the only one who tells of its users' mails, so it may go on without the store. What it has
told then is written as soon as the store is back; until then it does not release the slots, since the next owner would
tell it again. One that has got a slot by a death does not know what the former owner has told, and waits.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from typing import Final

import structlog
from prometheus_client import Gauge

from mailpush.notifications.claims.store import (
    AlreadyDone,
    Claim,
    ClaimResult,
    Claims,
    ClaimsUnavailable,
    boottime,
    new_token,
)
from mailpush.work.pace import set_within

GO_ON_SECONDS: Final = 5.0
"""For so long the store must be away: a restart or a failover is waited for."""
ASK_AGAIN_SECONDS: Final = 1.0
"""How long a store that is away is not asked: each delivery would wait for its timeout."""
WRITE_SECONDS: Final = 0.5
MOST: Final = 200_000
"""Notifications that are remembered; beyond it the others wait for the store."""
AT_ONCE: Final = 32

UNRECORDED: Final = Gauge(
    "mailpush_notifications_unrecorded", "Notifications that were sent, and that Redis has still to be told of."
)

log = structlog.get_logger(__name__)


class OwnedClaims:
    """One per process.

    Args:
        store: that all pods share.
        may_go_on: whether this pod has its right (P5). Where it never has, this is the store alone.
    """

    def __init__(
        self, store: Claims, may_go_on: Callable[[], bool] = lambda: False, clock: Callable[[], float] = boottime
    ) -> None:
        self._store = store
        self._may_go_on = may_go_on
        self._clock = clock
        self._own: set[int] = set()
        self._inherited: dict[int, float] = {}
        """Slots that were got by a death, and when: until the store has answered since."""
        self._away_since: float | None = None
        self._asked_at = float("-inf")
        self._under_way: defaultdict[int, set[str]] = defaultdict(set)
        """Claims that this process alone knows, by slot."""
        self._unrecorded: defaultdict[int, dict[str, Claim]] = defaultdict(dict)
        self._count = 0
        self._changed = asyncio.Event()

    # -- whose slots

    def own(self, slots: Iterable[int], inherited: Collection[int] = ()) -> None:
        """This pod has got the slots, `inherited` among them by a death, or from its own former process."""
        slots = set(slots)
        self._own |= slots
        now = self._clock()
        self._inherited.update(dict.fromkeys(slots.intersection(inherited), now))

    def disown(self, slots: Iterable[int]) -> None:
        """They are released. What is not written by now may be told again by the next owner; it is written later."""
        for slot in slots:
            self._own.discard(slot)
            self._inherited.pop(slot, None)
            self._under_way.pop(slot, None)
            if left := self._unrecorded.get(slot):
                log.warning("released_unrecorded", notifications=len(left), meaning="some may be sent twice")

    def held_back(self, slots: Iterable[int]) -> frozenset[int]:
        """Those of the slots that cannot be released yet: the store has still to be told what was sent for them."""
        return frozenset(slot for slot in slots if self._unrecorded.get(slot) or self._under_way.get(slot))

    def unrecorded(self, slots: Iterable[int]) -> frozenset[str]:
        """Ids that the store has still to be told of."""
        return frozenset(id for slot in slots for id in self._unrecorded.get(slot, ()))

    async def written(self, slots: Collection[int], seconds: float) -> bool:
        """Waits until all of the slots can be released, at most so long; gives whether they can."""
        end = self._clock() + seconds
        while self.held_back(slots):
            await self._write(slots)
            if self.held_back(slots):
                if self._clock() >= end:
                    return False
                self._changed.clear()
                await set_within(self._changed, WRITE_SECONDS)
        return True

    # -- the dispatcher's side

    async def claim(self, slot: int, id: str, holder: str, ttl: float, *, again: bool = False) -> ClaimResult:
        """As `Claims`, for a mail of a user of the slot. `again`: another process may have told of it."""
        if id in self._unrecorded.get(slot, ()):
            return AlreadyDone()
        now = self._clock()
        if not self._rests(now):
            try:
                result = await self._store.claim(id, holder, ttl)
            except ClaimsUnavailable:
                self._failed(now)
            else:
                self._reached(now)
                return result
        if again or not self._may_alone(slot):
            raise ClaimsUnavailable("the store of claims is away")
        self._under_way[slot].add(id)
        return Claim(id, new_token(holder), boottime() + ttl)

    async def done(self, slot: int, claim: Claim) -> bool:
        """As `Claims`. Of a claim that this process alone knows it is written later."""
        if claim.id in self._under_way.get(slot, ()):
            self.keep(slot, claim)
            return True
        in_time = await self._store.done(claim)
        self._written(slot, claim.id)
        return in_time

    async def withdraw(self, slot: int, claim: Claim) -> None:
        """As `Claims`."""
        if claim.id in self._under_way.get(slot, ()):
            self._ended(slot, claim.id)
        else:
            await self._store.withdraw(claim)

    def keep(self, slot: int, claim: Claim) -> None:
        """The target has answered, and the store does not take the record: it is written later."""
        self._ended(slot, claim.id)
        if claim.id not in self._unrecorded[slot]:
            self._unrecorded[slot][claim.id] = claim
            self._count += 1
            self._gauge()

    # -- its life

    async def run(self) -> None:
        """Writes what the store has still to be told, until cancelled."""
        while True:
            await asyncio.sleep(WRITE_SECONDS)
            if self._count or self._inherited:
                await self._write(list(self._unrecorded))

    async def _write(self, slots: Collection[int]) -> None:
        now = self._clock()
        if self._rests(now):
            return
        wanted = [(slot, claim) for slot in slots for claim in self._unrecorded.get(slot, {}).values()]
        try:
            for start in range(0, len(wanted), AT_ONCE):
                part = wanted[start : start + AT_ONCE]
                await asyncio.gather(*(self._store.done(claim) for _, claim in part))
                for slot, claim in part:
                    self._written(slot, claim.id)
        except ClaimsUnavailable:
            self._failed(now)
        else:
            if wanted:
                self._reached(now)
        self._changed.set()

    def _written(self, slot: int, id: str) -> None:
        """The store knows of it."""
        left = self._unrecorded.get(slot)
        if left is not None and left.pop(id, None) is not None:
            self._count -= 1
            self._gauge()
            if not left:
                del self._unrecorded[slot]

    def _may_alone(self, slot: int) -> bool:
        """Whether the owner may go on without the store."""
        return (
            slot in self._own
            and slot not in self._inherited
            and self._away_since is not None
            and self._clock() - self._away_since >= GO_ON_SECONDS
            and self._count < MOST
            and self._may_go_on()
        )

    def _rests(self, now: float) -> bool:
        return self._away_since is not None and now - self._asked_at < ASK_AGAIN_SECONDS

    def _failed(self, asked_at: float) -> None:
        if self._away_since is None:
            self._away_since = asked_at
        self._asked_at = self._clock()

    def _reached(self, asked_at: float) -> None:
        self._away_since = None
        if self._inherited:
            self._inherited = {slot: since for slot, since in self._inherited.items() if since > asked_at}

    def _ended(self, slot: int, id: str) -> None:
        under_way = self._under_way.get(slot)
        if under_way is not None:
            under_way.discard(id)
            if not under_way:
                del self._under_way[slot]
        self._changed.set()

    def _gauge(self) -> None:
        UNRECORDED.set(self._count)
