"""Claim, send, done (protocol P13): a notification id is claimed before it is sent, and done after the answer."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias
from uuid import uuid4

DONE_SECONDS: Final = 24 * 3600.0  # longer than any target's time to live, so that no late try notifies again


class ClaimsUnavailable(Exception):  # noqa: N818 - a state of the store, not of the caller
    """The store does not answer, or is full of open claims. Nothing may be sent."""


def boottime() -> float:
    """Seconds of a clock that goes on while the machine or the process sleeps (P5)."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to send `id` until `expires_at` (CLOCK_BOOTTIME, counted from before the store was asked).

    `token` belongs to this claim, not to its holder: a late answer to one claim cannot end the holder's next one.
    """

    id: str
    token: str
    expires_at: float

    def left(self) -> float:
        """Seconds until the claim expires. Nothing may be sent after that."""
        return self.expires_at - boottime()


@dataclass(frozen=True, slots=True)
class AlreadyDone:
    """The notification was sent before."""


@dataclass(frozen=True, slots=True)
class Held:
    """Another try, here or in another pod, has the claim for `expires_in` seconds more."""

    expires_in: float


ClaimResult: TypeAlias = Claim | AlreadyDone | Held


class Claims(Protocol):
    """A store of claims. Each method raises ClaimsUnavailable if the store does not answer."""

    async def claim(self, id: str, holder: str, ttl: float) -> ClaimResult:
        """Claims `id` for `ttl` seconds. `holder` is for people who look into the store, and proves nothing."""

    async def done(self, claim: Claim) -> bool:
        """Records the target's answer for 24 hours. False if the claim had expired; the record is made all the same."""

    async def withdraw(self, claim: Claim) -> None:
        """Ends the claim without a record, so that another may claim at once. Leaves any other claim alone."""

    async def close(self) -> None: ...


def new_token(holder: str) -> str:
    return f"{holder}/{uuid4().hex[:16]}"


@dataclass(slots=True)
class _Entry:
    token: str | None  # None is done
    expires_at: float


class MemoryClaims:
    """Claims in this process, for one replica without Redis: a restart forgets them, so a mail may notify twice.

    `bound`: ids kept; the oldest done ones are forgotten first, open ones never.
    """

    def __init__(self, bound: int = 200_000, clock: Callable[[], float] = boottime) -> None:
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._bound = bound
        self._clock = clock

    def __len__(self) -> int:
        return len(self._entries)

    async def claim(self, id: str, holder: str, ttl: float) -> ClaimResult:
        now = self._clock()
        entry = self._entries.get(id)
        if entry is not None and entry.expires_at > now:
            return AlreadyDone() if entry.token is None else Held(entry.expires_at - now)
        self._make_room(now)
        claim = Claim(id, new_token(holder), now + ttl)
        self._put(id, _Entry(claim.token, claim.expires_at))
        return claim

    async def done(self, claim: Claim) -> bool:
        now = self._clock()
        entry = self._entries.get(claim.id)
        ours = entry is not None and entry.token in (claim.token, None) and entry.expires_at > now
        self._put(claim.id, _Entry(None, now + DONE_SECONDS))
        return ours

    async def withdraw(self, claim: Claim) -> None:
        entry = self._entries.get(claim.id)
        if entry is not None and entry.token == claim.token:
            del self._entries[claim.id]

    async def close(self) -> None:
        return

    def _put(self, id: str, entry: _Entry) -> None:
        self._entries[id] = entry
        self._entries.move_to_end(id)

    def _make_room(self, now: float) -> None:
        if len(self._entries) < self._bound:
            return
        droppable = (id for id, entry in self._entries.items() if entry.token is None or entry.expires_at <= now)
        oldest = next(droppable, None)
        if oldest is None:
            raise ClaimsUnavailable(f"{self._bound} claims are open")
        del self._entries[oldest]
