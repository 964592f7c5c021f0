"""What the operator may conclude from watching one pod's Lease (protocol P8): only its own clock and eyes count.

Times are seconds of the operator's monotonic clock. renewTime is never looked at: it is another machine's clock.
"""

from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from mailpush.sharding.leases import LeaseState
from mailpush.sharding.shardmap import PodRef

EXPIRES_AFTER: Final = 15.0
"""Seconds without a change after which a fence is allowed; a pod's own right ends after 10."""
STALE_AFTER: Final = 6.0
"""Seconds without a change (two renewals) after which nothing new goes to a pod; no proof of anything."""
AWAY_AFTER: Final = 10.0
"""Seconds without a change after which a pod has been away: its right has ended (P5)."""
STEADY_AFTER: Final = 6.0
"""Seconds for which a pod that was away renews again before others are fenced for it (P9).

What cut it off has perhaps cut off all of them, and they come back one after the other: the first is no successor.
"""


class PodLife(Enum):
    """What is known of one life of a pod. RELEASED and EXPIRED permit a fence, nothing else does.

    RETURNED lives as ALIVE does, but was away a moment ago: nobody is fenced for it yet.
    """

    ALIVE = "alive"
    RETURNED = "returned"
    RELEASED = "released"
    EXPIRED = "expired"
    UNCERTAIN = "uncertain"
    UNSEEN = "unseen"

    @property
    def permits_fence(self) -> bool:
        """Whether this is a proof of death."""
        return self in (PodLife.RELEASED, PodLife.EXPIRED)

    @property
    def lives(self) -> bool:
        """Whether it has renewed its Lease lately."""
        return self in (PodLife.ALIVE, PodLife.RETURNED)


@dataclass(slots=True)
class LeaseObserver:
    """Watches the Lease of one name for one operator process; a new process begins with a new one."""

    name: str
    lease: LeaseState | None = field(default=None, init=False)
    resource_version: str | None = field(default=None, init=False)
    _seen: bool = field(default=False, init=False)
    _first: float = field(default=0.0, init=False)
    _changed: float = field(default=0.0, init=False)
    _renewed: bool = field(default=False, init=False)
    _returned: float | None = field(default=None, init=False)
    _last_holder: str | None = field(default=None, init=False)
    _left: dict[str, float] = field(default_factory=dict, init=False)
    _blind_since: float | None = field(default=None, init=False)
    _blind_total: float = field(default=0.0, init=False)
    _looked: float = field(default=0.0, init=False)

    def see(self, now: float, resource_version: str | None, lease: LeaseState | None) -> None:
        """The Lease as it was just read, None where there is none. Seeing proves that the API can be read."""
        self.readable(now)
        self._looked = now
        clock = self._clock(now)
        if not self._seen:
            self._seen, self._first, self._changed = True, clock, clock
        elif resource_version != self.resource_version or (lease is None) != (self.lease is None):
            if _uid(self.lease) is not None and clock - self._changed >= AWAY_AFTER:
                self._returned = clock
            self._changed = clock
            self._renewed = True
        before, after = _uid(self.lease), _uid(lease)
        if before is not None and before != after:
            self._left = {uid: left for uid, left in self._left.items() if clock - left <= EXPIRES_AFTER}
            self._left[before] = clock
        if after is not None:
            self._left.pop(after, None)
            self._last_holder = after
        elif lease is None:
            self._last_holder = ""  # whoever makes it again with no holder has not released anything
        self.lease, self.resource_version = lease, resource_version

    def unreadable(self, since: float) -> None:
        """Since `since` the API could not be read, or may not have been: pass the time of the last proven read."""
        start = max(since, self._looked)
        if self._blind_since is None or start < self._blind_since:
            self._blind_since = start

    def readable(self, now: float) -> None:
        """The API can be read again, and what it shows has been passed to `see`."""
        if self._blind_since is not None:
            self._blind_total += max(0.0, now - self._blind_since)
            self._blind_since = None
            self._looked = now

    def state(self, now: float, pod: PodRef, *, exists: bool) -> PodLife:
        """What is known of `pod`; `exists`: there is a Pod object with this very UID.

        The object's phase says nothing: pod garbage collection writes Failed for the pods of a Node object that is
        gone, while their processes run on.

        An empty holder proves a clean release only where nobody else can have emptied it. Otherwise (a later pod of
        the same name has held the Lease, or may have) the 15 s run, since the former process may still have its right.
        """
        if not self._seen:
            return PodLife.UNSEEN
        shown = _uid(self.lease)
        if shown == pod.uid:
            clock = self._clock(now)
            quiet = clock - self._changed
            if quiet >= EXPIRES_AFTER:
                return PodLife.EXPIRED
            if not self._renewed or quiet >= STALE_AFTER:
                return PodLife.UNCERTAIN
            steady = self._returned is None or clock - self._returned >= STEADY_AFTER
            return PodLife.ALIVE if steady else PodLife.RETURNED
        if self.lease is not None and self.lease.holder is None:
            only_own = self._last_holder == pod.uid or (self._last_holder is None and exists)
            if only_own:
                return PodLife.RELEASED
        away = self._clock(now) - self._left.get(pod.uid, self._first)
        return PodLife.EXPIRED if away >= EXPIRES_AFTER else PodLife.UNCERTAIN

    def callback_stale(self, now: float) -> bool:
        """Whether callbacks are to go to other pods: the Lease has not changed for 6 s."""
        return self._seen and self._clock(now) - self._changed >= STALE_AFTER

    def _clock(self, now: float) -> float:
        """Seconds in which the API could be read."""
        blind = self._blind_total
        if self._blind_since is not None:
            blind += max(0.0, now - self._blind_since)
        return now - blind


def _uid(lease: LeaseState | None) -> str | None:
    return None if lease is None or lease.holder is None else lease.holder.uid
